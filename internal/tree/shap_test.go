package tree

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// TestContributionsSameAsLibxgboost compares with pred_contribs of models of every
// objective, with categories, repeated features, missing values and deep trees.
func TestContributionsSameAsLibxgboost(t *testing.T) {
	lib, ref := library(t), newReference(t)
	tasks := append(objectives[:len(objectives):len(objectives)], struct {
		name   string
		params map[string]any
		label  func(rng *rand.Rand, y float64) float64
	}{"binary:logistic", nil, func(_ *rand.Rand, y float64) float64 { return y }})
	var mu sync.Mutex
	var rows int
	var worst, worstSum float64
	t.Cleanup(func() {
		t.Logf("%d rows: largest difference %.1e, of sums from the margins %.1e", rows, worst, worstSum)
	})
	for at, task := range tasks {
		for _, depth := range [][]int{{1, 6}, {4, 7}, {6, 9}}[at%3] {
			t.Run(fmt.Sprintf("%s %v depth %d", task.name, task.params, depth), func(t *testing.T) {
				t.Parallel()
				rng := rand.New(rand.NewPCG(uint64(depth), uint64(at)))
				kinds := make([]int, 2+rng.IntN(12))
				for j := range kinds {
					if rng.IntN(3) == 0 {
						kinds[j] = 2 + rng.IntN(60)
					}
				}
				data := draw(rng, kinds, 800, 0.05, false)
				for i, y := range data.labels {
					data.labels[i] = float32(task.label(rng, float64(y)))
				}
				params := map[string]any{"objective": task.name, "nthread": 1, "max_depth": depth, "eta": 0.3,
					"max_cat_to_onehot": []int{1, 8}[rng.IntN(2)], "min_child_weight": []float64{0, 1}[rng.IntN(2)]}
				for name, value := range task.params {
					params[name] = value
				}
				ubj, err := boostAny(t, lib, data, 8, params).SaveUBJ()
				if err != nil {
					t.Fatal(err)
				}
				text, err := ref.json(ubj)
				if err != nil {
					t.Fatal(err)
				}
				check := draw(rng, kinds, 50, []float64{0, 0.05, 0.5}[rng.IntN(3)], true)
				want, err := ref.contributions(ubj, check)
				if err != nil {
					t.Fatal(err)
				}
				for form, saved := range map[string][]byte{"UBJ": ubj, "JSON": text} {
					m, err := Parse(saved)
					if err != nil {
						t.Fatalf("%s: %v", form, err)
					}
					off, offSum := compareContributions(t, m, check, want)
					mu.Lock()
					rows, worst, worstSum = rows+check.rows, max(worst, off), max(worstSum, offSum)
					mu.Unlock()
				}
			})
		}
	}
}

// compareContributions fails if contributions differ from libxgboost's by more than
// 1e-4, or their sums from the margins by more than a millionth; of large ones in
// proportion.
func compareContributions(t *testing.T, m *Model, check table, want []float32) (worst, worstSum float64) {
	t.Helper()
	outputs, width := m.Outputs(), m.Features()+1
	if len(want) != check.rows*outputs*width {
		t.Fatalf("libxgboost has %d contributions", len(want))
	}
	out := make([]float64, width)
	slow := &Model{features: m.features, bases: m.bases, trees: m.trees} // decides split by split
	slow.explainOnce.Do(func() { slow.explain = slow.newExplainer(m.explainer().batches != nil) })
	slowOut := make([]float64, width)
	for i := range check.rows {
		row := check.data[i*m.features : (i+1)*m.features]
		for k := range outputs {
			m.Contributions(row, k, out)
			slow.Contributions(row, k, slowOut)
			sum, size := 0.0, 1.0
			for _, c := range out {
				sum += c
				size = max(size, math.Abs(c))
			}
			margin := float64(m.walk(row, k))
			offSum := math.Abs(sum-margin) / max(size, math.Abs(margin))
			if worstSum = max(worstSum, offSum); !(offSum <= 1e-6) {
				t.Fatalf("row %d, output %d: contributions sum to %v, the margin is %v", i, k, sum, margin)
			}
			for j, w := range want[(i*outputs+k)*width:][:width] {
				off := math.Abs(out[j]-float64(w)) / size
				if worst = max(worst, off); !(off <= 1e-4) {
					t.Fatalf("row %d, output %d, feature %d: %v, libxgboost %v", i, k, j, out[j], w)
				}
				if out[j] != slowOut[j] {
					t.Fatalf("row %d, output %d, feature %d: %v, without the forest %v", i, k, j, out[j], slowOut[j])
				}
			}
		}
	}
	return worst, worstSum
}

// TestContributionsAreShapleyValues compares with the definition: the mean over all
// orders of features of what the margin changes by when a feature becomes known.
func TestContributionsAreShapleyValues(t *testing.T) {
	lib := library(t)
	rng := rand.New(rand.NewPCG(3, 4))
	kinds := []int{0, 0, 5, 0}
	ubj, err := boost(t, lib, draw(rng, kinds, 1000, 0.1, false), 5, map[string]any{"max_depth": 8, "min_child_weight": 0}).SaveUBJ()
	if err != nil {
		t.Fatal(err)
	}
	m, err := Parse(ubj)
	if err != nil {
		t.Fatal(err)
	}
	check := draw(rng, kinds, 50, 0.1, false)
	factorial := []float64{1, 1, 2, 6, 24}
	for i := range check.rows {
		row := check.data[i*4 : (i+1)*4]
		out, want := make([]float64, 5), make([]float64, 5)
		m.Contributions(row, 0, out)
		want[4] = m.known(row, 0)
		for set := range 16 {
			size := 0
			for j := range 4 {
				size += set >> j & 1
			}
			for j := range 4 {
				if set>>j&1 == 0 {
					want[j] += factorial[size] * factorial[3-size] / 24 * (m.known(row, set|1<<j) - m.known(row, set))
				}
			}
		}
		for j := range want {
			if math.Abs(out[j]-want[j]) > 1e-6 {
				t.Errorf("row %d, feature %d: %v, by definition %v", i, j, out[j], want[j])
			}
		}
	}
}

