package draft

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"mlops/internal/dataset"
)

// column is what the draft says of one column of the table.
type column struct {
	*sketch
	as      string       // its name in the spec
	kind    dataset.Type // its type in the spec
	missing []marked     // values that stand for a missing one, in this column
	present int64        // cells that are neither blank nor missing markers
	unique  bool         // all of those differ; guessed where there are too many to count
	values  int64        // different ones
	exact   bool         // values was counted

	guess      string   // evidence of the type
	out        string   // why the column is no feature; empty: it is one
	drop       string   // why it can't even be read; empty: it can
	notes      []string // what else to tell
	dateFormat string   // the spec's, empty for ISO 8601
	unit       string   // of its numbers
	lossOf     int64    // cells that the type can't read
	lossEx     string   // one of them
	lossAt     int64
	options    []string // the levels, where they are few
}

// marked is a value that stands for a missing one.
type marked struct {
	value string
	count
	sure bool // no other reading
}

// spelling is how the table spells numbers.
type spelling struct {
	decimal, thousands string
	guess              string
}

// infer decides the type of each column.
func infer(sketches []*sketch) ([]*column, spelling) {
	cols := make([]*column, len(sketches))
	for i, s := range sketches {
		s.finish()
		cols[i] = &column{sketch: s}
		cols[i].takeUnit()
		cols[i].findMissing()
	}
	spell := spellingOf(cols)
	for _, c := range cols {
		c.decide(spell)
	}
	return cols, spell
}

// findMissing collects the values that stand for a missing one.
func (c *column) findMissing() {
	n := c.rows - c.blank
	look := func(m map[string]*count) {
		for v, k := range m {
			low := strings.ToLower(v)
			if slices.Contains(markers, low) {
				c.missing = append(c.missing, marked{v, *k, true})
			}
		}
	}
	look(c.counts)
	look(c.special)
	c.findSentinels()
	// In a column of numbers or dates, any word that comes again and again stands
	// for a missing value: there is no other way to read it.
	t := &c.tallies
	readable := max(t.of(number).n, t.of(commaGroups).n, t.of(decimalComma).n, t.of(pointGroups).n, c.bestDate().n)
	if left := n - sum(c.missing); readable*10 >= left*8 && t.of(text).n > 0 {
		words := map[string]*count{}
		for _, m := range []map[string]*count{c.counts, c.special} {
			for v, k := range m {
				if c.kindsOf(v)&text != 0 {
					words[v] = k
				}
			}
		}
		for v, k := range words {
			if len(words) <= 5 || slices.Contains(hints, strings.ToLower(v)) {
				c.missing = append(c.missing, marked{v, *k, slices.Contains(hints, strings.ToLower(v))})
			}
		}
	}
	slices.SortFunc(c.missing, func(a, b marked) int { return strings.Compare(a.value, b.value) })
	c.present = n - sum(c.missing)
}

// findSentinels takes -99, -999 and the like for a missing value where they come
// more than once and no other number is below 0.
func (c *column) findSentinels() {
	var found []marked
	for v, k := range c.counts {
		if v[0] != '-' {
			continue
		}
		if _, ok := dataset.ParseNumber([]byte(v)); !ok {
			continue
		}
		if !slices.Contains(sentinels, v) || len(v) < 3 || k.n < 2 {
			return
		}
		found = append(found, marked{value: v, count: *k})
	}
	if len(found) == 1 && len(c.counts) > 2 {
		c.missing = append(c.missing, found[0])
	}
}

func sum(m []marked) (n int64) {
	for _, v := range m {
		n += v.n
	}
	return n
}

// bestDate is the date format that fits the most cells.
func (c *column) bestDate() (best tally) {
	for i := range dateFormats {
		if t := c.tallies.of(firstDate << i); t.n > best.n {
			best = t
		}
	}
	return best
}

