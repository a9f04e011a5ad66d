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
	// fewestValues rows of a regression's split with which its figures say anything at
	// all, and with which validation can measure an interval of 90 %.
	fewestValues = 20
	// scarceValues is the same for a word of warning.
	scarceValues = 100
	// LeakR2 is the share of a target's variance that a single feature may explain, by
	// Explained, before it is taken to give the answer away.
	LeakR2 = 0.98
)

// mostClassesSaid is how many classes a finding names.
const mostClassesSaid = 5

// FewOfClasses looks at the rows of each class in a split: one finding of the classes that
// stop training, one of those whose figures are rough.
func FewOfClasses(spec *dataset.Spec, split string, rows int, counts []int) []Finding {
	var found []Finding
	say := func(level Level, remedy string, from, below int) {
		least, names := -1, []string{}
		for k, n := range counts {
			if n < from || n >= below {
				continue
			}
			names = append(names, fmt.Sprintf("%d of them %s = %q", n, spec.Target.Column, spec.Target.Classes[k]))
			if least < 0 || n < least {
				least = n
			}
		}
		if len(names) == 0 {
			return
		}
		what := "and only " + names[0]
		if len(names) > 1 {
			what = fmt.Sprintf("and of %d classes there are fewer than %d, such as %s", len(names), below, strings.Join(names[:min(mostClassesSaid, len(names))], ", "))
		}
		found = append(found, Finding{Level: level, Kind: "few", Split: split, Value: float64(least), Text: fmt.Sprintf("the %s rows are %d, %s; %s", split, rows, what, remedy)})
	}
	say(Stop, fmt.Sprintf("at least %d of each class are needed: bring more rows, %s, or leave the class out by a cohort and out of target.classes", Fewest, spec.EnlargeSplit(split)), 0, Fewest)
	say(Warning, "the figures are rough", Fewest, scarce)
	return found
}

// FewValues looks at the values of a regression's target in a split, from low to high.
func FewValues(spec *dataset.Spec, split string, rows int, low, high float32) []Finding {
	f := Finding{Kind: "few", Split: split, Value: float64(rows)}
	switch {
	case rows < fewestValues:
		f.Level, f.Text = Stop, fmt.Sprintf("the %s rows are only %d; at least %d are needed: bring more rows, or %s", split, rows, fewestValues, spec.EnlargeSplit(split))
	case low == high:
		f.Level, f.Kind, f.Text = Stop, "target", fmt.Sprintf("all %d %s rows have %s = %g: there is nothing to predict", rows, split, spec.Target.Column, low)
	case rows < scarceValues:
		f.Level, f.Text = Warning, fmt.Sprintf("the %s rows are only %d; its figures are rough", split, rows)
	default:
		return nil
	}
	return []Finding{f}
}

// Classes is how well a feature tells each of several classes from the rest: the AUC
// of the class that it tells worst, and the mean. It gives the answer away if it tells
// each of them; one that tells a single class is common. codes and folds are as in Alone.
func Classes(values, y []float32, codes int, folds []uint8, classes int) (least, mean float64, err error) {
	is := make([]float32, len(y))
	least = 1
	for k := range classes {
		for i, label := range y {
			is[i] = 0
			if int(label) == k {
				is[i] = 1
			}
		}
		auc, err := Alone(values, is, codes, folds)
		if err != nil {
			return 0, 0, err
		}
		least, mean = min(least, auc), mean+auc/float64(classes)
	}
	return least, mean, nil
}

// Explained is the share of a numeric target's variance that a single feature
// explains: as a number by a straight line or by its order, or by the mean of the other
// folds' rows with the same value. codes and folds are as in Alone.
func Explained(values, y []float32, codes int, folds []uint8) float64 {
	var mean, total float64
	for _, v := range y {
		mean += float64(v) / float64(len(y))
	}
	for _, v := range y {
		total += (float64(v) - mean) * (float64(v) - mean)
	}
	if total == 0 {
		return 0
	}
	cuts, groups := groupsOf(values, codes, bins)
	type tally struct{ rows, sum float64 }
	all := make([][Folds]tally, groups)
	fold := func(i int) int {
		if folds == nil {
			return i % Folds
		}
		return int(folds[i])
	}
	for i, v := range values {
		t := &all[groupOf(v, cuts, codes, groups)][fold(i)]
		t.rows++
		t.sum += float64(y[i])
	}
	var off float64
	for i, v := range values {
		n, sum := float64(prior), prior*mean
		for k, t := range all[groupOf(v, cuts, codes, groups)] {
			if k != fold(i) {
				n, sum = n+t.rows, sum+t.sum
			}
		}
		off += (float64(y[i]) - sum/n) * (float64(y[i]) - sum/n)
	}
	best := 1 - off/total
	if codes == 0 {
		best = max(best, straight(values, y))
		if best > 0.5 { // for the time that ranks take
			best = max(best, straight(ranks(values), ranks(y)))
		}
	}
	return max(best, 0)
}

// straight is the squared correlation, where at least half of the rows have a value.
func straight(values, y []float32) float64 {
	var n, mx, my, xx, yy, xy float64
	for i, v := range values {
		if v != v {
			continue
		}
		n++
		dx, dy := float64(v)-mx, float64(y[i])-my
		mx += dx / n
		my += dy / n
		xx += dx * (float64(v) - mx)
		yy += dy * (float64(y[i]) - my)
		xy += dx * (float64(y[i]) - my)
	}
	if 2*n < float64(len(values)) || xx == 0 || yy == 0 {
		return 0
	}
	return xy * xy / xx / yy
}

// ranks are the places of the values in their order, that of equal ones the same; NaN stays.
func ranks(values []float32) []float32 {
	order := make([]int, 0, len(values))
	for i, v := range values {
		if v == v {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(values[a], values[b]) })
	out := slices.Repeat([]float32{float32(math.NaN())}, len(values))
	for from := 0; from < len(order); {
		to := from + 1
		for to < len(order) && values[order[to]] == values[order[from]] {
			to++
		}
		for _, i := range order[from:to] {
			out[i] = float32(from+to-1) / 2
		}
		from = to
	}
	return out
}
