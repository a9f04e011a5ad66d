// Package tree scores rows with a boosted model of decision trees that XGBoost
// trained, in plain Go. It follows libxgboost's CPU predictor step by step, in
// float32 where that does, so that the margins are the same to the bit.
package tree

import (
	"fmt"
	"math"
	"slices"
	"sync"
)

// Model is a boosted model of trees with the objective binary:logistic. It is
// immutable; any number of goroutines may score with it at once.
type Model struct {
	features int
	names    []string
	base     float32 // the margin before the first tree
	trees    []tree
	forest   *forest    // nil: the trees are walked node by node
	pool     *sync.Pool // of the forest's *scratch
	slabs    *sync.Pool // of the forest's *slab
}

func newModel(features int, names []string, base float32, trees []tree) *Model {
	f := newForest(trees)
	return &Model{
		features: features,
		names:    names,
		base:     base,
		trees:    trees,
		forest:   f,
		pool:     &sync.Pool{New: func() any { return f.newScratch() }},
		slabs:    &sync.Pool{New: func() any { return f.newSlab() }},
	}
}

// Features returns how many features a row has.
func (m *Model) Features() int { return m.features }

// FeatureNames returns the features' names in the order of a row; nil if the
// model has none.
func (m *Model) FeatureNames() []string { return slices.Clone(m.names) }

// Trees returns the number of trees.
func (m *Model) Trees() int { return len(m.trees) }

// Score returns a row's probability. The row holds the features in the order of
// FeatureNames; NaN is a missing value, a categorical feature is its code. Score
// panics if the row's length is not Features.
func (m *Model) Score(row []float32) float32 {
	m.check(row, 1)
	var p [1]float32
	m.score(row, p[:])
	return p[0]
}

// ScoreBatch scores len(out) rows, concatenated in rows, and stores their
// probabilities in out. They equal Score's bit for bit. ScoreBatch panics if the
// lengths do not match.
func (m *Model) ScoreBatch(rows, out []float32) {
	m.check(rows, len(out))
	m.score(rows, out)
}

func (m *Model) score(rows, out []float32) {
	if m.forest == nil {
		for i := range out {
			out[i] = sigmoid(m.walk(rows[i*m.features : (i+1)*m.features]))
		}
		return
	}
	if m.forest.roots == nil && len(out) >= minSlabRows {
		x := m.slabs.Get().(*slab)
		for len(out) >= minSlabRows {
			n := min(slabRows, len(out))
			m.forest.margins(rows[:n*m.features], m.features, m.base, x)
			for i := range n {
				out[i] = sigmoid(x.sums[i])
			}
			rows, out = rows[n*m.features:], out[n:]
		}
		m.slabs.Put(x)
	}
	x := m.pool.Get().(*scratch)
	for i := range out {
		m.forest.answer(rows[i*m.features:(i+1)*m.features], x)
		out[i] = sigmoid(m.forest.margin(x, m.base))
	}
	m.pool.Put(x)
}

func (m *Model) check(rows []float32, n int) {
	if len(rows) != n*m.features {
		panic(fmt.Sprintf("tree: %d values for %d rows of %d features", len(rows), n, m.features))
	}
}

// sigmoid is XGBoost's (src/common/math.h), in its float32 steps.
func sigmoid(margin float32) float32 {
	e := float32(math.Exp(float64(min(-margin, 88.7))))
	return 1 / (e + 1)
}

// walk returns a row's margin by following each tree node by node. The forest must
// agree with it; models too large for a forest are scored by it.
func (m *Model) walk(row []float32) float32 {
	sum := m.base
	for i := range m.trees {
		nodes := m.trees[i].nodes
		n := &nodes[0]
		for n.left != 0 {
			if n.goesLeft(row[n.feature]) {
				n = &nodes[n.left]
			} else {
				n = &nodes[n.left+1]
			}
		}
		sum += n.value
	}
	return sum
}

// goesLeft decides a split as XGBoost does. A code that is negative, too large
// or unknown to a categorical split goes left, as one that is not in its set.
func (n *node) goesLeft(v float32) bool {
	switch {
	case v != v:
		return n.defaultLeft
	case !n.categorical:
		return v < n.value
	case v < 0 || v >= maxCategory:
		return true
	}
	_, found := slices.BinarySearch(n.categories, int32(v))
	return !found
}
