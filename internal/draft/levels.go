package draft

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"mlops/internal/dataset"
	"mlops/internal/progress"
)

// mostCompared is how many levels a category has at most to be compared with one another.
const mostCompared = 200

// valuesToModel is said of levels that are one in several spellings.
const valuesToModel = " values to a model"

// spellings notes levels of a category that are one in several spellings: in other capitals
// (Male, male), with other marks (USA, U.S.A.), shortened (m, male), or by another name (US,
// USA).
func (c *column) spellings() {
	if c.kind != dataset.Category || c.full || len(c.counts) > mostCompared {
		return
	}
	by := map[string][]string{}
	c.texts(func(v string, _ *count) {
		bare := unmarked(v)
		by[bare] = append(by[bare], v)
	})
	for short, long := range shortened(by) {
		by[long] = append(by[long], by[short]...)
		delete(by, short)
	}
	for other, name := range synonyms(by) {
		by[name] = append(by[name], by[other]...)
		delete(by, other)
	}
	var several [][]string // the most frequent one first
	for _, bare := range slices.Sorted(maps.Keys(by)) {
		slices.SortFunc(by[bare], func(a, b string) int {
			if n := c.counts[b].n - c.counts[a].n; n != 0 {
				return int(n)
			}
			return strings.Compare(a, b)
		})
		if len(by[bare]) > 1 {
			several = append(several, by[bare])
		}
	}
	if len(several) == 0 {
		return
	}
	var words []string
	for _, v := range several[0][:min(len(several[0]), 5)] {
		words = append(words, fmt.Sprintf("%q (%s)", shorten(v, 40), progress.Counted(c.counts[v].n, "cell")))
	}
	last := len(words) - 1
	said := fmt.Sprintf("%s and %s are %d"+valuesToModel, strings.Join(words[:last], ", "), words[last], len(several[0]))
	if n := len(several) - 1; n > 0 {
		said += fmt.Sprintf(", and the same goes for %s", progress.Counted(int64(n), "other value"))
	}
	said += ": if they mean the same, write them one way"
	if len(by) == 2 {
		var numbers []string
		for i, bare := range slices.Sorted(maps.Keys(by)) {
			for _, v := range by[bare] {
				numbers = append(numbers, fmt.Sprintf("%s: %d", quote(v), i))
			}
		}
		if len(numbers) <= 10 {
			said += fmt.Sprintf(", or make one number of them: the feature {number: %s, values: {%s}}", quote(dataset.PlainName(c.name)), strings.Join(numbers, ", "))
		}
	}
	c.notes = append(c.notes, said)
}

// unmarked is a level without capitals, blanks, and the points and dashes between letters or
// at its end: U.S.A. and usa have the same one, A- and A have not.
func unmarked(level string) string {
	runes := []rune(strings.ToLower(norm.NFC.String(level)))
	var b strings.Builder
	for i, r := range runes {
		before, after := ' ', ' '
		if i > 0 {
			before = runes[i-1]
		}
		if i+1 < len(runes) {
			after = runes[i+1]
		}
		switch {
		case unicode.IsDigit(before) || unicode.IsDigit(after):
		case r == '.' || r == '\'' || r == '"':
			continue
		case (unicode.IsSpace(r) || r == '-' || r == '_') && unicode.IsLetter(before) && unicode.IsLetter(after):
			continue
		}
		b.WriteRune(r)
	}
	if b.Len() == 0 {
		return level
	}
	return b.String()
}

// commonShort are first letters that stand for words.
var commonShort = map[string][]string{"m": {"male", "man"}, "f": {"female", "false"}, "w": {"woman"}, "y": {"yes"}, "n": {"no"}, "t": {"true"}}

// shortened finds levels that are others without their ends: two or more of up to three
// letters, each the beginning of one level, and none of no level; or a common one, such as m
// beside male.
func shortened(levels map[string][]string) map[string]string {
	pairs, common, ends := map[string]string{}, map[string]string{}, map[string]bool{}
	clear := true
	for short := range levels {
		for _, long := range commonShort[short] {
			if levels[long] != nil {
				common[short] = long
			}
		}
		if len(short) > 3 || strings.ContainsFunc(short, func(r rune) bool { return !unicode.IsLetter(r) }) {
			continue
		}
		found := 0
		for long := range levels {
			if len(long) > 3 && strings.HasPrefix(long, short) {
				found++
				clear = clear && !ends[long]
				pairs[short], ends[long] = long, true
			}
		}
		clear = clear && found == 1
	}
	if clear && len(pairs) > 1 {
		return pairs
	}
	return common
}

