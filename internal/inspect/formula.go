package inspect

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"mlops/internal/dataset"
)

const (
	// nearlyAll is the share of rows in which a formula has to hold. The others may be
	// corrections, or rounded otherwise.
	nearlyAll = 0.97
	// precise is how far from the target a formula's result may be, in the target's
	// standard deviations. Where the target is rounded more coarsely, up to half of a
	// step is allowed, if that is not above coarse.
	precise, coarse = 0.002, 0.1
	// mostNumbers is in how many features of numbers pairs are looked for.
	mostNumbers = 60
	// mostSame is how many columns may hold the target by turns.
	mostSame = 6
	// leastSame is the share of rows that each of them has to add.
	leastSame = 0.01
	// byChance is the share of rows in which those columns may have the target of another
	// row: where values repeat so often, being the same says nothing.
	byChance = 0.5
	// leastKnown is the number, and the share, of rows that have both columns of a formula.
	leastKnown, leastKnownShare = 50, 0.5
)

// formulas are the ways in which two columns may give a number, up to a factor.
var formulas = []struct {
	of    func(a, b float64) float64
	words string
	both  bool // the other way round it is another one
}{
	{func(a, b float64) float64 { return a + b }, "the sum of %s and %s", false},
	{func(a, b float64) float64 { return a - b }, "the difference of %s and %s", false}, // the factor has the sign
	{func(a, b float64) float64 { return a * b }, "the product of %s and %s", false},
	{func(a, b float64) float64 { return a / b }, "%s divided by %s", true},
	{func(a, b float64) float64 { return a / (b * b) }, "%s divided by the square of %s", true},
}

// Formula warns if the target can be computed from other columns in nearly all rows: it is
// the sum, the difference, the product or the ratio of two, or always equals one of a few.
// Trees see either only roughly. nil: it can't. x has one vector per row.
func Formula(spec *dataset.Spec, features []Feature, x, y []float32) *Finding {
	step := max(1, len(y)/mostTogether)
	var rows []int
	for i := 0; i < len(y); i += step {
		rows = append(rows, i)
	}
	t := &formulaRows{spec: spec, features: features, x: x, y: y, rows: rows}
	if what, columns, share := t.same(); what != "" {
		return t.finding(what, columns, share)
	}
	if spec.Task == dataset.Regression {
		if what, columns, share := t.pair(); what != "" {
			return t.finding(what, columns, share)
		}
	}
	return nil
}

// formulaRows are the rows that a formula is looked for in.
type formulaRows struct {
	spec     *dataset.Spec
	features []Feature
	x, y     []float32
	rows     []int // of x and y
}

func (t *formulaRows) finding(what string, columns []string, share float64) *Finding {
	if !slices.ContainsFunc(columns, func(c string) bool { return !slices.Contains(t.spec.AllowLeak, c) }) {
		return nil
	}
	return &Finding{Level: Warning, Kind: "leak", Feature: columns[0], Value: share, Text: fmt.Sprintf(
		"%s is %s in %s of the rows: make sure that all of them are known before %[1]s is; else leave one out",
		t.spec.Target.Column, what, percent(share))}
}

// percent is a share for people, which is 100% only if nothing is missing.
func percent(share float64) string {
	return strconv.FormatFloat(math.Floor(share*1000)/10, 'f', -1, 64) + "%"
}

// at is a feature's value of the i-th row.
func (t *formulaRows) at(f, i int) float64 { return float64(t.x[t.rows[i]*len(t.features)+f]) }

// target is that of the i-th row.
func (t *formulaRows) target(i int) float64 { return float64(t.y[t.rows[i]]) }

// spread returns the target's standard deviation and the least step between two values.
func (t *formulaRows) spread() (deviation, gap float64) {
	values := make([]float64, len(t.rows))
	mean := 0.0
	for i := range values {
		values[i] = t.target(i)
		mean += values[i] / float64(len(values))
	}
	for _, v := range values {
		deviation += (v - mean) * (v - mean) / float64(len(values))
	}
	slices.Sort(values)
	gap = math.Inf(1)
	for i := 1; i < len(values); i++ {
		if d := values[i] - values[i-1]; d > 0 {
			gap = min(gap, d)
		}
	}
	return math.Sqrt(deviation), gap
}

// pair finds two numbers that give the target by a formula.
func (t *formulaRows) pair() (what string, columns []string, share float64) {
	deviation, gap := t.spread()
	if deviation == 0 || len(t.rows) < leastKnown {
		return "", nil, 0
	}
	allowed := precise * deviation
	if gap <= 2*coarse*deviation {
		allowed = max(allowed, gap*0.501)
	}
	var numbers []int
	for f := range t.features {
		if t.features[f].Codes == 0 && len(numbers) < mostNumbers {
			numbers = append(numbers, f)
		}
	}
	for i, a := range numbers {
		for _, b := range numbers[i+1:] {
			for _, f := range formulas {
				for _, p := range [][2]int{{a, b}, {b, a}} {
					if p[0] == b && !f.both {
						continue
					}
					if s := t.holds(f.of, p[0], p[1], allowed); s >= nearlyAll && s > share && !t.either(p[0], p[1], allowed) {
						columns = slices.Concat(t.features[p[0]].Columns, t.features[p[1]].Columns)
						what, share = fmt.Sprintf(f.words, t.features[p[0]].Name, t.features[p[1]].Name), s
					}
				}
			}
		}
	}
	return what, slices.Compact(columns), share
}

