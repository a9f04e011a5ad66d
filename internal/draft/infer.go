package draft

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"mlops/internal/dataset"
	"mlops/internal/progress"
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
	unsure     string   // what of its spelling the table does not tell; empty: nothing
	unit       string   // of its numbers
	allowed    bool     // it may tell the target by itself
	kept       bool     // its words are values, though the others are numbers
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
			if low == "-" && c.counts["+"] != nil {
				continue // + and - are two values
			}
			if slices.Contains(markers, low) {
				c.missing = append(c.missing, marked{v, *k, true})
			}
		}
	}
	look(c.counts)
	look(c.special)
	c.findSentinels()
	// In a column of numbers or dates, any word that comes again and again stands
	// for a missing value: there is no other way to read it. Beside few numbers, one
	// with a number in it is rather the last level of a scale.
	t := &c.tallies
	readable := max(t.of(number).n, t.of(commaGroups).n, t.of(decimalComma).n, t.of(pointGroups).n, t.of(date).n)
	if left := n - sum(c.missing); readable*2 >= left && t.of(text).n > 0 && !c.mixedTruths() {
		words, hinted := map[string]*count{}, int64(0)
		for _, m := range []map[string]*count{c.counts, c.special, c.odd} {
			for v, k := range m {
				if c.kindsOf(v)&text == 0 {
					continue
				}
				if words[v] = k; slices.Contains(hints, strings.ToLower(v)) {
					hinted += k.n
				}
			}
		}
		scaled := int64(0)
		for v, k := range words {
			if strings.ContainsAny(v, "0123456789") {
				scaled += k.n
			}
		}
		scale := !c.full && t.of(date).n == 0 && len(c.counts)-len(words) <= leastDifferent && scaled*50 >= left
		for v, k := range words {
			hint := slices.Contains(hints, strings.ToLower(v))
			if scale && strings.ContainsAny(v, "0123456789") {
				continue // a level, such as 10+ beside 1 to 9
			}
			if (hint || len(words) <= 5) && readable*10 >= (left-hinted)*8 {
				c.missing = append(c.missing, marked{v, *k, hint})
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

// bestDate is the date format that fits the most cells. Where the table does not tell a
// day from a month, 1/2/2024 has the month first and others the day.
func (c *column) bestDate(not ...string) (best tally, format string) {
	for f, t := range c.dates {
		if slices.Contains(not, f) {
			continue
		}
		before := strings.HasPrefix(f, "MM/") && strings.HasPrefix(format, "DD/") || f[:min(2, len(f))] == format[:min(2, len(format))] && f < format ||
			strings.HasPrefix(f, "DD") && strings.HasPrefix(format, "MM-")
		if t.n > best.n || t.n == best.n && before {
			best, format = *t, f
		}
	}
	return best, format
}

// swapped is a format with day and month the other way around.
func swapped(format string) string {
	return strings.NewReplacer("DD", "MM", "MM", "DD").Replace(format)
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
	dates, format := c.bestDate()
	others, other := c.bestDate("")
	readable := c.isoDates() + others.n // by a column of that format
	if !c.kept && (c.oddCompactDates() || c.takeOdd(numbers, readable, other)) {
		c.decide(spell) // of the others
		return
	}
	ofFormat := func(v string) bool {
		_, ok := dataset.ParseDateIn(other, []byte(v))
		return ok
	}
	of := func(m int64) string { return fmt.Sprintf("%s of %s values", progress.Count(m), progress.Count(n)) }
	switch {
	case c.values > 2 && c.mixedTruths():
		c.kind, c.guess = dataset.Boolean, "yes or no, in several spellings: "+c.spelled()
	case numbers == n && c.compactDates() == 0:
		c.kind, c.guess = dataset.Date, "dates without a separator, by the column's name"
	case t.of(leadingZero).n > 0 && numbers == n:
		l := t.of(leadingZero)
		c.kind, c.guess = dataset.Category, fmt.Sprintf("codes: %s begin with a zero, for example line %d: %q", progress.Count(l.n), l.line, l.example)
	case t.of(endless).n > 0 && numbers == n:
		l := t.of(endless)
		c.kind, c.guess = dataset.Category, fmt.Sprintf("codes: %s have more digits than a number keeps, for example line %d: %q", progress.Count(l.n), l.line, l.example)
	case numbers == n && c.countedDates() != "":
		c.kind, c.dateFormat = dataset.Date, c.countedDates()
		c.guess = fmt.Sprintf("dates as numbers, by the column's name and their size, for example line %d: %q", t.of(number).line, t.of(number).example)
	case dates.n == n && dates.n > numbers:
		c.kind, c.dateFormat, c.guess = dataset.Date, format, fmt.Sprintf("dates, for example line %d: %q", dates.line, dates.example)
		if other := swapped(format); other != format && c.dates[other] != nil && c.dates[other].n == n {
			c.guess += fmt.Sprintf("; which is the day and which the month is not sure, since every date may be read either way (format: %s)", other)
			c.unsure = fmt.Sprintf("dates such as %q (line %d) may have the day or the month first: it was read as %s, and may be %s", dates.example, dates.line, format, other)
		}
	case c.isoDates() > 0 && c.isoDates()+others.n == n && n > numbers:
		c.kind, c.dateFormat = dataset.Date, other
		c.guess = fmt.Sprintf("dates in two forms, %s as on line %d: %q, the others as in ISO 8601", progress.Count(others.n), others.line, others.example)
	case readable*100 >= n*99 && n >= 100 && readable > numbers && c.dayAndMonth(other) == "":
		c.kind, c.dateFormat, c.guess = dataset.Date, other, of(readable)+" are dates"
		odd := c.unread(ofFormat)
		c.lossOf, c.lossEx, c.lossAt = n-readable, odd.example, odd.line
	case numbers == n, numbers*100 >= n*99 && n >= 100 && !codeName.MatchString(c.name): // codes may be written in more than one way
		c.kind = dataset.Number
		// An identifier that pandas wrote as 1001.0; of amounts, a later one may be no whole number.
		floats := t.of(number).n-c.markedOf(number) == n && t.of(fraction).n == 0 && c.identifies()
		if whole := t.of(integer).n - c.markedOf(integer); whole == n || floats {
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
			other := c.unread(c.number)
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
		case t.of(date).n*2 > n && c.dayAndMonth(other) != "":
			c.unsure = c.dayAndMonth(other)
		case readable*10 > n*9:
			c.notes = append(c.notes, mostly(of(readable), "dates ("+cmp.Or(other, "ISO 8601")+")", c.unread(ofFormat)))
		case numbers*10 > n*9:
			c.notes = append(c.notes, mostly(of(numbers), "numbers", c.unread(c.number)))
		case c.twoSpellings() != "":
			c.unsure = c.twoSpellings()
		case spell.decimal == "," && t.of(fraction).n > 0 && t.of(number).n*10 > n*9:
			f := t.of(fraction)
			c.unsure = fmt.Sprintf("numbers with a decimal point, as on line %s: %q, in a table with decimal commas (%s); it is taken as text until the table has one of them", progress.Count(f.line), f.example, spell.guess)
		case c.severalUnits() != "":
			c.unsure = c.severalUnits()
		case t.of(money).n*10 > n*9:
			c.notes = append(c.notes, "several currencies, or brackets, keep the numbers text")
		case readable*2 > n:
			c.notes = append(c.notes, mostly(of(readable), "dates ("+cmp.Or(other, "ISO 8601")+")", c.unread(ofFormat)))
		case numbers*10 >= n*8:
			c.notes = append(c.notes, mostly(of(numbers), "numbers", c.unread(c.number)))
		default:
			c.likeNumbers()
		}
	}
	if c.kind == dataset.Date && !c.kept && c.takeDefault() {
		c.decide(spell) // of the others
		return
	}
	if c.kind == dataset.Date || c.kind == dataset.Number || c.kind == dataset.Integer {
		c.noteOdd()
	}
	c.shares()
	c.suspect()
	if c.kind == dataset.Category && c.exact && c.values <= 40 {
		for v := range c.counts {
			if !slices.ContainsFunc(c.missing, func(m marked) bool { return m.value == v }) {
				c.options = append(c.options, v)
			}
		}
		dataset.Ascending(c.options)
	}
}

// mostly says what most of a text column's values are, with one that is not.
func mostly(values, what string, odd tally) string {
	return fmt.Sprintf("%s are %s; the others keep the column text, for example line %d: %q", values, what, odd.line, odd.example)
}

// number reports whether a text may be a number, in one spelling or another.
func (c *column) number(v string) bool {
	return c.kindsOf(v)&(number|commaGroups|pointGroups|blankGroups|decimalComma) != 0
}

// keepWords makes values of the words that were taken for a missing one because the
// others are numbers: a row whose target is not known is not trained on. Beside amounts,
// they are no values.
func (c *column) keepWords(spell spelling, o Options) {
	if amounts := c.values > leastDifferent && (c.kind == dataset.Number || c.kind == dataset.Integer) && !codeName.MatchString(c.name); amounts && len(o.Positive) == 0 && (o.Task == "" || o.Task == dataset.Regression) {
		return
	}
	c.kept = true
	kept := slices.DeleteFunc(slices.Clone(c.missing), func(m marked) bool { return !m.sure && c.kindsOf(m.value)&text != 0 })
	if len(kept) == len(c.missing) {
		return
	}
	c.missing, c.notes, c.unsure, c.options = kept, nil, "", nil
	c.lossOf, c.lossEx, c.lossAt = 0, "", 0
	c.present = c.rows - c.blank - sum(c.missing)
	c.decide(spell)
}

// add takes in the cells that hold a value.
func (t *tally) add(n *count, v string) {
	if t.n == 0 || n.line < t.line {
		t.line, t.example = n.line, shorten(v, 60)
	}
	t.n += n.n
}

// shares warns of a column that has some numbers as percentages and others as shares of 1:
// "12%" beside "0.12", both of which are read as they stand.
func (c *column) shares() {
	if c.unit != "%" || c.kind != dataset.Number && c.kind != dataset.Integer {
		return
	}
	var with, without tally
	var most, least float64
	for v, n := range c.counts {
		plain, unit := withoutUnit([]byte(v))
		x, ok := dataset.ParseNumber(plain)
		switch {
		case !ok:
		case unit == "%":
			with.add(n, v)
			most = max(most, x)
		default:
			without.add(n, v)
			least = max(least, x)
		}
	}
	if with.n > 0 && without.n > 0 && least <= 1 && most > 1 {
		c.unsure = fmt.Sprintf("%s values have no %% and are up to %g, such as line %s: %q, beside %q on line %s: if they are shares of 1, they are a hundredth of what they should be; write them one way",
			progress.Count(without.n), least, progress.Count(without.line), without.example, with.example, progress.Count(with.line))
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

// isoDates counts the cells that every date column reads.
func (c *column) isoDates() int64 {
	if t := c.dates[""]; t != nil {
		return t.n
	}
	return 0
}

var dateName = regexp.MustCompile(`(?i)(^|[^a-z])(dates?|day|dt|datum|fecha|data|time|timestamp)([^a-z]|$)|(?-i:[a-z](Date|Day|Dt|Time)$)`)

// compactDates counts the cells that are no dates in a column of whole numbers whose name
// says that it is one of dates, as 20240131 is; -1 if it isn't one.
func (c *column) compactDates() int64 {
	odd, ok := c.noCompactDates()
	if !ok {
		return -1
	}
	return sum(odd)
}

// noCompactDates are the few numbers that are no dates in a column of dates such as 20240131.
func (c *column) noCompactDates() (odd []marked, ok bool) {
	if t := &c.tallies; !dateName.MatchString(c.name) || len(c.counts) < 2 || t.of(integer).n+t.of(leadingZero).n < c.present {
		return nil, false
	}
	dates := 0
	c.texts(func(v string, n *count) {
		if t, ok := dataset.ParseDate([]byte(v)); ok && len(v) == 8 && (t.Year() >= 1900 && t.Year() <= 2100 || v == "99991231" || v == "29991231") {
			dates++
			return
		}
		odd = append(odd, marked{v, *n, false})
	})
	return odd, dates > len(odd) && len(odd) <= mostOdd && sum(odd)*100 <= c.present*(100-mostlyTyped)
}

// oddCompactDates takes those for missing values, and reports whether there are any.
func (c *column) oddCompactDates() bool {
	odd, ok := c.noCompactDates()
	if !ok || len(odd) == 0 {
		return false
	}
	c.take(odd)
	return true
}

// countName is a name of dates that are numbers.
var countName = regexp.MustCompile(`(?i)(^|[^a-z])(dates?|day|dt|datum|fecha|time|timestamp|stamp|ts|epoch|unix|unixtime|created|updated|modified|at|serial)([^a-z]|$)|(?-i:[a-z](Date|Day|Dt|Time|Timestamp|At|Ts)$)`)

// countedDates is the format of a column of numbers that are dates, by its name and their
// size: from 1990 to 2039, or, of a spreadsheet's days, from 1954 to 2064. It is "" for others.
func (c *column) countedDates() string {
	if !countName.MatchString(c.name) {
		return ""
	}
	switch least, most := c.extent(); {
	case least >= 631_152_000 && most < 2_208_988_800:
		return "unix"
	case least >= 631_152_000_000 && most < 2_208_988_800_000:
		return "unix_ms"
	case least >= 20_000 && most < 60_000 && dateName.MatchString(c.name):
		return "excel"
	}
	return ""
}

// extent is the least and the greatest of a column's numbers that were counted, of at least
// three.
func (c *column) extent() (least, most float64) {
	n := 0
	for v := range c.counts {
		x, ok := dataset.ParseNumber([]byte(v))
		if !ok || slices.ContainsFunc(c.missing, func(m marked) bool { return m.value == v }) {
			continue
		}
		if n++; n == 1 {
			least, most = x, x
		}
		least, most = min(least, x), max(most, x)
	}
	if n < 3 {
		return 0, 0
	}
	return least, most
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
