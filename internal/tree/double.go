package tree

import (
	"fmt"
	"math"
	"slices"
	"sync"
)

// doubles scores a model of LightGBM, which sums its leaves in float64. Its trees grow
// leaf by leaf and are deep and uneven, so that padding them to one depth, as a forest
// does, would waste most of it: eight trees of about the same depth are walked side by
// side, and one that has arrived stays at its leaf.
type doubles struct {
	parts   []doublePart
	steps   []doubleStep
	leaves  []float64 // by step
	average float64   // the iterations whose mean is predicted; 1: their sum is
	sigmoid float64
	pool    sync.Pool // of *doubling
}

// doublePart holds the trees of one output.
type doublePart struct {
	walks []walk
	trees int
}

// walkTrees are walked side by side: a step waits for three loads, one after another.
const walkTrees = 8

// walk is that many trees.
type walk struct {
	roots [walkTrees]int32
	place [walkTrees]int32 // among the trees of the output
	depth int
}

// doubleStep is a node. A leaf's left is itself, and its slot always answers left.
type doubleStep struct {
	left int32
	slot uint16
}

func (s doubleStep) next(answers *[maxSlots]byte) int32 { return s.left + int32(answers[s.slot]) }

// doubling is what scoring a row needs.
type doubling struct {
	answers *scratch
	found   []float64 // the leaves of the output's trees, in their order
	sums    []float64 // by output
}

// Values of Model.missing.
const (
	zeroNumber   = 0 // 0 is a number like others
	zeroMissing  = 1 // 0 is missing
	codedFeature = 2 // values are codes of categories
)

// Rank returns what stands for a number in a row: the number itself to a model of
// XGBoost, which compares float32 values. LightGBM compares float64 values: to its
// models it is the count of the feature's thresholds below x, NaN if x is missing.
func (m *Model) Rank(feature int, x float64) float32 {
	if m.double == nil {
		return float32(x)
	}
	if math.Abs(x) <= nearZero {
		x = 0
	}
	switch {
	case m.missing[feature] == codedFeature:
		if code := math.Trunc(x); code >= 0 && code < maxCategory {
			return float32(code)
		} else if x == x {
			return -1 // in no set
		}
		return float32(x)
	case x != x || x == 0 && m.missing[feature] == zeroMissing:
		return float32(math.NaN())
	}
	return float32(countBelow(m.ranks[feature], x))
}

// countBelow counts the thresholds below x by bisection, without a branch.
func countBelow(thresholds []float64, x float64) int {
	count := 0
	for n := len(thresholds); n > 0; {
		half := (n + 1) >> 1
		more := 0
		if thresholds[count+half-1] < x {
			more = half
		}
		count += more
		n -= half
	}
	return count
}

// Ranked reports whether a row holds ranks instead of numbers; see Rank.
func (m *Model) Ranked() bool { return m.double != nil }

// layOut makes the model's forest and d of its trees.
func (d *doubles) layOut(m *Model) {
	m.double = d
	f := &forest{parts: make([]part, len(m.bases)), whole: maxRanks}
	slots, ok := f.assignSlots(m.trees)
	still := uint16(f.slots) // a slot that nothing sets
	if ok && f.slots < maxSlots {
		m.forest = f
		m.pool = &sync.Pool{New: func() any { return f.newScratch() }}
	}
	d.steps, d.leaves = []doubleStep{{0, still}}, []float64{0} // an empty tree
	most := 0
	for k := range m.bases {
		var p doublePart
		var roots []int32
		var depths []int
		for i := range m.trees {
			t := &m.trees[i]
			if int(t.output) != k {
				continue
			}
			root := int32(len(d.steps))
			roots, depths = append(roots, root), append(depths, t.depth)
			for j := range t.nodes {
				n := &t.nodes[j]
				if n.left == 0 {
					d.steps = append(d.steps, doubleStep{root + int32(j), still})
				} else {
					d.steps = append(d.steps, doubleStep{root + n.left, slots[ask(n)]})
				}
				d.leaves = append(d.leaves, n.leaf)
			}
		}
		p.trees = len(roots)
		most = max(most, p.trees)
		order := make([]int32, p.trees)
		for i := range order {
			order[i] = int32(i)
		}
		slices.SortStableFunc(order, func(a, b int32) int { return depths[b] - depths[a] })
		for len(order) > 0 {
			n := min(walkTrees, len(order))
			w := walk{depth: depths[order[0]]}
			for i := range w.place {
				w.place[i] = int32(p.trees)
			}
			for i, place := range order[:n] {
				w.roots[i], w.place[i] = roots[place], place
			}
			p.walks, order = append(p.walks, w), order[n:]
		}
		d.parts = append(d.parts, p)
	}
	d.pool.New = func() any {
		x := &doubling{found: make([]float64, most+1), sums: make([]float64, len(m.bases))}
		if m.forest != nil {
			x.answers = m.forest.newScratch()
		}
		return x
	}
}

