package tree

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
)

// Contributions of features to a margin are Shapley values as path-dependent TreeSHAP
// defines them (Lundberg and others, 2020, https://doi.org/10.1038/s42256-019-0138-9):
// a feature that is not known goes down both sides of a split, in proportion to the
// training rows there. XGBoost's pred_contribs gives the same numbers.
//
// A leaf of value v, below splits on d features, gives the i-th of them
//
//	v (o_i - z_i) ∫ Π_{j≠i} (t o_j + (1-t) z_j) dt   over t from 0 to 1
//
// where o is 1 if the row goes the way to the leaf at all splits on the feature, else
// 0, and z is the share of the rows that do. The integrand is a polynomial in t of
// degree d-1, so Gauss-Legendre quadrature with d/2 points is exact, and the
// products along paths are shared by all leaves: what is left is a few
// multiplications per split and point, where TreeSHAP takes d² per leaf.

// errNoCovers is why a model can't explain its margins.
var errNoCovers = errors.New("the model does not say how many training rows reached its nodes")

// maxCoefficients bounds the numbers that explaining takes, points times splits: 128 MiB. A
// model of 1,000 trees with 255 leaves, 40 features on a path, has a third of that.
const maxCoefficients = 1 << 24

var errTooLarge = errors.New("its trees are too large to be explained")

// explainer is what Contributions needs of a model's trees besides their answers.
type explainer struct {
	err      error
	weight   []float64 // by point
	absent   []float64 // 1-t, by point
	trees    []explained
	batches  []batch   // the trees again, if the processor has vectors and they fit
	folded   *folded   // else, if they fit
	slots    bool      // splits have slots in the model's forest
	expected []float64 // by output: the margin over the training rows
	splits   int       // the most of a tree
	nodes    int       // the most of a tree
	pool     sync.Pool // of *explaining
}

// explained is one tree.
type explained struct {
	output int32
	splits []split
	rows   []float64 // coefficients, 2 per point and row; see down
	nodes  []node
}

// split is a split of a tree. Splits come after those above them.
type split struct {
	feature  int32
	question int32      // its slot, or its node where there are no slots
	child    [2]int32   // splits; that of a leaf is one that does not exist
	value    [2]float32 // of the leaves, 0 of splits
	share    [2]float32 // of the rows that go left and right
	above    int32      // the side of a split above, as 1+2*split+side, that has the feature last; 0 if none
	row      int32      // of its coefficients; the next one is for rows that left the path to it
}

// explaining is what explaining a row needs.
type explaining struct {
	scratch *scratch
	answers []byte    // by question
	sides   []uint8   // by split: the side that the row takes
	follows []uint8   // by side of a split: 1 if the row goes there, and did so at the feature's splits above
	path    []float64 // by split and point: the product along the path to it, times the weight
	below   []float64 // by split and point: the sum over the leaves below of value times product

	// Instead of the four before, where trees are grouped or folded.
	grouping *grouping
	folding  *folding
}

// Explainable returns nil if the model has what Contributions needs.
func (m *Model) Explainable() error { return m.explainer().err }

// Contributions sets out to what each feature adds to an output's margin for a row, and
// its last element to the margin over the training rows, so that they sum to the row's
// margin. It panics if the row's length is not Features or that of out is not one more,
// or if the model is not Explainable.
func (m *Model) Contributions(row []float32, output int, out []float64) {
	m.check(row, 1)
	e := m.explainer()
	if len(out) != m.features+1 || e.err != nil {
		panic(fmt.Sprintf("tree: room for %d contributions of %d features: %v", len(out), m.features, e.err))
	}
	x := e.pool.Get().(*explaining)
	if e.slots {
		m.forest.answer(row, x.scratch)
	}
	clear(out)
	if e.batches != nil {
		for i := range e.batches {
			if b := &e.batches[i]; int(b.output) == output {
				b.contribute(e, row, x, out)
			}
		}
	} else {
		e.contributeTrees(row, output, x, out)
	}
	e.pool.Put(x)
	out[m.features] = e.expected[output]
}

// contributeTrees adds the contributions of an output's trees, one by one.
func (e *explainer) contributeTrees(row []float32, output int, x *explaining, out []float64) {
	for i := range e.trees {
		t := &e.trees[i]
		if int(t.output) != output {
			continue
		}
		if !e.slots {
			t.answer(row, x.answers)
		}
		switch {
		case len(t.nodes) == 1:
		case e.folded != nil:
			e.folded.contribute(i, (*[maxSlots]byte)(x.answers), x.folding, out)
		default:
			e.down(t, x)
			e.up(t, x, out)
		}
	}
}

// answer notes which side a row takes at each node, for trees without slots.
func (t *explained) answer(row []float32, answers []byte) {
	for i := range t.nodes {
		if n := &t.nodes[i]; n.left != 0 {
			answers[i] = bit(!n.goesLeft(row[n.feature]))
		}
	}
}

