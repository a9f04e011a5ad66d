package inspect

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"mlops/internal/dataset"
)

// branchSpec has a number x, a branch, and a target y of a task; more is added to it.
func branchSpec(t *testing.T, task, more string) *dataset.Spec {
	t.Helper()
	target := map[string]string{
		dataset.Binary:     "target: {column: y, positive: [\"1\"]}\nthreshold: {fixed: 0.5}\n",
		dataset.Multiclass: "target: {column: y, classes: [\"1\", \"2\", \"3\"]}\n",
		dataset.Regression: "target: {column: y}\n",
	}[task]
	kind := map[string]string{dataset.Binary: "integer", dataset.Multiclass: "category", dataset.Regression: "number"}[task]
	spec, err := dataset.Parse([]byte("name: branches\nmodel: branches\ntask: " + task + "\n" + target + `
columns:
  - {name: x, type: number}
  - {name: age, type: integer}
  - {name: branch, type: category}
  - {name: y, type: ` + kind + `}
split: {salts: [s1], train: 60, validation: 20, test: 20}
features: [{number: x}, {number: age}]
candidates: [{name: one, rounds: 5, params: {eta: 0.3}}]
` + more))
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// branches are rows of about eight per branch, with a target.
type branches struct {
	of       []int
	y        []float64
	rows     map[int]float64
	sum      map[int]float64
	own      map[int]float64 // of each branch, without regard to the target
	rand     *rand.Rand
	mean     float64
	previous map[int]float64 // mean of other rows of the same branch
}

func newBranches(task string, n int) *branches {
	r := rand.New(rand.NewPCG(1, 9))
	b := &branches{rows: map[int]float64{}, sum: map[int]float64{}, own: map[int]float64{}, previous: map[int]float64{}, rand: r}
	for range n {
		k := r.IntN(n / 8)
		if _, known := b.own[k]; !known {
			b.own[k] = r.NormFloat64()
			for range 20 {
				b.previous[k] += b.draw(task, k) / 20
			}
		}
		y := b.draw(task, k)
		b.of, b.y = append(b.of, k), append(b.y, y)
		b.rows[k]++
		b.sum[k] += y
		b.mean += y / float64(n)
	}
	return b
}

func (b *branches) draw(task string, k int) float64 {
	switch task {
	case dataset.Binary:
		if b.rand.NormFloat64()+b.own[k] > 0.7 {
			return 1
		}
		return 0
	case dataset.Multiclass:
		return float64(1 + b.rand.IntN(3))
	}
	return 100 + 10*b.own[k] + float64(b.rand.IntN(2000))/100
}

// extremes are the least and the greatest target of a row's branch.
func (b *branches) extremes(i int) [2]float64 {
	least, most := math.Inf(1), math.Inf(-1)
	for j, k := range b.of {
		if k == b.of[i] {
			least, most = min(least, b.y[j]), max(most, b.y[j])
		}
	}
	return [2]float64{least, most}
}

func TestOfTarget(t *testing.T) {
	t.Parallel()
	mean := func(b *branches, i int) float64 { return b.sum[b.of[i]] / b.rows[b.of[i]] }
	for _, tt := range []struct {
		name, task string
		digits     int // behind the point; -1: all
		x          func(b *branches, i int) float64
		want       string // empty: nothing is found
	}{
		{"share", dataset.Binary, 4, mean, `x is the share of y = "1" among the rows with the same branch, in 100% of the rows`},
		{"percentage", dataset.Binary, 1, func(b *branches, i int) float64 { return 100 * mean(b, i) }, `the percentage of y = "1"`},
		{"share of the others", dataset.Binary, 3, func(b *branches, i int) float64 { return 1 - mean(b, i) }, `the share of rows without y = "1"`},
		{"number", dataset.Binary, 0, func(b *branches, i int) float64 { return b.sum[b.of[i]] }, `the number of rows with y = "1"`},
		{"without the row", dataset.Binary, -1, func(b *branches, i int) float64 { return (b.sum[b.of[i]] - b.y[i]) / (b.rows[b.of[i]] - 1) }, `the share of y = "1" in the other rows`},
		{"smoothed", dataset.Binary, -1, func(b *branches, i int) float64 { return (b.sum[b.of[i]] + 10*b.mean) / (b.rows[b.of[i]] + 10) }, `the share of y = "1", drawn towards`},
		{"mean", dataset.Regression, 2, mean, "x is the mean of y among the rows with the same branch"},
		{"smoothed mean", dataset.Regression, -1, func(b *branches, i int) float64 { return (b.sum[b.of[i]] + 5*b.mean) / (b.rows[b.of[i]] + 5) }, "the mean of y, drawn towards"},
		{"sum", dataset.Regression, 2, func(b *branches, i int) float64 { return b.sum[b.of[i]] }, "the sum of y"},
		{"mean of the others", dataset.Regression, 3, func(b *branches, i int) float64 { return (b.sum[b.of[i]] - b.y[i]) / (b.rows[b.of[i]] - 1) }, "the mean of y in the other rows"},
		{"deviation", dataset.Regression, 3, func(b *branches, i int) float64 { return b.y[i] - mean(b, i) }, "y less its mean"},
		{"mean of classes", dataset.Multiclass, 3, mean, "the mean of y"},

		{"greatest", dataset.Regression, 2, func(b *branches, i int) float64 { return b.extremes(i)[1] }, "x is the greatest y among the rows with the same branch"},
		{"least", dataset.Regression, 2, func(b *branches, i int) float64 { return b.extremes(i)[0] }, "x is the least y among the rows with the same branch"},

		{"mean of earlier rows", dataset.Binary, 4, func(b *branches, i int) float64 { return b.previous[b.of[i]] }, ""},
		{"mean of earlier values", dataset.Regression, 2, func(b *branches, i int) float64 { return b.previous[b.of[i]] }, ""},
		{"number of rows", dataset.Binary, 0, func(b *branches, i int) float64 { return b.rows[b.of[i]] }, ""},
		{"number of rows of values", dataset.Regression, 0, func(b *branches, i int) float64 { return b.rows[b.of[i]] }, ""},
		{"what the branch is like", dataset.Binary, 2, func(b *branches, i int) float64 { return b.own[b.of[i]] }, ""},
		{"a flag of the branch", dataset.Binary, 0, func(b *branches, i int) float64 { return float64(b.of[i] % 2) }, ""},
		{"a rare flag", dataset.Binary, 0, func(b *branches, i int) float64 { return float64(b.rand.IntN(40) / 39) }, ""},
		{"noise", dataset.Binary, 2, func(b *branches, i int) float64 { return b.rand.Float64() }, ""},
		{"always the same", dataset.Binary, 2, func(b *branches, i int) float64 { return 0.5 }, ""},
		{"nearly the mean", dataset.Regression, 2, func(b *branches, i int) float64 { return mean(b, i) + float64(b.of[i]%5-2) }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			// The larger table has more branches than are tallied.
			for _, n := range []int{1_500, 300_000} {
				if n > 1_500 && tt.name != "share" && tt.name != "without the row" && tt.name != "mean of earlier rows" {
					continue
				}
				b, spec := newBranches(tt.task, n), branchSpec(t, tt.task, "")
				all := NewOfTarget(spec)
				for i, y := range b.y {
					x := strconv.FormatFloat(tt.x(b, i), 'f', tt.digits, 64)
					fields := [][]byte{[]byte(x), []byte(fmt.Sprint(20 + i%50)), []byte(fmt.Sprintf("B%05d", b.of[i])), []byte(strconv.FormatFloat(y, 'f', -1, 64))}
					if label, known := spec.Label(fields); known {
						all.Add(fields, label)
					}
				}
				found := OfFeatures(spec, all.Found())
				switch {
				case tt.want == "" && len(found) > 0:
					t.Errorf("%d rows: found %s", n, found[0])
				case tt.want != "" && (len(found) != 1 || found[0].Level != Stop || !strings.Contains(found[0].Text, tt.want)):
					t.Errorf("%d rows: found %v, want %q", n, found, tt.want)
				}
			}
		})
	}
}

