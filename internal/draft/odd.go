package draft

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"mlops/internal/dataset"
	"mlops/internal/progress"
)

const (
	// A column is one of numbers or dates if so many percent of its values are, and more than
	// so many different ones; mostOdd is how many other texts it may have then.
	mostlyTyped, leastDifferent, mostOdd = 95, 20, 20
)

// codeWord is a text that is rather a code than a mistake: V45, E878.1.
var codeWord = regexp.MustCompile(`^[A-Za-z]{1,3}-?\d{2,}(\.\d+)?$`)

// texts calls f with each text of the column that was counted and is not taken for a
// missing value.
func (c *column) texts(f func(v string, n *count)) {
	marks := map[string]bool{}
	for _, m := range c.missing {
		marks[m.value] = true
	}
	for _, m := range []map[string]*count{c.counts, c.special, c.odd} {
		for v, n := range m {
			if !marks[v] {
				f(v, n)
			}
		}
	}
}

// unread tallies the texts that can't be read.
func (c *column) unread(read func(v string) bool) (odd tally) {
	c.texts(func(v string, n *count) {
		if !read(v) {
			odd.add(n, v)
		}
	})
	return odd
}

// takeOdd takes the few texts among numbers, or the few among dates that are none, for
// missing values. It reports whether there are any; codes such as V45 are none.
func (c *column) takeOdd(numbers, dates int64, format string) bool {
	readable := max(numbers, dates)
	if readable == c.present || readable*100 < c.present*mostlyTyped || c.values <= leastDifferent || numbers >= dates && codeName.MatchString(c.name) {
		return false
	}
	if dates > numbers && c.dayAndMonth(format) != "" {
		return false
	}
	var odd []marked
	var found int64
	codes := false
	c.texts(func(v string, n *count) {
		if c.kindsOf(v)&text == 0 && numbers >= dates {
			return
		}
		if _, ok := dataset.ParseDateIn(format, []byte(v)); ok && dates > numbers {
			return
		}
		odd, found, codes = append(odd, marked{v, *n, false}), found+n.n, codes || codeWord.MatchString(v)
	})
	if codes || len(odd) > mostOdd || found != c.present-readable {
		return false
	}
	c.take(odd)
	return true
}

// take takes values for missing ones.
func (c *column) take(odd []marked) {
	c.missing = append(c.missing, odd...)
	slices.SortFunc(c.missing, func(a, b marked) int { return strings.Compare(a.value, b.value) })
	c.present -= sum(odd)
}

// noteOdd says of a column of numbers or dates which texts that may be either are read as
// missing.
func (c *column) noteOdd() {
	var odd, form tally
	var all, forms []marked
	for _, m := range c.missing {
		switch k := c.kindsOf(m.value); {
		case m.sure || !strings.ContainsAny(m.value, "0123456789") || slices.Contains(sentinels, m.value):
		case c.kind == dataset.Date && k&date != 0:
			form.add(&m.count, m.value)
			forms = append(forms, m)
		case c.kind == dataset.Date || k&number == 0:
			odd.add(&m.count, m.value)
			all = append(all, m)
		}
	}
	say := func(t tally, of []marked, one, several, remedy string) {
		if t.n == 0 {
			return
		}
		what, are, such := one, "is", ""
		if t.n > 1 {
			what, are = several, "are"
		}
		if len(of) > 1 {
			such = "such as "
		}
		c.notes = append(c.notes, fmt.Sprintf("%s %s, %s%q (line %s), and %s read as missing: %s", progress.Counted(t.n, "cell"), what, such, t.example, progress.Count(t.line), are, remedy))
	}
	if c.kind == dataset.Date {
		say(odd, all, "is no date that exists", "are no dates that exist", "correct the table")
		say(form, forms, "is a date in another form", "are dates in another form", "write all dates one way")
		return
	}
	say(odd, all, "has a number in it", "have a number in them", "write a number there, or say type: category")
}

// secondHeader warns of a line that has words where the others have numbers or dates: units,
// or names once more. "" if there is none.
func (d *Draft) secondHeader() string {
	type place struct{ line, lines int64 }
	type cell struct{ column, value string }
	words, typed := map[place][]cell{}, 0
	for _, c := range d.columns {
		if c.drop != "" || c.kind != dataset.Integer && c.kind != dataset.Number && c.kind != dataset.Date {
			continue
		}
		typed++
		for _, m := range c.missing {
			if !m.sure && c.kindsOf(m.value)&text != 0 && m.n*20 <= d.Rows {
				at := place{m.line, m.n}
				words[at] = append(words[at], cell{c.name, m.value})
			}
		}
	}
	best, found := place{}, []cell(nil)
	for at, cells := range words {
		same, units, names := true, true, true
		for _, k := range cells {
			same = same && k.value == cells[0].value
			units = units && (isUnit(k.value) || slices.Contains(unitWords, k.value))
			names = names && strings.EqualFold(k.value, k.column)
		}
		first := at.line == d.firstLine
		enough := len(cells) >= 2 && 2*len(cells) >= typed && (first || units || names || !same && at.lines == 1)
		if !enough && !(first && (units || names)) {
			continue
		}
		if len(cells) > len(found) || len(cells) == len(found) && at.line < best.line {
			best, found = at, cells
		}
	}
	if len(found) == 0 {
		return ""
	}
	var said []string
	for i, k := range found {
		if i == 4 && len(found) > 5 {
			said = append(said, fmt.Sprintf("and %d more", len(found)-i))
			break
		}
		said = append(said, fmt.Sprintf("%s: %q", shorten(k.column, 40), shorten(k.value, 40)))
	}
	more := ""
	if best.lines > 1 {
		more = fmt.Sprintf("; there are %s such lines", progress.Count(best.lines))
	}
	return fmt.Sprintf("line %s has words where the other lines have numbers or dates (%s): a second header, or a line of units, is no record; take it out of the table%s. As it is, these cells are read as missing",
		progress.Count(best.line), strings.Join(said, ", "), more)
}

// dayAndMonth says that some dates have the day first and others the month, so that no format
// reads both and those that both read are not sure; "" if all may be of one format.
func (c *column) dayAndMonth(format string) string {
	other := swapped(format)
	if other == format {
		return ""
	}
	only := func(one, two string) tally {
		return c.unread(func(v string) bool {
			_, first := dataset.ParseDateIn(one, []byte(v))
			_, second := dataset.ParseDateIn(two, []byte(v))
			return !first || second
		})
	}
	one, two := only(format, other), only(other, format)
	if one.n == 0 || two.n == 0 {
		return ""
	}
	return fmt.Sprintf("dates of two forms, which can't be read as one: %s as on line %s (%q), %s as on line %s (%q); it is taken as text until the table has one of them",
		format, progress.Count(one.line), one.example, other, progress.Count(two.line), two.example)
}