// follow notes which side of the i-th split the row takes. It returns the side and the
// row of coefficients. All of it is without branches, which would be mispredicted half
// of the time.
func (x *explaining) follow(i int, s *split, side uint8) (uint8, int32) {
	side &= 1
	along := x.follows[s.above] & 1
	x.sides[i] = side
	x.follows[1+2*i+int(side)] = along
	x.follows[1+2*i+int(side^1)] = 0
	return side, s.row + int32(1-along)
}

// down computes the products along the paths.
//
// Where a split's feature has not occurred above, the side that the row takes has the
// factor 1-(1-t)u, the other (1-t)u, where u is the other's share of the rows. Where it
// has, the factor that it had before is replaced. That one is f = 1-(1-t)(1-z) if the
// row went along so far, so that u becomes uz/f; else the sides only share their rows.
// So a row of coefficients holds 1-t, (1-t)z/f or 1.
func (e *explainer) down(t *explained, x *explaining) {
	n := len(e.weight)
	path := x.path
	copy(path, e.weight)
	for i := range t.splits {
		s := &t.splits[i]
		side, at := x.follow(i, s, x.answers[s.question])
		k := t.rows[int(at)*2*n:][:n]
		u := float64(s.share[side^1])
		with, without := path[int(s.child[side])*n:][:n], path[int(s.child[side^1])*n:][:n]
		for q, p := range path[i*n:][:n] {
			o := p * k[q] * u
			with[q], without[q] = p-o, o
		}
	}
}

// up sums the leaves below each split, and adds what the splits contribute: their path
// times the difference that their answer makes, times the second half of the row of
// coefficients, which holds 1, z/f² or 0.
func (e *explainer) up(t *explained, x *explaining, out []float64) {
	n := len(e.weight)
	path, below := x.path, x.below
	clear(below[len(t.splits)*n:][:n])
	for i := len(t.splits) - 1; i >= 0; i-- {
		s := &t.splits[i]
		side := x.sides[i] & 1
		k := t.rows[int(s.row+int32(1-x.follows[s.above]&1))*2*n:][:2*n]
		l, r := below[int(s.child[side])*n:][:n], below[int(s.child[side^1])*n:][:n]
		lv, rv, u, sum := float64(s.value[side]), float64(s.value[side^1]), float64(s.share[side^1]), 0.0
		to, p := below[i*n:][:n], path[i*n:][:n]
		for q := range to {
			v := l[q] + lv
			d := u * (v - r[q] - rv)
			sum += p[q] * d * k[n+q]
			to[q] = v - k[q]*d
		}
		out[s.feature] += sum
	}
}

// explainer prepares the model's trees, once.
func (m *Model) explainer() *explainer {
	m.explainOnce.Do(func() { m.explain = m.newExplainer(vectors) })
	return m.explain
}

func (m *Model) newExplainer(vectors bool) *explainer {
	e := &explainer{slots: m.forest != nil, expected: make([]float64, len(m.bases))}
	for k, base := range m.bases {
		e.expected[k] = float64(base)
	}
	var slots map[question]uint16
	if e.slots {
		slots, _ = new(forest).assignSlots(m.trees)
	}
	features := 0
	for i := range m.trees {
		t, most, err := newExplained(m.trees[i], slots)
		if err != nil {
			e.err = fmt.Errorf("tree %d: %w", i, err)
			return e
		}
		e.trees = append(e.trees, t)
		e.expected[t.output] += t.expected()
		e.splits, e.nodes, features = max(e.splits, len(t.splits)), max(e.nodes, len(t.nodes)), max(features, most)
	}
	splits := 0
	for i := range e.trees {
		splits += len(e.trees[i].splits)
	}
	n := max(3, (features+1)/2)
	if n > maxCoefficients/max(1, splits) {
		e.err = errTooLarge
		return e
	}
	points, weights := legendre(n)
	e.weight = weights
	for _, t := range points {
		e.absent = append(e.absent, 1-t)
	}
	for i := range e.trees {
		e.trees[i].coefficients(e.absent)
	}
	if vectors {
		e.batches = newBatches(e, m.features, len(m.bases))
	}
	if e.batches == nil {
		e.folded = newFolded(m, e)
	}
	if e.batches != nil || e.folded != nil {
		for i := range e.trees {
			e.trees[i].splits, e.trees[i].rows = nil, nil
		}
	}
	e.pool.New = func() any {
		x := &explaining{}
		if e.slots {
			x.scratch = m.forest.newScratch()
			x.answers = x.scratch.answers[:]
		} else {
			x.answers = make([]byte, max(maxSlots, e.nodes))
		}
		if e.batches != nil {
			x.grouping = newGrouping(e.batches, e.weight)
			return x
		}
		if e.folded != nil {
			x.folding = newFolding(e.weight)
			return x
		}
		x.sides, x.follows = make([]uint8, e.splits), make([]uint8, 1+2*e.splits)
		x.follows[0] = 1
		n := len(weights) * (e.splits + 1)
		x.path, x.below = make([]float64, n), make([]float64, n)
		return x
	}
	return e
}