// spellingOf finds decimal and thousands separators: what the columns that are
// no plain numbers have in common.
func spellingOf(cols []*column) spelling {
	type vote struct {
		n       int64
		column  string
		example tally
	}
	votes := map[[2]string]*vote{}
	cast := func(key [2]string, n int64, c *column, t tally) {
		v := votes[key]
		if v == nil {
			v = &vote{}
			votes[key] = v
		}
		if v.n == 0 {
			v.column, v.example = c.name, t
		}
		v.n += n
	}
	for _, c := range cols {
		t := &c.tallies
		plain, comma, groups := t.of(number).n+t.of(integer).n*0, t.of(decimalComma).n, t.of(commaGroups).n
		points, blanks := t.of(pointGroups).n, t.of(blankGroups).n
		if c.present == 0 {
			continue
		}
		fits := func(n int64) bool { return n*100 >= c.present*97 }
		switch {
		case groups > 0 && fits(plain+groups) && (comma <= groups || !fits(plain+comma)) && onlyGroups(c):
			cast([2]string{"", ","}, groups, c, t.of(commaGroups))
		case comma > 0 && points > 0 && fits(c.commaOrPoints()):
			cast([2]string{",", "."}, comma+points, c, t.of(decimalComma))
		case comma > 0 && fits(plain+comma):
			cast([2]string{",", ""}, comma, c, t.of(decimalComma))
		case points > 0 && t.of(number).n < c.present && fits(c.commaOrPoints()):
			cast([2]string{",", "."}, points, c, t.of(pointGroups))
		case blanks > 0 && fits(plain+blanks+comma):
			decimal := ""
			if comma > 0 {
				decimal = ","
			}
			cast([2]string{decimal, firstSeparator(t.of(blankGroups).example)}, blanks, c, t.of(blankGroups))
		}
	}
	var best [2]string
	var most *vote
	for k, v := range votes {
		if most == nil || v.n > most.n || v.n == most.n && k[1] > best[1] {
			best, most = k, v
		}
	}
	if most == nil {
		return spelling{}
	}
	if best[0] == "," && best[1] == "" && votes[[2]string{",", "."}] != nil {
		best[1] = "."
	}
	return spelling{decimal: best[0], thousands: best[1], guess: fmt.Sprintf("column %s, for example line %d: %q", most.column, most.example.line, most.example.example)}
}

// onlyGroups reports whether no value has a comma before other than three digits.
func onlyGroups(c *column) bool {
	for v := range c.counts {
		k := c.kindsOf(v)
		if k&decimalComma != 0 && k&commaGroups == 0 {
			return false
		}
	}
	return c.tallies.of(decimalComma).n <= c.tallies.of(commaGroups).n
}

// commaOrPoints counts the cells that are numbers with a decimal comma, groups
// with points, or plain integers.
func (c *column) commaOrPoints() int64 {
	t := &c.tallies
	return t.of(decimalComma).n + t.of(pointGroups).n + t.of(integer).n
}

func firstSeparator(v string) string {
	for _, r := range v {
		if !strings.ContainsRune("-+0123456789", r) {
			return string(r)
		}
	}
	return ""
}

var codeName = regexp.MustCompile(`(?i)(^|[_ .-])(id|code|zip|zipcode|postcode|postal|plz|phone|type|class|category|cat|group|grp|region|month|weekday|dow)$|(?-i:[a-z](Id|ID|Code|Zip|Type)$)`)

