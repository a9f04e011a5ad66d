package draft

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"mlops/internal/dataset"
	"mlops/internal/progress"
)

// fewLevels is up to how many different texts with digits, such as 20-29, are the levels
// of a category.
const fewLevels = 20

// likeNumbers notes that a column of text has amounts or dates in a spelling that isn't
// read, such as <0.5, (1,200) or 2024-01-31 10:00 CET.
func (c *column) likeNumbers() {
	if len(c.counts) <= fewLevels {
		return
	}
	var like, odd tally // odd are those that could not be read by themselves either
	cells := int64(0)
	for v, n := range c.counts {
		cells += n.n
		if likeNumber(v) {
			like.add(n, v)
			if c.kindsOf(v)&(number|commaGroups|pointGroups|date) == 0 {
				odd.add(n, v)
			}
		}
	}
	if like.n*10 >= cells*9 {
		if odd.n > 0 {
			like = odd
		}
		c.notes = append(c.notes, fmt.Sprintf("values such as %q (line %s) are read neither as numbers nor as dates, so they are text: if they are amounts or dates, write them as 1234.5 or 2024-01-31%s", like.example, progress.Count(like.line), clockRemedy(like.example)))
	}
}

// ofClock is a time of day or a duration without a date.
var ofClock = regexp.MustCompile(`^\d{1,3}:\d\d(:\d\d(\.\d+)?)?( ?[AaPp][Mm])?$`)

// clockRemedy is what helps with times of day and durations.
func clockRemedy(example string) string {
	if !ofClock.MatchString(example) {
		return ""
	}
	return "; if they are times of day or durations, write them as hours (9:30 is 9.5)"
}

var (
	// dateWords are those of dates and times, besides the units of numbers.
	dateWords = regexp.MustCompile(`(?i)^(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mon|tue|wed|thu|fri|sat|sun)[a-z]*$|^(am|pm|t|z|utc|gmt|c?est|cet|edt|[cmp][sd]t|bst|ist|jst|kw|q|e|inr|pt)$`)
	// names are those of things, and no numbers: addresses in a network, telephones, and codes
	// such as C100000.
	names = regexp.MustCompile(`^(\d+\.\d+\.\d+\.\d+|\+\d[\d ()/-]{7,}|[A-Z]{1,2}-?\d{3,})$`)
)

// likeNumber reports whether a text has digits, and beside them only signs, units and the
// words of dates.
func likeNumber(text string) bool {
	if len(text) > 40 || names.MatchString(text) && !slices.Contains(currency, strings.TrimRight(text, "-0123456789")) || !strings.ContainsFunc(text, unicode.IsDigit) {
		return false
	}
	for _, w := range strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) }) {
		if !dateWords.MatchString(w) && !slices.Contains(unitWords, w) && !slices.Contains(currency, w) {
			return false
		}
	}
	return true
}

var (
	unseen  = regexp.MustCompile(`[\x{200b}-\x{200f}\x{2060}\x{feff}\x{ad}]`)
	garbled = regexp.MustCompile(`Ã[\x{80}-\x{bf}]|â€`)
)

// suspect notes what is odd about a column's values, though they can be read.
func (c *column) suspect() {
	var hidden, twice tally
	for v, n := range c.counts {
		if unseen.MatchString(v) {
			hidden.add(n, v)
		}
		if garbled.MatchString(v) {
			twice.add(n, v)
		}
	}
	if hidden.n > 0 {
		c.notes = append(c.notes, fmt.Sprintf("%s values have characters that can't be seen, for example line %s: %+q: they make another value of it; take them out of the table", progress.Count(hidden.n), progress.Count(hidden.line), hidden.example))
	}
	if unseen.MatchString(c.name) {
		c.notes = append(c.notes, fmt.Sprintf("its name has characters that can't be seen: %+q", c.name))
	}
	if twice.n > 0 {
		c.notes = append(c.notes, fmt.Sprintf("%s values look as if they had been read in a wrong encoding, for example line %s: %q: export the table again as UTF-8", progress.Count(twice.n), progress.Count(twice.line), twice.example))
	}
	c.bySpreadsheet()
	c.spellings()
	c.parted()
	if c.kind == dataset.Integer || c.kind == dataset.Number {
		c.perhapsDates()
		c.codes()
	}
}

// perhapsDates notes numbers that may be seconds or milliseconds since 1970, though no name
// says so: whole ones of at most twenty years.
func (c *column) perhapsDates() {
	const year = 365 * 24 * 60 * 60
	if c.kind != dataset.Integer || c.values <= fewLevels || idName.MatchString(c.name) {
		return
	}
	least, most := c.extent()
	format := "unix"
	if least >= 1e12 {
		format, least, most = "unix_ms", least/1000, most/1000
	}
	if least >= 1e9 && most < 2.2e9 && most-least <= 20*year {
		day := func(x float64) string { return time.Unix(int64(x), 0).UTC().Format(time.DateOnly) }
		c.notes = append(c.notes, fmt.Sprintf("its numbers may be dates from %s to %s: if they are, say type: date, format: %s", day(least), day(most), format))
	}
}

