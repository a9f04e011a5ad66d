package inspect

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"mlops/internal/dataset"
)

const (
	// LeastForDrift is how many training rows a stretch needs for its shares to mean
	// anything.
	LeastForDrift = 200
	// certain is the quantile of the normal distribution that a shift has to be beyond,
	// one in three million: among a thousand features none is by chance.
	certain = 5
)

// Drift is the kind of a finding about a feature that changes from batch to batch.
const Drift = "drift"

// replaceRows is how a batch that was loaded is corrected.
const replaceRows = "in the table and load it again, with on_change: replace in the spec, so that its rows take the place of these (without a key, mlops forget removes all rows: then load every table again)"

// stretch is training rows that follow one another.
type stretch struct {
	name     string
	from, to int
	batches  bool // whole batches, and no half of one
}

// stretchesOf are the batches in which the rows came, small ones joined with those
// that follow; of one batch, its halves. There are none to compare if there are too
// few rows.
func stretchesOf(batch []int32, rows int) []stretch {
	type span struct{ first, last int32 }
	var all []stretch
	var spans []span
	for i, b := range batch {
		n := len(all) - 1
		if n < 0 || b != spans[n].last && all[n].to-all[n].from >= LeastForDrift {
			all, spans = append(all, stretch{from: i}), append(spans, span{b, b})
			n++
		}
		all[n].to, spans[n].last = i+1, b
	}
	if n := len(all) - 1; n > 0 && all[n].to-all[n].from < LeastForDrift {
		all[n-1].to, spans[n-1].last = all[n].to, spans[n].last
		all, spans = all[:n], spans[:n]
	}
	for n, s := range spans {
		all[n].name, all[n].batches = fmt.Sprintf("batch %d", s.first+1), true
		if s.last != s.first {
			all[n].name = fmt.Sprintf("batches %d to %d", s.first+1, s.last+1)
		}
	}
	if len(all) > 1 {
		return all
	}
	return halvesOf("training rows", rows)
}

// halvesOf are the halves of a table, nil if they have too few rows; what says what those are.
func halvesOf(what string, rows int) []stretch {
	half := rows / 2
	if half < LeastForDrift {
		return nil
	}
	return []stretch{{"the first half of the " + what, 0, half, false}, {"the second half", half, rows, false}}
}

// drift compares the first stretch of rows with each later one by the population
// stability index over ten parts or the levels; missing is one of them. It returns the
// largest shift that is large and not by chance. what is what f is to the reader: a
// feature or a column. measures says that its values are measurements: of a batch that looks
// as if they were in another unit than those of the first, nothing good can be learnt.
func drift(what string, f Feature, values []float32, stretches []stretch, measures bool) *moved {
	if len(stretches) < 2 {
		return nil
	}
	first := stretches[0]
	cuts, groups := groupsOf(values[first.from:first.to], f.Codes, 10)
	count := func(s stretch) []float64 {
		counts := make([]float64, groups)
		for _, v := range values[s.from:s.to] {
			counts[groupOf(v, cuts, f.Codes, groups)]++
		}
		return counts
	}
	before := count(first)
	var most *moved
	for _, s := range stretches[1:] {
		after := count(s)
		index := stability(before, after)
		if index <= shifted || most != nil && index <= most.found.Value || !unlikely(before, after) {
			continue
		}
		found := &Finding{Level: Warning, Kind: Drift, Feature: f.Name, Value: index, Text: fmt.Sprintf(
			"%s %s is distributed differently in %s than in %s%s",
			what, f.Name, s.name, first.name, changeOf(f, values[first.from:first.to], values[s.from:s.to])+levelOf(f, before, after)+respelled(f, before, after))}
		most = &moved{feature: f, found: found, to: s, before: thinned(values[first.from:first.to]), after: thinned(values[s.from:s.to]), measures: measures}
		if !measures {
			continue
		}
		if c, back, ok := laterUnit(values[first.from:first.to], values[s.from:s.to]); ok {
			most.unit = "; its values are those before " + c.words(back)
			if s.batches {
				found.Level = Stop
				found.Text += most.unit + ": convert them " + replaceRows + "; if both are right, say min and max of the column, between which all values are"
			}
			return most
		}
	}
	return most
}

// Pair is a column's values in the rows loaded before, and in a table.
type Pair struct {
	Feature
	Before, After []float32
}

// Between are the findings about columns that have other values in a table than in the rows
// loaded before; none if there are too few rows to say.
func Between(pairs []Pair) (found []Finding) {
	var all []moved
	for _, p := range pairs {
		n := len(p.Before)
		if min(n, len(p.After)) < LeastForDrift {
			continue
		}
		if m := drift("column", p.Feature, slices.Concat(p.Before, p.After), []stretch{{"the rows loaded before", 0, n, false}, {"this table", n, n + len(p.After), false}}, p.Codes == 0); m != nil {
			all = append(all, *m)
		}
	}
	exchanged(all)
	for i := range all {
		all[i].found.Text += all[i].unit
	}
	for _, m := range all {
		found = append(found, *m.found)
	}
	return found
}

// inUnits says which features may be in another unit in the second half of a table, unless as
// many change for no such reason: then other things begin there.
func inUnits(all []moved) {
	explained, others := 0, 0
	for i := range all {
		switch {
		case all[i].unit != "":
			explained++
		case all[i].feature.Codes == 0 && !inOrder(slices.Concat(all[i].before, all[i].after)):
			others++
		}
	}
	for i := range all {
		if m := &all[i]; m.unit != "" && !m.to.batches && others < explained {
			m.found.Text += m.unit
		}
	}
}

