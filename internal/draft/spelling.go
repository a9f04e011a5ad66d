package draft

import (
	"bytes"
	"fmt"
	"math"
	"strings"

	"mlops/internal/progress"
)

// spelling is how the table spells numbers.
type spelling struct {
	decimal, thousands string
	guess              string
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
		plain, comma, groups := t.of(number).n, t.of(decimalComma).n, t.of(commaGroups).n
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
			cast(c.blankSpelling(), blanks, c, t.of(blankGroups))
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

// blankSpelling is how numbers whose thousands are parted by blanks or apostrophes are
// spelled: their decimal and thousands separators.
func (c *column) blankSpelling() [2]string {
	var s [2]string
	if c.tallies.of(decimalComma).n > 0 {
		s[0] = ","
	}
	first := int64(math.MaxInt64)
	for v, n := range c.counts {
		if c.kindsOf(v)&blankGroups == 0 {
			continue
		}
		plain, unit := withoutUnit([]byte(v))
		if unit != c.unit || c.unit == "" {
			plain = []byte(v)
		}
		if bytes.IndexByte(plain, ',') >= 0 {
			s[0] = ","
		}
		if n.line < first {
			first, s[1] = n.line, firstSeparator(string(plain))
		}
	}
	return s
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
	return t.of(decimalComma).n + t.of(pointGroups).n + t.of(integer).n + t.of(leadingZero).n + t.of(endless).n
}

func firstSeparator(v string) string {
	for _, r := range v {
		if !strings.ContainsRune("-+0123456789", r) {
			return string(r)
		}
	}
	return ""
}

// twoSpellings says that nearly all values are numbers, but by two spellings that can't
// both hold: 1,234.5 and 1.234,5. "" if they aren't.
func (c *column) twoSpellings() string {
	t := &c.tallies
	// What has a point or a comma before other than three digits tells which it is.
	point, comma2 := c.lone(fraction), c.lone(decimalComma)
	for _, m := range []struct {
		k    kinds
		sep  string
		into *tally
	}{{commaGroups, ".", &point}, {pointGroups, ",", &comma2}} {
		for v, n := range c.counts {
			if c.kindsOf(v)&m.k != 0 && c.kindsOf(v)&number == 0 && strings.Contains(v, m.sep) {
				m.into.add(n, v)
			}
		}
	}
	readable := t.of(number).n + t.of(decimalComma).n + t.of(commaGroups).n + t.of(pointGroups).n
	if point.n == 0 || comma2.n == 0 || readable*10 < c.present*9 {
		return ""
	}
	return fmt.Sprintf("numbers in two spellings, which can't be read as one: a decimal point as on line %s (%q), a decimal comma as on line %s (%q); it is taken as text until the table has one of them", progress.Count(point.line), point.example, progress.Count(comma2.line), comma2.example)
}

// lone tallies the values of a kind that are of no other with separators of thousands.
func (c *column) lone(k kinds) (t tally) {
	for v, n := range c.counts {
		if of := c.kindsOf(v); of&k != 0 && of&(commaGroups|pointGroups) == 0 {
			t.add(n, v)
		}
	}
	return t
}
