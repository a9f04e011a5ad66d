// Package tree scores rows with a boosted model of decision trees that XGBoost or
// LightGBM trained, in plain Go. It follows their CPU predictors step by step, in
// float32 where XGBoost does, so that the margins are the same to the bit.
package tree

import (
	"fmt"
	"slices"
	"sync"
)

// Model is a boosted model of trees. It has one output per row, or several: the
// classes of multi:softprob, the targets of a regression. It is immutable; any
// number of goroutines may score with it at once.
type Model struct {
	features   int
	names      []string
	categories [][]string
	classes    []string // see Classes
	link       link
	bases      []float32 // by output, the margin before the first tree
	trees      []tree
	forest     *forest    // nil: the trees are walked node by node
	pool       *sync.Pool // of the forest's *scratch
	slabs      *sync.Pool // of the forest's *slab

	// Of LightGBM's models, else nil.
	double  *doubles
	ranks   [][]float64 // by feature, the thresholds; see Rank
	missing []int8      // by feature, what its zeros are

	explainOnce sync.Once
	explain     *explainer
}

func newModel(features int, names []string, l link, bases []float32, trees []tree) *Model {
	f := newForest(trees, len(bases))
	return &Model{
		features: features,
		names:    names,
		link:     l,
		bases:    bases,
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

// Categories returns the texts of each feature's categories in the order of their
// codes, nil for a number. It is nil for a model that was trained on codes.
func (m *Model) Categories() [][]string { return m.categories }

// Classes returns the names of a classifier's classes in the order of their codes, two of
// a binary one; nil if the model doesn't say them.
func (m *Model) Classes() []string { return m.classes }

// SplitsByCategory reports whether a tree splits by a feature's codes.
func (m *Model) SplitsByCategory(feature int) bool {
	for i := range m.trees {
		for _, n := range m.trees[i].nodes {
			if n.left != 0 && n.categorical && int(n.feature) == feature {
				return true
			}
		}
	}
	return false
}

// Trees returns the number of trees.
func (m *Model) Trees() int { return len(m.trees) }

// Outputs returns how many numbers the model gives a row: 1, or one per class.
func (m *Model) Outputs() int { return len(m.bases) }

// Score returns the one output of a row: the probability of a binary model, the
// value of a regression. The row holds the features in the order of FeatureNames;
// NaN is a missing value, a categorical feature is its code. Score panics if the
// row's length is not Features, or if Outputs is not 1.
func (m *Model) Score(row []float32) float32 {
	m.check(row, 1)
	if len(m.bases) != 1 {
		panic(fmt.Sprintf("tree: one output wanted of a model with %d", len(m.bases)))
	}
	var p [1]float32
	m.score(row, p[:])
	return p[0]
}

// ScoreBatch scores rows, concatenated in rows, and stores their outputs in out,
// Outputs of them per row. They equal Score's bit for bit. ScoreBatch panics if the
// lengths do not match.
func (m *Model) ScoreBatch(rows, out []float32) {
	if len(m.bases) == 1 {
		m.check(rows, len(out))
		m.score(rows, out)
		return
	}
	if len(out)%len(m.bases) != 0 {
		panic(fmt.Sprintf("tree: room for %d numbers, %d per row", len(out), len(m.bases)))
	}
	m.check(rows, len(out)/len(m.bases))
	m.scoreOutputs(rows, out)
}

// score sets out to the rows' only outputs.
func (m *Model) score(rows, out []float32) {
	all := out
	switch {
	case m.double != nil:
		m.double.score(m, rows, out)
		return
	case m.forest == nil:
		for i := range out {
			out[i] = m.walk(rows[i*m.features:(i+1)*m.features], 0)
		}
	default:
		base, part := m.bases[0], &m.forest.parts[0]
		if part.roots == nil && len(out) >= minSlabRows {
			x := m.slabs.Get().(*slab)
			for len(out) >= minSlabRows {
				n := min(slabRows, len(out))
				m.forest.answerSlab(rows[:n*m.features], m.features, x)
				part.margins(base, x)
				copy(out[:n], x.sums[:])
				rows, out = rows[n*m.features:], out[n:]
			}
			m.slabs.Put(x)
		}
		x := m.pool.Get().(*scratch)
		for i := range out {
			m.forest.answer(rows[i*m.features:(i+1)*m.features], x)
			out[i] = part.margin(x, base)
		}
		m.pool.Put(x)
	}
	m.link.apply(all, 1)
}

// scoreOutputs does the same for several outputs per row. Each question is answered
// once for the trees of all outputs.
func (m *Model) scoreOutputs(rows, out []float32) {
	if m.double != nil {
		m.double.score(m, rows, out)
		return
	}
	all, outputs := out, len(m.bases)
	if m.forest == nil {
		for i := range out {
			out[i] = m.walk(rows[i/outputs*m.features:(i/outputs+1)*m.features], i%outputs)
		}
		m.link.apply(all, outputs)
		return
	}
	if m.forest.parts[0].roots == nil && len(out) >= minSlabRows*outputs {
		x := m.slabs.Get().(*slab)
		for len(out) >= minSlabRows*outputs {
			n := min(slabRows, len(out)/outputs)
			m.forest.answerSlab(rows[:n*m.features], m.features, x)
			for k := range m.forest.parts {
				m.forest.parts[k].margins(m.bases[k], x)
				for i := range n {
					out[i*outputs+k] = x.sums[i]
				}
			}
			rows, out = rows[n*m.features:], out[n*outputs:]
		}
		m.slabs.Put(x)
	}
	x := m.pool.Get().(*scratch)
	for ; len(out) > 0; rows, out = rows[m.features:], out[outputs:] {
		m.forest.answer(rows[:m.features], x)
		for k := range m.forest.parts {
			out[k] = m.forest.parts[k].margin(x, m.bases[k])
		}
	}
	m.pool.Put(x)
	m.link.apply(all, outputs)
}

func (m *Model) check(rows []float32, n int) {
	if len(rows) != n*m.features {
		panic(fmt.Sprintf("tree: %d values for %d rows of %d features", len(rows), n, m.features))
	}
}

// walk returns a row's margin of an output by following each of its trees node by
// node. The forest must agree with it; models too large for a forest are scored by
// it.
func (m *Model) walk(row []float32, output int) float32 {
	sum := m.bases[output]
	for i := range m.trees {
		if int(m.trees[i].output) != output {
			continue
		}
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