// inOrder reports whether values only rise, or only fall, from row to row; of a category,
// its codes. Missing ones may be anywhere.
func inOrder(values []float32) bool {
	rises, falls, last := 0, 0, float32(math.NaN())
	for _, v := range values {
		switch {
		case v != v:
			continue
		case v > last:
			rises++
		case v < last:
			falls++
		}
		last = v
	}
	return min(rises, falls)*100 <= max(rises, falls) && rises+falls > 0
}

// explained makes one finding of what changes in rows that are sorted by a feature, where
// other features change with it.
func explained(drifts []Finding, sortedBy string) []Finding {
	if sortedBy == "" || len(drifts) < 2 {
		return drifts
	}
	slices.SortStableFunc(drifts, func(a, b Finding) int { return cmp.Compare(b.Value, a.Value) })
	var names []string
	for _, d := range drifts {
		if d.Feature != sortedBy {
			names = append(names, d.Feature)
		}
	}
	return []Finding{{Level: Warning, Kind: Drift, Feature: sortedBy, Value: drifts[0].Value, Text: fmt.Sprintf(
		"the training rows look sorted by %s, and %s change along with it: if it is time, rows that come later may be unlike these; else it is only their order, and says nothing",
		sortedBy, firstOf(names))}}
}

// firstOf names the first features, and says how many more there are.
func firstOf(names []string) string {
	more := ""
	if n := len(names) - named; n > 0 {
		names, more = names[:named], fmt.Sprintf(" and %d more", n)
	}
	return strings.Join(names, ", ") + more
}

// ofDate reports whether a feature is made of one column of dates alone: a part of them, or
// the days to a fixed one.
func ofDate(spec *dataset.Spec, f Feature) bool {
	if len(f.Columns) != 1 {
		return false
	}
	i := spec.Column(f.Columns[0])
	return i >= 0 && spec.Columns[i].Type == dataset.Date
}

// laterDates makes one finding of the features of dates that are others in a later batch, as
// its dates are; nil if there are none.
func laterDates(all []moved, stretches []stretch) *Finding {
	if len(all) == 0 {
		return nil
	}
	slices.SortStableFunc(all, func(a, b moved) int { return cmp.Compare(b.found.Value, a.found.Value) })
	most := all[0]
	names := make([]string, 0, len(all))
	for _, m := range all {
		names = append(names, m.feature.Name)
	}
	return &Finding{Level: Warning, Kind: Drift, Feature: most.feature.Name, Value: most.found.Value, Text: fmt.Sprintf(
		"features of dates are distributed differently in %s than in %s, as its dates are: %s. Of dates that no training row has, the model says what it says of the nearest ones",
		most.to.name, stretches[0].name, firstOf(names))}
}

// stability is the population stability index of two distributions, each given by its
// counts. An empty part counts half a row, so that the logarithm is finite.
func stability(before, after []float64) float64 {
	rowsBefore, rowsAfter, index := sum(before), sum(after), 0.0
	for g := range before {
		a, b := max(before[g], 0.5)/rowsBefore, max(after[g], 0.5)/rowsAfter
		index += (b - a) * math.Log(b/a)
	}
	return index
}

// levelOf says how the share of the level moved that changed most.
func levelOf(f Feature, before, after []float64) string {
	rowsBefore, rowsAfter, most, at := sum(before), sum(after), 0.0, -1
	for code := range f.Levels {
		if moved := math.Abs(after[code]/rowsAfter - before[code]/rowsBefore); moved > most {
			most, at = moved, code
		}
	}
	if at < 0 {
		return ""
	}
	return fmt.Sprintf("; %s in %.0f%% and %.0f%%", dataset.Quote([]byte(f.Levels[at])), 100*before[at]/rowsBefore, 100*after[at]/rowsAfter)
}

// unlikely reports whether two distributions differ by more than chance: Pearson's
// chi-squared statistic of both against its quantile, by Wilson and Hilferty (1931),
// "The distribution of chi-square".
func unlikely(before, after []float64) bool {
	rowsBefore, rowsAfter := sum(before), sum(after)
	statistic, freedom := 0.0, -1.0
	for g := range before {
		both := before[g] + after[g]
		if both == 0 {
			continue
		}
		freedom++
		a, b := both*rowsBefore/(rowsBefore+rowsAfter), both*rowsAfter/(rowsBefore+rowsAfter)
		statistic += (before[g]-a)*(before[g]-a)/a + (after[g]-b)*(after[g]-b)/b
	}
	root := 1 - 2/(9*freedom) + certain*math.Sqrt(2/(9*freedom))
	return freedom > 0 && statistic > freedom*root*root*root
}

func sum(counts []float64) float64 {
	total := 0.0
	for _, n := range counts {
		total += n
	}
	return total
}

// changeOf says how a number's middle and the share of missing values moved.
func changeOf(f Feature, before, after []float32) string {
	missing := func(values []float32) float64 {
		n := 0
		for _, v := range values {
			if v != v {
				n++
			}
		}
		return 100 * float64(n) / float64(len(values))
	}
	text := ""
	if f.Codes == 0 {
		if a, b := quantiles(before, 2), quantiles(after, 2); len(a) == 1 && len(b) == 1 && a[0] != b[0] {
			text += fmt.Sprintf(": its median was %.4g and is %.4g", a[0], b[0])
		}
	}
	if a, b := missing(before), missing(after); math.Abs(a-b) >= 1 {
		text += fmt.Sprintf("; missing in %.0f%% and %.0f%%", a, b)
	}
	return text
}
