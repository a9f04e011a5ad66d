package tree

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// grow draws a tree, each of whose splits has two children until depth.
func grow(rng *rand.Rand, depth, features, codes int, full bool) tree {
	t := tree{nodes: []node{{}}}
	level := []int{0}
	for i := 0; i < len(t.nodes); i++ {
		t.depth = level[i]
		if level[i] == depth || !full && i > 0 && rng.IntN(3) == 0 {
			t.nodes[i] = node{value: float32(rng.NormFloat64())}
			continue
		}
		n := node{feature: int32(rng.IntN(features)), left: int32(len(t.nodes)), defaultLeft: rng.IntN(2) == 0}
		if n.categorical = codes > 0 && rng.IntN(2) == 0; n.categorical {
			for c := range codes {
				if rng.IntN(4) == 0 || c == codes-1 && n.categories == nil {
					n.categories = append(n.categories, int32(c))
				}
			}
		} else {
			odd := []float64{math.Inf(1), math.Inf(-1), math.Copysign(0, -1), 0, 1}
			n.value = float32(rng.NormFloat64())
			if rng.IntN(5) == 0 {
				n.value = float32(odd[rng.IntN(len(odd))])
			}
		}
		t.nodes[i] = n
		t.nodes = append(t.nodes, node{}, node{})
		level = append(level, level[i]+1, level[i]+1)
	}
	return t
}

// TestEveryLayoutScoresTheSame compares with the walk from node to node, on rows
// that libxgboost would not take as well: a feature that is compared here and
// looked up in a set there, infinities.
func TestEveryLayoutScoresTheSame(t *testing.T) {
	for depth := range 14 {
		for _, trees := range []int{0, 1, 3, 4, 5, 33} {
			rng := rand.New(rand.NewPCG(uint64(depth), uint64(trees)))
			features := 1 + rng.IntN(5)
			var list []tree
			for range trees {
				list = append(list, grow(rng, depth, features, 2*rng.IntN(12), depth < 9 && rng.IntN(2) == 0))
			}
			m := newModel(features, nil, logistic, []float32{0.25}, list)
			if m.forest == nil {
				t.Fatalf("depth %d, %d trees: no forest", depth, trees)
			}
			const n = 2*slabRows + minSlabRows + 5 // two whole slabs and a part of one
			rows, out := make([]float32, n*features), make([]float32, n)
			odd := []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1), -1, 2, 5, 7.5, 1 << 24, 1e30}
			for i := range rows {
				rows[i] = float32(rng.NormFloat64())
				if rng.IntN(2) == 0 {
					rows[i] = float32(odd[rng.IntN(len(odd))])
				}
			}
			m.ScoreBatch(rows, out)
			for i, got := range out {
				row := rows[i*features : (i+1)*features]
				want := sigmoid(m.walk(row, 0))
				if one := m.Score(row); got != want || one != want {
					t.Fatalf("depth %d, %d trees: row %d %v: alone %v, in a batch %v, node by node %v", depth, trees, i, row, one, got, want)
				}
			}
		}
	}
}

func TestTooManyQuestionsAreWalked(t *testing.T) {
	stump := func(n node) tree {
		n.left = 1
		return tree{nodes: []node{n, {value: -1}, {value: 1}}, depth: 1}
	}
	var thresholds, codes []tree
	for i := range maxSlots + 1 {
		thresholds = append(thresholds, stump(node{value: float32(i)}))
	}
	for i := range 4 {
		codes = append(codes, stump(node{categorical: true, categories: []int32{int32(i), maxCategory - 1}}))
	}
	for name, trees := range map[string][]tree{"thresholds": thresholds, "codes": codes} {
		m := newModel(1, nil, logistic, []float32{0}, trees)
		if m.forest != nil {
			t.Errorf("%s: there is a forest", name)
		}
		row := []float32{2}
		if got, want := m.Score(row), sigmoid(m.walk(row, 0)); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestSigmoid(t *testing.T) {
	for _, test := range []struct {
		because      string
		margin, want float32
	}{
		{"even odds", 0, 0.5},
		{"certain", 200, 1},
		{"impossible, but XGBoost bounds the exponent", -200, 3.006636e-39},
		{"an ordinary margin", -2, 0.11920292},
	} {
		if got := sigmoid(test.margin); math.Abs(float64(got-test.want)) > 1e-7*float64(test.want) {
			t.Errorf("%s: sigmoid(%v) = %v, want %v", test.because, test.margin, got, test.want)
		}
	}
}

func TestScorePanicsOnWrongLength(t *testing.T) {
	m, err := Parse(fixture(t, "small.ubj"))
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func(){
		"short row":   func() { m.Score(make([]float32, 3)) },
		"long row":    func() { m.Score(make([]float32, 5)) },
		"short batch": func() { m.ScoreBatch(make([]float32, 7), make([]float32, 2)) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if r := recover(); r == nil {
					t.Error("no panic")
				} else if want := "of 4 features"; !strings.Contains(fmt.Sprint(r), want) {
					t.Errorf("panic %v, want one with %q", r, want)
				}
			}()
			f()
		})
	}
}

func TestScoreDoesNotAllocate(t *testing.T) {
	m, err := Parse(fixture(t, "small.ubj"))
	if err != nil {
		t.Fatal(err)
	}
	row := make([]float32, 4)
	if n := testing.AllocsPerRun(100, func() { m.Score(row) }); n > 0 {
		t.Errorf("%v allocations a row", n)
	}
}