// newExplained lists a tree's splits, and returns the most features of a path.
func newExplained(from tree, slots map[question]uint16) (t explained, features int, err error) {
	nodes := from.nodes
	t = explained{output: from.output, nodes: nodes}
	at := make([]int32, len(nodes)) // the place of a node's split
	var of []int32                  // the node of a split
	for i := range nodes {
		if n := &nodes[i]; n.left != 0 {
			at[i] = int32(len(t.splits))
			of = append(of, int32(i))
			question := int32(i)
			if slots != nil {
				question = int32(slots[ask(n)])
			}
			t.splits = append(t.splits, split{feature: n.feature, question: question})
		}
	}
	type edge struct{ split, side int32 } // to a node
	up := make([]edge, len(nodes))
	up[0] = edge{-1, 0}
	count := make([]int, len(nodes)) // the features of the path to a node
	for i := range nodes {
		n := &nodes[i]
		if n.left == 0 {
			features = max(features, count[i])
			continue
		}
		s := &t.splits[at[i]]
		for e := up[i]; e.split >= 0; e = up[of[e.split]] {
			if t.splits[e.split].feature == n.feature {
				s.above = 1 + 2*e.split + e.side
				break
			}
		}
		l, r := float64(nodes[n.left].cover), float64(nodes[n.left+1].cover)
		switch {
		case !(l >= 0 && r >= 0) || math.IsInf(l+r, 0):
			return t, 0, errNoCovers
		case l+r == 0: // no row had any weight
			s.share[0] = 0.5
		default:
			s.share[0] = float32(l / (l + r))
		}
		s.share[1] = 1 - s.share[0]
		for side := range int32(2) {
			child := n.left + side
			up[child] = edge{at[i], side}
			count[child] = count[i]
			if s.above == 0 {
				count[child]++
			}
			if s.child[side] = at[child]; nodes[child].left == 0 {
				s.child[side], s.value[side] = int32(len(t.splits)), nodes[child].value
			}
		}
	}
	return t, features, nil
}

// coefficients fills in rows: by point what down takes, then what up takes; first for
// splits whose feature does not occur above, then two rows for each other one.
func (t *explained) coefficients(absent []float64) {
	t.rows = append(t.rows, absent...)
	t.rows = append(t.rows, slices.Repeat([]float64{1}, len(absent))...)
	share := make([]float64, 1+2*len(t.splits)) // z by side of a split
	for i := range t.splits {
		s := &t.splits[i]
		z := 1.0
		if s.above > 0 {
			z = share[s.above]
			s.row = int32(len(t.rows) / (2 * len(absent)))
			for _, c := range absent {
				t.rows = append(t.rows, c*z/(1-c*(1-z)))
			}
			for _, c := range absent {
				f := 1 - c*(1-z)
				t.rows = append(t.rows, z/(f*f))
			}
			t.rows = append(t.rows, slices.Repeat([]float64{1}, len(absent))...)
			t.rows = append(t.rows, make([]float64, len(absent))...)
		}
		share[1+2*i], share[2+2*i] = z*float64(s.share[0]), z*float64(s.share[1])
	}
}

// expected is the mean of the leaves over the training rows.
func (t *explained) expected() float64 {
	if len(t.splits) == 0 {
		return float64(t.nodes[0].value)
	}
	mean := make([]float64, len(t.splits)+1)
	for i := len(t.splits) - 1; i >= 0; i-- {
		s := &t.splits[i]
		l, r := mean[s.child[0]]+float64(s.value[0]), mean[s.child[1]]+float64(s.value[1])
		mean[i] = r + float64(s.share[0])*(l-r)
	}
	return mean[0]
}

// legendre returns the points and weights of Gauss-Legendre quadrature over [0, 1], by
// Newton's method on the Legendre polynomial.
func legendre(n int) (points, weights []float64) {
	for i := range n {
		x := math.Cos(math.Pi * (float64(i) + 0.75) / (float64(n) + 0.5))
		slope := 0.0
		for range 100 {
			p, before := 1.0, 0.0
			for k := range n {
				p, before = (float64(2*k+1)*x*p-float64(k)*before)/float64(k+1), p
			}
			slope = float64(n) * (x*p - before) / (x*x - 1)
			step := p / slope
			if x -= step; math.Abs(step) < 1e-15 {
				break
			}
		}
		points = append(points, (1+x)/2)
		weights = append(weights, 1/((1-x*x)*slope*slope))
	}
	return points, weights
}
