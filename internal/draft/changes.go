package draft

import (
	"fmt"
	"math"
	"slices"

	"mlops/internal/dataset"
	"mlops/internal/inspect"
	"mlops/internal/progress"
)

// mostLevels is how many values a category has at most to be compared with earlier rows: of
// more, such as names, new ones are usual.
const mostLevels = 200

// Changes says which columns have other values than in the rows of before, which were loaded
// earlier: those that features are made of, and the target. Of dates and years, later ones
// are usual.
func (t *Related) Changes(before *Related) (all []string, err error) {
	now, then := t.sample, before.sample
	if len(now.rows) == 0 {
		return nil, nil // another finding says why
	}
	if n := min(len(now.rows), len(then.rows)); n < inspect.LeastForDrift {
		return []string{fmt.Sprintf("the values were not compared with those of rows loaded before: it takes %d rows with a target of both, and there are %s", inspect.LeastForDrift, progress.Count(int64(n)))}, nil
	}
	spec := now.spec
	used := map[string]bool{spec.Target.Column: true}
	for i := range spec.Features {
		for _, name := range spec.Features[i].Columns() {
			used[name] = true
		}
	}
	var pairs []inspect.Pair
	for i := range spec.Columns {
		c := &spec.Columns[i]
		if !used[c.Name] || now.isTime(i) {
			continue
		}
		f := inspect.Feature{Name: c.Name}
		code := func(v []byte) float32 {
			x, _ := dataset.ParseNumber(v)
			return float32(x)
		}
		if numeric := c.Type == dataset.Integer || c.Type == dataset.Number; !numeric || c.Name == spec.Target.Column && spec.Task != dataset.Regression {
			levels := levelsOf(i, then, now)
			if len(levels) > mostLevels {
				continue
			}
			f.Codes, f.Levels = len(levels), levels
			code = func(v []byte) float32 {
				at, _ := slices.BinarySearch(levels, string(v))
				return float32(at)
			}
		}
		pairs = append(pairs, inspect.Pair{Feature: f, Before: then.values(i, code), After: now.values(i, code)})
	}
	for _, found := range inspect.Between(pairs) {
		all = append(all, found.Text)
	}
	x, y, _, features, err := encoded(then, now)
	if err != nil {
		return nil, err
	}
	if found := inspect.Against(spec, features, x, y, len(then.rows)); found != nil {
		all = append(all, found.Text)
	}
	return all, nil
}

// levelsOf are the different values of a column in both samples, sorted.
func levelsOf(at int, samples ...*sample) []string {
	seen := map[string]bool{}
	var levels []string
	for _, s := range samples {
		for i := range s.rows {
			if v := s.rows[i].value(at); v != nil && !seen[string(v)] {
				seen[string(v)] = true
				levels = append(levels, string(v))
			}
		}
	}
	slices.Sort(levels)
	return levels
}

// values are a column's, by code, and NaN where one is missing.
func (s *sample) values(at int, code func([]byte) float32) []float32 {
	all := make([]float32, len(s.rows))
	for i := range s.rows {
		v := s.rows[i].value(at)
		if v == nil {
			all[i] = float32(math.NaN())
			continue
		}
		all[i] = code(v)
	}
	return all
}