// What is said of a column's levels of thousands of rows is a warning, and of none that is allowed.
func TestOfTargetStopsWhereARowMatters(t *testing.T) {
	t.Parallel()
	for more, want := range map[string]string{"": "warning", "allow_leak: [x]\n": ""} {
		spec := branchSpec(t, dataset.Binary, more)
		all := NewOfTarget(spec)
		r := rand.New(rand.NewPCG(2, 2))
		var of, y [12_000]int
		var sum [40]float64
		for i := range of {
			of[i] = i % 40
			if r.IntN(100) < 10+of[i] {
				y[i] = 1
				sum[of[i]]++
			}
		}
		for i, k := range of {
			fields := [][]byte{[]byte(strconv.FormatFloat(sum[k]/300, 'f', 4, 64)), []byte("1"), []byte{byte('A' + k)}, []byte(strconv.Itoa(y[i]))}
			all.Add(fields, float32(y[i]))
		}
		got := ""
		for _, f := range OfFeatures(spec, all.Found()) {
			got += string(f.Level)
		}
		if got != want {
			t.Errorf("with %q the finding is %q, want %q", more, got, want)
		}
	}
}

// The logarithm of a price is its, though a target such as the price less inflation has it as
// its greatest value among the rows with the same price. The greatest target by the number of
// a branch was computed.
func TestOfTargetThatTheTargetIsMadeOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		row  func(r *rand.Rand) (level int, y float64)
		x    func(level int, greatest float64) float64
		want bool
	}{
		{"a logarithm", func(r *rand.Rand) (int, float64) {
			price := 40 + 5*r.IntN(40)
			return price, math.Log(float64(price)) - 0.4*float64(r.IntN(2))
		}, func(level int, _ float64) float64 { return math.Log(float64(level)) }, false},
		{"by number of a branch", func(r *rand.Rand) (int, float64) { return r.IntN(60), 100 * r.Float64() },
			func(_ int, greatest float64) float64 { return greatest }, true},
	} {
		spec, r := branchSpec(t, dataset.Regression, ""), rand.New(rand.NewPCG(5, 5))
		all := NewOfTarget(spec)
		levels, y, greatest := make([]int, 900), make([]float64, 900), map[int]float64{}
		for i := range levels {
			levels[i], y[i] = tt.row(r)
			if most, known := greatest[levels[i]]; !known || y[i] > most {
				greatest[levels[i]] = y[i]
			}
		}
		for i, level := range levels {
			x := strconv.FormatFloat(tt.x(level, greatest[level]), 'f', -1, 64)
			all.Add([][]byte{[]byte(x), []byte(strconv.Itoa(level)), []byte("A"), []byte(strconv.FormatFloat(y[i], 'f', -1, 64))}, float32(y[i]))
		}
		if found := all.Found(); (len(found) > 0) != tt.want {
			t.Errorf("%s: found %v, want one: %t", tt.name, found, tt.want)
		}
	}
}