// either reports whether one of two columns gives the target by itself: the other has no
// part in it then.
func (t *formulaRows) either(a, b int, allowed float64) bool {
	first := func(a, _ float64) float64 { return a }
	return t.holds(first, a, b, allowed) > 0 || t.holds(first, b, a, allowed) > 0
}

// holds is the share of rows in which a formula of two features gives the target. It is 0
// as soon as too many differ.
func (t *formulaRows) holds(of func(a, b float64) float64, a, b int, allowed float64) float64 {
	factor, ok := t.factor(of, a, b)
	if !ok {
		return 0
	}
	known, differ := 0, 0
	most := max(1, int((1-nearlyAll)*float64(len(t.rows))))
	for i := range t.rows {
		u, v := t.at(a, i), t.at(b, i)
		if u != u || v != v {
			continue
		}
		known++
		y := t.target(i)
		rounding := 1e-6 * (math.Abs(u) + math.Abs(v)) // of 32 bits
		if !(math.Abs(factor*of(u, v)-y) <= allowed+1e-6*math.Abs(y)+min(rounding, allowed)) {
			if differ++; differ > most || known == 40 && differ > 10 {
				return 0
			}
		}
	}
	if known < leastKnown || float64(known) < leastKnownShare*float64(len(t.rows)) {
		return 0
	}
	return 1 - float64(differ)/float64(known)
}

// factor is what a formula has to be multiplied with, by the median of the first rows.
func (t *formulaRows) factor(of func(a, b float64) float64, a, b int) (float64, bool) {
	var ratios []float64
	for i := range t.rows {
		if r := t.target(i) / of(t.at(a, i), t.at(b, i)); r != 0 && !math.IsNaN(r) && !math.IsInf(r, 0) {
			ratios = append(ratios, r)
		}
		if len(ratios) == 51 || i == 500 {
			break
		}
	}
	if len(ratios) < 11 {
		return 0, false
	}
	slices.Sort(ratios)
	factor := ratios[len(ratios)/2]
	if whole := math.Round(factor); whole != 0 && math.Abs(factor/whole-1) < 1e-3 {
		factor = whole
	}
	return factor, true
}

// same finds a few columns of which one or another has the target's value. Of a binary
// target nothing is looked for, as any column of two values often has it.
func (t *formulaRows) same() (what string, columns []string, share float64) {
	if t.spec.Task != dataset.Multiclass && t.spec.Task != dataset.Regression || len(t.rows) < leastKnown {
		return "", nil, 0
	}
	equal, candidates := t.equal()
	covered := make([]bool, len(t.rows))
	var chosen []int
	for n := 0; len(chosen) < mostSame && n < len(t.rows); {
		best, most := -1, int(leastSame*float64(len(t.rows)))
		for _, f := range candidates {
			if more := t.count(func(i int) bool { return !covered[i] && equal(f, i, i) }); more > most {
				best, most = f, more
			}
		}
		if best < 0 {
			break
		}
		chosen = append(chosen, best)
		for i := range covered {
			covered[i] = covered[i] || equal(best, i, i)
		}
		n += most
		share = float64(n) / float64(len(t.rows))
	}
	if share < nearlyAll {
		return "", nil, 0
	}
	// The same with the targets of other rows.
	other := len(t.rows)/2 + 1
	chance := t.count(func(i int) bool {
		return slices.ContainsFunc(chosen, func(f int) bool { return equal(f, i, (i+other)%len(t.rows)) })
	})
	if float64(chance) > byChance*float64(len(t.rows)) {
		return "", nil, 0
	}
	for _, f := range chosen {
		columns = append(columns, t.features[f].Columns...)
	}
	columns = slices.Compact(columns)
	if len(columns) == 1 {
		return "the same as " + columns[0], columns, share
	}
	return "the same as " + strings.Join(columns[:len(columns)-1], ", ") + " or " + columns[len(columns)-1], columns, share
}

func (t *formulaRows) count(is func(i int) bool) (n int) {
	for i := range t.rows {
		if is(i) {
			n++
		}
	}
	return n
}

// equal returns whether a feature's value of one row is another row's target, and the
// features that can be compared.
func (t *formulaRows) equal() (equal func(f, row, target int) bool, candidates []int) {
	classes := map[string]int{}
	for k, c := range t.spec.Target.Classes {
		classes[c] = k
	}
	numbers := make([]float64, len(t.spec.Target.Classes)) // of classes; NaN: none
	for k, c := range t.spec.Target.Classes {
		numbers[k] = math.NaN()
		if v, ok := dataset.ParseNumber([]byte(c)); ok {
			numbers[k] = v
		}
	}
	class := make([][]int, len(t.features)) // of a category's codes; -1: none
	for f, feature := range t.features {
		if feature.Codes > 0 && t.spec.Task == dataset.Regression {
			continue
		}
		candidates = append(candidates, f)
		for _, level := range feature.Levels {
			k, ok := classes[level]
			if !ok {
				k = -1
			}
			class[f] = append(class[f], k)
		}
	}
	return func(f, row, target int) bool {
		v, y := t.at(f, row), t.target(target)
		switch {
		case v != v:
			return false
		case t.spec.Task == dataset.Regression:
			return math.Abs(v-y) <= 1e-6*math.Abs(y)
		case t.features[f].Codes > 0:
			return int(v) < len(class[f]) && class[f][int(v)] == int(y)
		}
		return numbers[int(y)] == v
	}, candidates
}