// beyond is how many times as great as the others a code such as 999 is.
const beyond = 3

const (
	// A zero may be a code if so many other values are so many times as far from it as from
	// one another: of a count, the least one is next to it. Besides, they are above such a
	// share of the greatest, or their column is called a measurement that is never 0: amounts
	// begin somewhere too, and 0 is none of them.
	leastAbove, spacings, farAbove = 10, 5, 0.15
	// lowest is how many of the least values show how far they are from one another where a
	// zero would be next.
	lowest = 10
)

// neverZero is a name of a measurement of bodies and things that are there.
var neverZero = regexp.MustCompile(`(?i)(glucose|insulin|pressure|cholest|triglyc|ha?emoglobin|creatinin|thickness|weight|height|waist|pulse|heart.?rate)|(^|[^a-z])(bmi|sbp|dbp|bp|hdl|ldl|hba1c)([^a-z]|$)`)

// spacing is the median distance of numbers in their order.
func spacing(sorted []float64) float64 {
	var steps []float64
	for i := 1; i < len(sorted); i++ {
		steps = append(steps, sorted[i]-sorted[i-1])
	}
	slices.Sort(steps)
	return steps[len(steps)/2]
}

// codes notes a number that may stand for a missing value: the only one below 0, a zero far
// below all others, or one of nines far above them.
func (c *column) codes() {
	numbers := map[float64]count{}
	text := map[float64]string{}
	for _, m := range []map[string]*count{c.counts, c.special} {
		for v, n := range m {
			x, ok := dataset.ParseNumber([]byte(v))
			if !ok || slices.ContainsFunc(c.missing, func(m marked) bool { return m.value == v }) {
				continue
			}
			all, seen := numbers[x]
			if !seen || n.line < all.line {
				all.line, text[x] = n.line, v
			}
			all.n += n.n
			numbers[x] = all
		}
	}
	if len(numbers) < 4 {
		return
	}
	sorted := slices.Sorted(maps.Keys(numbers))
	least, most := sorted[0], sorted[len(sorted)-1]
	say := func(x float64, why string) {
		if n := numbers[x]; n.n >= 2 {
			c.notes = append(c.notes, fmt.Sprintf("%q comes %s times, first on line %s, and %s: if it stands for a missing value, say missing: [%[1]q] in the column", text[x], progress.Count(n.n), progress.Count(n.line), why))
		}
	}
	if least < 0 && sorted[1] >= 0 && nines(-least) {
		say(least, "no other value is below 0")
	}
	if least == 0 && len(sorted) >= leastAbove && (sorted[1] >= most*farAbove && sorted[1] >= spacings*spacing(sorted[1:]) || neverZero.MatchString(c.name)) &&
		sorted[1] >= spacings*spacing(sorted[1:min(len(sorted), 2+lowest)]) {
		say(0, fmt.Sprintf("the next smallest value is %g", sorted[1]))
	}
	if before := sorted[len(sorted)-2]; nines(most) && most > 9 && most >= beyond*math.Max(1, math.Abs(before)) {
		say(most, fmt.Sprintf("the next greatest value is %g", before))
	}
}

// nines reports whether a number is 1, or has nothing but nines.
func nines(x float64) bool {
	return x == 1 || x == 8 || x == 88 || x >= 9 && x == math.Pow(10, math.Ceil(math.Log10(x)))-1
}

// extremes warns of a few values of a regression's target that its figures are about: at
// most one row in 200 makes nine tenths of the squared distance from the median.
func (s *sample) extremes() string {
	if s.spec.Task != dataset.Regression || len(s.rows) == 0 {
		return ""
	}
	values := s.labels()
	slices.Sort(values)
	median, total := float64(values[len(values)/2]), 0.0
	distance := func(x float32) float64 { return (float64(x) - median) * (float64(x) - median) }
	for _, x := range values {
		total += distance(x)
	}
	slices.SortFunc(values, func(a, b float32) int { return cmp.Compare(distance(b), distance(a)) })
	few, sum := 0, 0.0
	for sum < 0.9*total {
		sum += distance(values[few])
		few++
	}
	if few == 0 || few*200 > len(values) {
		return ""
	}
	return fmt.Sprintf("%s: %s of %s are so far from the others (the farthest %g, the median %g) that RMSE and R² are about little else: correct them, or say min or max in the column, which rejects such rows",
		s.spec.Target.Column, progress.Counted(int64(few), "row"), progress.Count(int64(len(values))), values[0], median)
}