// Margins sets out to what a model of LightGBM gives a row before its objective's
// transformation, one number per output: the sums of its leaves, to the bit, or their
// mean where it averages. It panics if lengths do not match or the model is not Ranked.
func (m *Model) Margins(row []float32, out []float64) {
	m.check(row, 1)
	if m.double == nil || len(out) != len(m.bases) {
		panic(fmt.Sprintf("tree: room for %d margins of %d", len(out), len(m.bases)))
	}
	x := m.double.pool.Get().(*doubling)
	m.double.margins(m, row, x)
	copy(out, x.sums)
	m.double.pool.Put(x)
}

func (d *doubles) margins(m *Model, row []float32, x *doubling) {
	if m.forest == nil {
		clear(x.sums)
		for i := range m.trees {
			t := &m.trees[i]
			n := &t.nodes[0]
			for n.left != 0 {
				n = &t.nodes[n.left+int32(bit(!n.goesLeft(row[n.feature])))]
			}
			x.sums[t.output] += n.leaf
		}
	} else {
		m.forest.answer(row, x.answers)
		for k := range d.parts {
			x.sums[k] = d.sum(&d.parts[k], x)
		}
	}
	if d.average != 1 {
		for k := range x.sums {
			x.sums[k] /= d.average
		}
	}
}

// sum adds the leaves of an output's trees.
func (d *doubles) sum(p *doublePart, x *doubling) float64 {
	a, steps, leaves, found := &x.answers.answers, d.steps, d.leaves, x.found
	for i := range p.walks {
		w := &p.walks[i]
		p0, p1, p2, p3 := w.roots[0], w.roots[1], w.roots[2], w.roots[3]
		p4, p5, p6, p7 := w.roots[4], w.roots[5], w.roots[6], w.roots[7]
		for range w.depth {
			p0, p1, p2, p3 = steps[p0].next(a), steps[p1].next(a), steps[p2].next(a), steps[p3].next(a)
			p4, p5, p6, p7 = steps[p4].next(a), steps[p5].next(a), steps[p6].next(a), steps[p7].next(a)
		}
		for j, p := range [walkTrees]int32{p0, p1, p2, p3, p4, p5, p6, p7} {
			found[w.place[j]] = leaves[p]
		}
	}
	sum := 0.0
	for _, v := range found[:p.trees] {
		sum += v
	}
	return sum
}

// score sets out to the rows' outputs.
func (d *doubles) score(m *Model, rows, out []float32) {
	x := d.pool.Get().(*doubling)
	for n := len(m.bases); len(out) > 0; rows, out = rows[m.features:], out[n:] {
		d.margins(m, rows[:m.features], x)
		d.apply(m.link, x.sums)
		for k, v := range x.sums {
			out[k] = float32(v)
		}
	}
	d.pool.Put(x)
}

// apply turns margins into predictions in place, as LightGBM's ConvertOutput does
// (src/objective).
func (d *doubles) apply(l link, margins []float64) {
	switch l {
	case logistic, oneVersusRest:
		for i, m := range margins {
			margins[i] = 1 / (1 + math.Exp(-d.sigmoid*m))
		}
	case exponential:
		for i, m := range margins {
			margins[i] = math.Exp(m)
		}
	case squareRoot:
		for i, m := range margins {
			margins[i] = math.Copysign(m*m, m)
		}
	case softmax:
		most, sum := slices.Max(margins), 0.0
		for i, m := range margins {
			margins[i] = math.Exp(m - most)
			sum += margins[i]
		}
		for i := range margins {
			margins[i] /= sum
		}
	}
}
