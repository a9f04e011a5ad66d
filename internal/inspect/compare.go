package inspect

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"mlops/internal/dataset"
	"mlops/internal/evaluate"
)

const (
	// mostCompare is how many rows two columns are first compared on, and roughly by how much
	// their AUC may be off on those.
	mostCompare, roughly = 600, 0.01
	// leastAmounts is how many different values a column has at least that is compared.
	leastAmounts = 12
	// fewBands is up to how many different values may be bands of the target.
	fewBands = 100
	// outside is the share of rows that may be outside the band of their value.
	outside = 0.01
)

// compared warns if two columns tell a binary target only by their difference or ratio: the
// days between two dates, or a use and its limit. Trees see that only roughly.
func compared(spec *dataset.Spec, features []Feature, x, y []float32, folds []uint8) *Finding {
	if spec.Task != dataset.Binary || len(features) != len(spec.Features) {
		return nil
	}
	var numbers []int
	for f := range features {
		of := &spec.Features[f]
		if features[f].Codes == 0 && len(features[f].Columns) == 1 && of.Date == "" && of.Earlier == "" && len(numbers) < mostNumbers {
			numbers = append(numbers, f)
		}
	}
	few, many := spaced(len(y), mostCompare), spaced(len(y), mostTogether)
	numbers = slices.DeleteFunc(numbers, func(f int) bool { // flags and small counts
		seen := map[float32]bool{}
		for _, row := range few {
			if seen[x[row*len(features)+f]] = true; len(seen) >= leastAmounts {
				return false
			}
		}
		return true
	})
	take := func(rows []int, of func(row int) float32) []float32 {
		values := make([]float32, len(rows))
		for i, row := range rows {
			values[i] = of(row)
		}
		return values
	}
	label := func(row int) float32 { return y[row] }
	fewY, manyY := take(few, label), take(many, label)
	if rarer(manyY) < scarce {
		return nil // that may be by chance
	}
	var manyFolds []uint8
	if folds != nil {
		for _, row := range many {
			manyFolds = append(manyFolds, folds[row])
		}
	}
	var best *Finding
	for i, a := range numbers {
		for _, b := range numbers[i+1:] {
			for _, c := range []struct {
				of   func(u, v float32) float32
				what string
			}{
				{func(u, v float32) float32 { return u - v }, "the difference of %s and %s"},
				{divided, "%s divided by %s"},
			} {
				of := func(row int) float32 { return c.of(x[row*len(features)+a], x[row*len(features)+b]) }
				if auc := ranked(take(few, of), fewY); auc <= LeakAUC-roughly {
					continue
				}
				value, err := Alone(take(many, of), manyY, 0, manyFolds)
				columns := slices.Concat(features[a].Columns, features[b].Columns)
				if err != nil || value <= LeakAUC || !slices.ContainsFunc(columns, func(c string) bool { return !slices.Contains(spec.AllowLeak, c) }) {
					continue
				}
				if best != nil && value <= best.Value {
					continue
				}
				best = &Finding{Level: Warning, Kind: "leak", Feature: features[a].Name, Value: value, Text: fmt.Sprintf(
					c.what+" has an AUC of %.4f: make sure that both are known before %s is; else leave one out", columns[0], columns[1], value, spec.Target.Column)}
			}
		}
	}
	return best
}

// divided is a ratio; NaN where there is none.
func divided(u, v float32) float32 {
	if v == 0 {
		return float32(math.NaN())
	}
	return u / v
}

// spaced are at most so many of n rows, evenly.
func spaced(n, most int) (rows []int) {
	step := (n + most - 1) / most
	for i := 0; i < n; i += max(1, step) {
		rows = append(rows, i)
	}
	return rows
}

// ranked is the AUC of a number in either direction, 0 where many rows have none.
func ranked(values, y []float32) float64 {
	var with, labels []float32
	for i, v := range values {
		if v == v {
			with, labels = append(with, v), append(labels, y[i])
		}
	}
	if 10*len(with) < 9*len(values) {
		return 0
	}
	r, err := evaluate.Rank(with, labels)
	if err != nil {
		return 0
	}
	return max(r.AUC(), 1-r.AUC())
}

// bands reports whether the few values of a feature part the range of a target: each has the
// rows from one target to another. Then it was made of the target.
func bands(values, y []float32) bool {
	rows := spaced(len(y), mostTogether)
	counts := map[float32]int{}
	for _, row := range rows {
		v := values[row]
		if v != v {
			v = -1e30 // missing is a value of its own
		}
		if counts[v]++; len(counts) > fewBands {
			return false
		}
	}
	for v, n := range counts {
		if n < Fewest {
			delete(counts, v)
		}
	}
	if len(counts) < 2 {
		return false
	}
	// Equal targets in any order, so that what is the same in some of them shows.
	slices.SortFunc(rows, func(a, b int) int {
		return cmp.Or(cmp.Compare(y[a], y[b]), cmp.Compare(Scatter(uint64(a)), Scatter(uint64(b))))
	})
	changes, targets := 0, 1
	for i := 1; i < len(rows); i++ {
		a, b := values[rows[i-1]], values[rows[i]]
		if !equal(a, b) {
			changes++
		}
		if y[rows[i-1]] != y[rows[i]] {
			targets++
		}
	}
	most := len(counts) - 1 + int(2*outside*float64(min(len(rows), smaller(counts))))
	return targets >= 3*len(counts) && changes <= most
}

// smaller is the number of rows that don't have the most frequent value.
func smaller(counts map[float32]int) int {
	all, most := 0, 0
	for _, n := range counts {
		all, most = all+n, max(most, n)
	}
	return all - most
}
