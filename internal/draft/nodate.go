package draft

import (
	"cmp"
	"fmt"
	"slices"

	"mlops/internal/dataset"
	"mlops/internal/progress"
)

const (
	// A date stands for none if it is so many years from all others, and so many times as far
	// as those are from one another; leastDefaults is how many cells have it, at least.
	defaultYears, defaultSpans, leastDefaults = 20, 2, 5

	secondsOfYear = 365.25 * 24 * 60 * 60
)

// takeDefault takes a date that stands for none, such as 31.12.9999 or 1900-01-01, for a
// missing value. It reports whether there is one.
func (c *column) takeDefault() bool {
	type day struct {
		years float64
		text  string
		*count
	}
	var all []day
	c.texts(func(v string, n *count) {
		if t, ok := dataset.ParseDateIn(c.dateFormat, []byte(v)); ok {
			all = append(all, day{float64(t.Unix()) / secondsOfYear, v, n})
		}
	})
	if len(all) < 4 {
		return false
	}
	slices.SortFunc(all, func(a, b day) int { return cmp.Or(cmp.Compare(a.years, b.years), cmp.Compare(a.text, b.text)) })
	last := len(all) - 1
	for _, end := range []struct {
		day
		gap, span float64
	}{
		{all[last], all[last].years - all[last-1].years, all[last-1].years - all[0].years},
		{all[0], all[1].years - all[0].years, all[last].years - all[1].years},
	} {
		if end.gap < defaultYears || end.gap < defaultSpans*end.span || end.n < leastDefaults {
			continue
		}
		c.take([]marked{{end.text, *end.count, true}})
		for _, format := range dataset.Formats([]byte(end.text)) {
			if t := c.dates[format]; t != nil {
				t.n -= end.n
			}
		}
		c.notes = append(c.notes, fmt.Sprintf("%q (%s, first on line %s) is %.0f years from all other dates, and read as missing: it seems to stand for no date",
			shorten(end.text, 40), progress.Counted(end.n, "cell"), progress.Count(end.line), end.gap))
		return true
	}
	return false
}
