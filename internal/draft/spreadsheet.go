package draft

import (
	"fmt"
	"regexp"

	"mlops/internal/dataset"
	"mlops/internal/progress"
)

var (
	// madeDate is what a spreadsheet makes of a text that it takes for a day: 5-Mar of 3-5.
	madeDate = regexp.MustCompile(`(?i)^(\d{1,2}[-. ]{1,2}` + monthWord + `\.?|` + monthWord + `[-. ]\d{2})$`)
	// ofTwo are two numbers, such as 3-5, which it takes for one.
	ofTwo = regexp.MustCompile(`^\d+ ?[-–/] ?\d+$`)
	// roundedNumber is how it shows numbers of twelve digits and more.
	roundedNumber = regexp.MustCompile(`^\d[.,]\d{1,6}[eE]\+?\d{2}$`)
)

const monthWord = `(jan|janv|feb|fev|févr|mar|mär|mrz|märz|mars|apr|avr|may|mai|mag|jun|juin|giu|jul|juil|lug|aug|août|ago|sept?|set|oct|okt|ott|nov|dec|dez|déc|dic)`

// rareMade is how many levels there are for each that looks like a day, at least, where no
// other level says what it was.
const rareMade = 20

// bySpreadsheet notes what a spreadsheet made of values when somebody saved the table with
// it: days of ranges, and short numbers of long ones.
func (c *column) bySpreadsheet() {
	var days, short tally
	levels, made, ranges := 0, 0, 0
	c.texts(func(v string, n *count) {
		levels++
		switch {
		case madeDate.MatchString(v) || c.kindsOf(v)&date != 0:
			made++
			days.add(n, v)
		case ofTwo.MatchString(v):
			ranges++
		case roundedNumber.MatchString(v):
			short.add(n, v)
		}
	})
	if c.kind == dataset.Category && made > 0 && made < levels && (ranges > 0 && made <= 2*ranges || levels >= rareMade*made) {
		c.notes = append(c.notes, fmt.Sprintf("%s cells look like days among other values, for example line %s: %q: a spreadsheet makes 5-Mar of 3-5. They are values of their own to a model; export the table again without a spreadsheet, or with the column as text",
			progress.Count(days.n), progress.Count(days.line), days.example))
	}
	if short.n > 0 && (idName.MatchString(c.name) || keyName.MatchString(c.name)) {
		c.notes = append(c.notes, fmt.Sprintf("%s cells are shortened numbers, for example line %s: %q: a spreadsheet shows long ones so, and saves what it shows. Different ones have become one, and the column no longer says which rows belong together; export the table again with the column as text",
			progress.Count(short.n), progress.Count(short.line), short.example))
	}
}