// known is the margin where only the features of a set are known.
func (m *Model) known(row []float32, set int) float64 {
	sum := float64(m.bases[0])
	for _, t := range m.trees {
		var mean func(n *node) float64
		mean = func(n *node) float64 {
			if n.left == 0 {
				return float64(n.value)
			}
			l, r := &t.nodes[n.left], &t.nodes[n.left+1]
			switch {
			case set>>n.feature&1 == 0:
				share := float64(l.cover) / (float64(l.cover) + float64(r.cover))
				return share*mean(l) + (1-share)*mean(r)
			case n.goesLeft(row[n.feature]):
				return mean(l)
			}
			return mean(r)
		}
		sum += mean(&t.nodes[0])
	}
	return sum
}

// TestContributionsLayouts compares each layout with libxgboost: groups of trees, trees
// folded for three points, and those that fit neither.
func TestContributionsLayouts(t *testing.T) {
	t.Parallel()
	lib, ref := library(t), newReference(t)
	for _, test := range []struct {
		depth           int
		vectors         bool
		grouped, folded bool
	}{
		{3, true, vectors, !vectors}, {6, true, vectors, !vectors}, {8, true, vectors, false},
		{3, false, false, true}, {6, false, false, true}, {14, false, false, false},
	} {
		rng := rand.New(rand.NewPCG(7, uint64(test.depth)))
		kinds := []int{0, 0, 0, 30, 0, 5} // so few that they occur again and again
		if test.depth == 8 {
			kinds = slices.Repeat(kinds, 3)
		}
		ubj, err := boost(t, lib, draw(rng, kinds, 20000, 0.1, false), 10, map[string]any{"max_depth": test.depth, "eta": 0.3, "min_child_weight": 0}).SaveUBJ()
		if err != nil {
			t.Fatal(err)
		}
		m, err := Parse(ubj)
		if err != nil {
			t.Fatal(err)
		}
		m.explainOnce.Do(func() { m.explain = m.newExplainer(test.vectors && vectors) })
		if e := m.explain; e.batches != nil != test.grouped || e.folded != nil != test.folded {
			t.Errorf("depth %d, vectors %v: %d points, grouped %v, folded %v", test.depth, test.vectors, len(e.weight), e.batches != nil, e.folded != nil)
		}
		check := draw(rng, kinds, 200, 0.1, true)
		want, err := ref.contributions(ubj, check)
		if err != nil {
			t.Fatal(err)
		}
		off, offSum := compareContributions(t, m, check, want)
		t.Logf("depth %d, %d points, grouped %v: largest difference %.1e, of sums from the margins %.1e", test.depth, len(m.explain.weight), test.grouped, off, offSum)
	}
}

func TestNotExplainable(t *testing.T) {
	t.Parallel()
	m := newModel(1, nil, identity, []float32{0}, []tree{{nodes: []node{
		{left: 1}, {value: 1, cover: float32(math.NaN())}, {value: 2, cover: float32(math.NaN())}}, depth: 1}})
	if err := m.Explainable(); err == nil {
		t.Error("a model without covers is explainable")
	}
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	m.Contributions([]float32{1}, 0, make([]float64, 2))
}

// BenchmarkContributions compares with libxgboost's time per row on one thread.
func BenchmarkContributions(b *testing.B) {
	ref := newReference(b)
	for _, depth := range []int{4, 6, 8} {
		rng := rand.New(rand.NewPCG(1, 1))
		kinds := make([]int, 45)
		for j := 0; j < len(kinds); j += 4 {
			kinds[j] = []int{3, 8, 20, 60}[j/4%4]
		}
		trees := 500
		booster := boost(b, library(b), draw(rng, kinds, 20000, 0.05, false), trees, map[string]any{"max_depth": depth, "eta": 0.05, "tree_method": "hist"})
		ubj, err := booster.SaveUBJ()
		if err != nil {
			b.Fatal(err)
		}
		m, err := Parse(ubj)
		if err != nil {
			b.Fatal(err)
		}
		check := draw(rng, kinds, 1000, 0.05, false)
		b.Run(fmt.Sprintf("depth %d", depth), func(b *testing.B) {
			out := make([]float64, m.Features()+1)
			i := 0
			for b.Loop() {
				m.Contributions(check.data[i*m.features:(i+1)*m.features], 0, out)
				if i++; i == check.rows {
					i = 0
				}
			}
		})
		b.Run(fmt.Sprintf("depth %d, libxgboost", depth), func(b *testing.B) {
			rows := table{kinds: kinds, rows: 200, data: check.data[:200*m.features]}
			for b.Loop() {
				if _, err := ref.contributions(ubj, rows); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rows.rows), "ns/row")
		})
	}
}