// decide sets the type.
func (c *column) decide(spell spelling) {
	t := &c.tallies
	n := c.present
	c.values, c.exact = c.sketch.distinct()
	c.values -= int64(len(c.missing))
	if n == 0 {
		c.kind, c.out, c.guess = dataset.Category, "empty: no row has a value", "no value at all"
		return
	}
	c.unique = c.values >= n && (c.exact || n > 0)
	if !c.exact {
		c.unique = c.values*100 >= n*99
	}
	numbers := t.of(number).n
	if spell.thousands == "," {
		numbers += t.of(commaGroups).n
	}
	if spell.decimal == "," {
		numbers = c.commaOrPoints()
		if spell.thousands != "." {
			numbers -= t.of(pointGroups).n
		}
	}
	if spell.thousands != "" && spell.thousands != "," && spell.thousands != "." {
		numbers += t.of(blankGroups).n
	}
	numbers -= c.markedOf(number)
	date, format := c.bestDate(), c.format()
	of := func(m int64) string { return fmt.Sprintf("%s of %s values", comma(m), comma(n)) }
	switch {
	case t.of(leadingZero).n > 0 && numbers == n:
		l := t.of(leadingZero)
		c.kind, c.guess = dataset.Category, fmt.Sprintf("codes: %s begin with a zero, for example line %d: %q", comma(l.n), l.line, l.example)
	case date.n == n && date.n > numbers:
		c.kind, c.dateFormat, c.guess = dataset.Date, format, fmt.Sprintf("dates, for example line %d: %q", date.line, date.example)
		if format == "MM/DD/YYYY" && c.tallies.of(firstDate<<c.layoutOf("DD/MM/YYYY")).n == n {
			c.guess += "; the day may just as well come first (format: DD/MM/YYYY)"
		}
	case c.isoDates() > 0 && c.isoDates()+c.otherDates().n == n && n > numbers:
		other := c.otherDates()
		c.kind, c.dateFormat = dataset.Date, c.formatOf(other)
		c.guess = fmt.Sprintf("dates in two forms, %s as on line %d: %q, the others as in ISO 8601", comma(other.n), other.line, other.example)
	case numbers == n, numbers*100 >= n*99 && n >= 100:
		c.kind = dataset.Number
		if whole := t.of(integer).n - c.markedOf(integer); whole == n {
			c.kind = dataset.Integer
		}
		c.guess = of(numbers) + " are numbers"
		if c.kind == dataset.Integer {
			c.guess = "whole numbers"
		} else if numbers == n {
			c.guess = "numbers"
			if f := t.of(fraction); f.n > 0 {
				c.guess = fmt.Sprintf("numbers, for example line %d: %q", f.line, f.example)
			}
		}
		if c.unit != "" {
			c.guess += fmt.Sprintf(", most with the unit %s", c.unit)
		}
		if numbers < n {
			other := t.of(text)
			c.lossOf, c.lossEx, c.lossAt = n-numbers, other.example, other.line
		}
		if c.kind == dataset.Integer && c.values <= 60 && c.exact && codeName.MatchString(c.name) {
			c.kind, c.guess = dataset.Category, fmt.Sprintf("whole numbers, %d different, and a name of codes", c.values)
		}
	default:
		c.kind = dataset.Category
		c.guess = "text"
		switch {
		case t.of(truth).n == n && c.exact && c.twoTruths():
			c.kind, c.guess = dataset.Boolean, "yes or no, for example line "+fmt.Sprint(t.of(truth).line)+fmt.Sprintf(": %q", t.of(truth).example)
		case date.n*10 > n*9:
			c.notes = append(c.notes, fmt.Sprintf("%s are dates (%s); the others keep the column text, for example line %d: %q", of(date.n), format, t.of(text).line, t.of(text).example))
		case numbers*10 > n*9:
			c.notes = append(c.notes, fmt.Sprintf("%s are numbers; the others keep the column text, for example line %d: %q", of(numbers), t.of(text).line, t.of(text).example))
		case t.of(money).n*10 > n*9:
			c.notes = append(c.notes, "several currencies, or brackets, keep the numbers text")
		}
	}
	if c.kind == dataset.Category && c.exact && c.values <= 40 {
		for v := range c.counts {
			if !slices.ContainsFunc(c.missing, func(m marked) bool { return m.value == v }) {
				c.options = append(c.options, v)
			}
		}
		slices.Sort(c.options)
	}
}

// twoTruths reports whether a column's words are yes and no, and not only one.
func (c *column) twoTruths() bool {
	var yes, no bool
	for v := range c.counts {
		switch strings.ToLower(v) {
		case "yes", "y", "true", "t":
			yes = true
		case "no", "n", "false", "f":
			no = true
		}
	}
	return yes && no
}

// layoutOf is the place of a format among the formats.
func (c *column) layoutOf(format string) int {
	return slices.IndexFunc(dateFormats, func(f dateFormat) bool { return f.name == format })
}

func (c *column) format() string { return c.formatOf(c.bestDate()) }

// formatOf is the first of the formats that fit as many cells as a tally.
func (c *column) formatOf(t tally) string {
	for i, f := range dateFormats {
		if of := c.tallies.of(firstDate << i); of.n == t.n && of.line == t.line {
			return f.name
		}
	}
	return ""
}

// isoDates counts the cells that every date column reads, and otherDates is the format
// that fits most of the rest.
func (c *column) isoDates() (n int64) {
	for i, f := range dateFormats {
		if f.name == "" {
			n += c.tallies.of(firstDate << i).n
		}
	}
	return n
}

func (c *column) otherDates() (best tally) {
	for i, f := range dateFormats {
		if t := c.tallies.of(firstDate << i); f.name != "" && t.n > best.n {
			best = t
		}
	}
	return best
}

// markedOf counts the missing markers of a kind.
func (c *column) markedOf(k kinds) (n int64) {
	for _, m := range c.missing {
		if c.kindsOf(m.value)&k != 0 {
			n += m.n
		}
	}
	return n
}

// comma writes a number with commas between its thousands.
func comma(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