// mixedTruths reports whether a column says yes and no, in words and as 1 and 0, and nothing
// else.
func (c *column) mixedTruths() bool {
	var yes, no, words bool
	other := c.full
	c.texts(func(v string, _ *count) {
		x, number := dataset.ParseNumber([]byte(v))
		switch low := strings.ToLower(v); {
		case number && x == 1:
			yes = true
		case number && x == 0:
			no = true
		case slices.Contains([]string{"yes", "y", "true", "t", "on"}, low):
			yes, words = true, true
		case slices.Contains([]string{"no", "n", "false", "f", "off"}, low):
			no, words = true, true
		default:
			other = true
		}
	})
	return yes && no && words && !other
}

// spelled lists the column's values with their cells, the most frequent first.
func (c *column) spelled() string {
	var words []string
	for _, v := range c.some(8) {
		words = append(words, fmt.Sprintf("%q (%s)", v, progress.Count(c.counts[v].n)))
	}
	return strings.Join(words, ", ")
}

// partings are the marks between several values in one cell.
var partings = []string{";", "|", ",", "/"}

const (
	// A column has several values in a cell if so many of its levels have a mark, and so many
	// percent of the parts between marks are alone elsewhere, or in another place.
	leastParted, mostlyAgain = 2, 75
)

// parted notes cells of a category that hold several values: fever;cough. To a model, each
// combination is a value of its own.
func (c *column) parted() {
	if c.kind != dataset.Category || len(c.counts) < 3 {
		return
	}
	if lists := c.lists(); lists.n > 0 {
		c.notes = append(c.notes, c.severalIn(lists, "as a list", 0))
		return
	}
	for _, mark := range partings {
		var cells tally
		type part struct{ place, of int }
		places := map[string]map[part]bool{}
		levels, parts := 0, 0
		c.texts(func(v string, n *count) {
			of := strings.Split(v, mark)
			for i, p := range of {
				p = strings.TrimSpace(p)
				if places[p] == nil {
					places[p] = map[part]bool{}
				}
				places[p][part{min(i, 2), min(len(of), 2)}] = true
			}
			if len(of) > 1 {
				cells.add(n, v)
				levels++
			}
		})
		if levels < leastParted {
			continue
		}
		again, all := 0, 0
		different := map[string]bool{}
		c.texts(func(v string, _ *count) {
			of := strings.Split(v, mark)
			if len(of) < 2 {
				return
			}
			for _, p := range of {
				p = strings.TrimSpace(p)
				all++
				different[p] = true
				if p != "" && len(places[p]) > 1 {
					again++
				}
			}
		})
		parts = len(different)
		if again*100 >= mostlyAgain*all && levels*2 > parts {
			c.notes = append(c.notes, c.severalIn(cells, fmt.Sprintf("parted by %q", mark), parts))
			return
		}
	}
}

// severalIn says that cells hold several values, of so many parts; 0: not known.
func (c *column) severalIn(cells tally, how string, parts int) string {
	of := ""
	if parts > 0 {
		of = fmt.Sprintf(" of %d parts", parts)
	}
	return fmt.Sprintf("%s cells have several values%s, %s, for example line %s: %q. Each combination is a value of its own to a model, %s in all, and a class of its own in a target: make a column of yes and no for each part",
		progress.Count(cells.n), of, how, progress.Count(cells.line), cells.example, progress.Count(c.values))
}

// lists tallies cells that are lists in brackets.
func (c *column) lists() (cells tally) {
	var all int64
	c.texts(func(v string, n *count) {
		all += n.n
		if len(v) > 2 && (v[0] == '[' && v[len(v)-1] == ']' || v[0] == '{' && v[len(v)-1] == '}') && strings.ContainsAny(v, ",;") && !interval(v) {
			cells.add(n, v)
		}
	})
	if cells.n*20 < all {
		return tally{}
	}
	return cells
}

// interval reports whether a text in brackets is one of numbers, such as [10,20].
func interval(v string) bool {
	a, b, _ := strings.Cut(v[1:len(v)-1], ",")
	_, one := dataset.ParseNumber([]byte(strings.TrimSpace(a)))
	_, two := dataset.ParseNumber([]byte(strings.TrimSpace(b)))
	return one && two
}
