package tree

import (
	"cmp"
	"math"
	"slices"
)

// Trees are explained eight at a time, one per lane of a vector, if they are of similar
// shapes. A group of trees has the splits that any of them has, so all lanes take the
// same steps. A tree that has a leaf there has the leaf's value on both sides of such a
// split, whatever its factors are: its features then contribute nothing.
//
// Splits come after those above them. Those with two leaves, tips, come last; a leaf
// beside a split becomes a tip. The side that a row takes is a mask, and so is whether it
// is on the path to a split as far as its feature goes. Everything is that of down and
// up, in float32.

const (
	lanes          = 8
	maxGroupSplits = 1 << 12 // the splits of a batch, times lanes, are numbered with 16 bits
	maxGroupDepth  = 31      // a split above is told by a bit of a word that has another use for the last one
	maxPadding     = 3       // times the trees' splits; with more, groups are no faster
	batchSplits    = 1 << 10 // what they contribute still fits into the first cache
)

type vector [lanes]float32

// group is up to eight trees of an output.
type group struct {
	trees     [lanes]*explained // nil where there is none
	questions [][lanes]uint16   // by split, those that are not tips first
	splits    []groupSplit
	tips      []groupTip
	factors   []vector // by point, what down takes, subtracted from one, and what up takes
}

// groupSplit is a split that is not a tip. Its size is that of a line of the cache.
type groupSplit struct {
	share  vector       // of the rows that go left
	shift  [lanes]uint8 // of the path's word, so that its first bit is that of the split above with the same feature
	child  [2]uint32    // their cells, in bytes
	factor uint32       // the place of its factors, in bytes
	bit    uint32       // of the path's word, for the splits below
	_      [2]uint32
}

// groupTip is a split with two leaves.
type groupTip struct {
	share vector
	diff  vector // of the left leaf from the right one
	mean  vector // of the leaves over the training rows
	shift [lanes]uint8

	factor uint32
	_      [5]uint32
}

// batch is groups of an output whose splits' contributions are summed up together, by
// feature.
type batch struct {
	output int32
	groups []group
	sums   []featureSum
	order  [][4]uint16 // for each of sums, the places of what its splits contribute; the first is always 0
}

type featureSum struct {
	feature int32
	places  int32 // elements of order
}

// grouping is what explaining a row by groups needs. The cell of a split holds the word
// of the path to it, which has the bit of a split above if the row goes along there,
// and by point the product along the path, the share of it that goes left, and
// the sum over the leaves below.
type grouping struct {
	right  [][lanes]uint8 // by split, 1 if the row goes right
	cells  []vector
	sums   *[1 << 16]float32 // by split of a batch, what its feature contributes, behind a zero vector
	points int
}

const (
	cellHead  = 1 // vectors of a cell before its points
	cellPoint = 3 // vectors of a cell per point
)

// groupPass holds what a pass over a group reads and writes, for group_amd64.s.
type groupPass struct {
	right   *[lanes]uint8
	splits  *groupSplit
	tips    *groupTip
	factors *vector
	cells   *vector
	sums    *float32
	inner   int // number of splits
	outer   int // number of tips
	points  int // at least 3
}

// newBatches lays out trees, or returns nil if they would need too much padding.
func newBatches(e *explainer, features, outputs int) []batch {
	var batches []batch
	splits, padded := 0, 0
	for output := range outputs {
		var of []*explained
		for i := range e.trees {
			if t := &e.trees[i]; int(t.output) == output && len(t.splits) > 0 {
				of = append(of, t)
				splits += len(t.splits)
			}
		}
		slices.SortStableFunc(of, func(a, b *explained) int { return cmp.Compare(len(a.splits), len(b.splits)) })
		next := newBatchBuilder(output, features)
		for some := range slices.Chunk(of, lanes) {
			b := &groupBuilder{e: e}
			if !b.build(some) {
				return nil
			}
			n := len(b.g.questions)
			padded += lanes * n
			if next.splits > 0 && next.splits+n > batchSplits {
				batches = append(batches, next.build())
				next = newBatchBuilder(output, features)
			}
			next.add(b)
		}
		if next.splits > 0 {
			batches = append(batches, next.build())
		}
	}
	if padded > maxPadding*splits {
		return nil
	}
	return batches
}

// batchBuilder collects groups.
type batchBuilder struct {
	b      batch
	splits int
	places [][]uint16 // by feature
}

func newBatchBuilder(output, features int) *batchBuilder {
	return &batchBuilder{b: batch{output: int32(output)}, places: make([][]uint16, features)}
}

func (b *batchBuilder) add(g *groupBuilder) {
	for i, features := range g.features {
		for l, f := range features {
			if f >= 0 {
				b.places[f] = append(b.places[f], uint16((1+b.splits+i)*lanes+l))
			}
		}
	}
	b.splits += len(g.features)
	b.b.groups = append(b.b.groups, g.g)
}

func (b *batchBuilder) build() batch {
	for f, places := range b.places {
		if len(places) == 0 {
			continue
		}
		from := len(b.b.order)
		for four := range slices.Chunk(places, 4) {
			var to [4]uint16
			copy(to[:], four)
			b.b.order = append(b.b.order, to)
		}
		b.b.sums = append(b.b.sums, featureSum{int32(f), int32(len(b.b.order) - from)})
	}
	return b.b
}

// groupBuilder lays out a group.
type groupBuilder struct {
	e        *explainer
	g        group
	features [][lanes]int32 // by split; -1: a leaf
	asked    [lanes]int32   // where trees without slots have their answers
	nodes    []joined
}

// joined is a split of a group: by lane a split of the tree, or a leaf.
type joined struct {
	lane  [lanes]joint
	child [2]int // nodes; 0: leaves
	depth int
}

type joint struct {
	split int32 // -1: a leaf
	value float32
}

func (b *groupBuilder) build(trees []*explained) bool {
	var root [lanes]joint
	asked := int32(0)
	for l := range root {
		root[l].split = -1
		if l < len(trees) {
			b.g.trees[l], root[l].split = trees[l], 0
			if !b.e.slots {
				b.asked[l] = asked
				asked += int32(len(trees[l].nodes))
			}
		}
	}
	if asked > maxSlots || !b.join(root, 0) {
		return false
	}
	// Tips come last. Before them the splits come by depth, so that few wait for the one before.
	order := make([]int, len(b.nodes))
	for i := range order {
		order[i] = i
	}
	tip := func(i int) bool { return b.nodes[i].child[0] == 0 }
	slices.SortStableFunc(order, func(i, j int) int {
		return cmp.Or(cmp.Compare(bit(tip(i)), bit(tip(j))), cmp.Compare(b.nodes[i].depth, b.nodes[j].depth))
	})
	place := make([]int, len(order))
	for p, i := range order {
		place[i] = p
	}
	for _, c := range b.e.absent { // of splits whose features don't occur above
		b.g.factors = append(b.g.factors, same(float32(1-c)), same(1))
	}
	cell := uint32(cellHead+cellPoint*len(b.e.weight)) * lanes * 4
	var depths [lanes][]uint8 // by lane and split
	for l, t := range trees {
		depths[l] = make([]uint8, len(t.splits))
	}
	for _, i := range order {
		j := &b.nodes[i]
		var questions [lanes]uint16
		features, share, shift, own := [lanes]int32{}, same(0.5), [lanes]uint8{}, false
		for l, o := range j.lane {
			if features[l] = -1; o.split < 0 {
				continue
			}
			s := &trees[l].splits[o.split]
			depths[l][o.split] = uint8(j.depth)
			features[l], share[l], questions[l] = s.feature, s.share[0], uint16(b.asked[l]+s.question)
			if s.above > 0 {
				own, shift[l] = true, maxGroupDepth-depths[l][(s.above-1)/2]
			}
		}
		b.g.questions, b.features = append(b.g.questions, questions), append(b.features, features)
		factor := uint32(0)
		if own {
			factor = uint32(len(b.g.factors) * lanes * 4)
			b.g.factors = append(b.g.factors, b.factors(j, trees)...)
		}
		if tip(i) {
			t := groupTip{share: share, shift: shift, factor: factor}
			t.diff, t.mean = b.leaves(j, &share)
			b.g.tips = append(b.g.tips, t)
			continue
		}
		b.g.splits = append(b.g.splits, groupSplit{share: share, shift: shift, factor: factor, bit: 1 << j.depth,
			child: [2]uint32{uint32(place[j.child[0]]) * cell, uint32(place[j.child[1]]) * cell}})
	}
	return true
}

// join adds the split of some splits and leaves, and all below. It fails if they are
// too many, or too deep.
func (b *groupBuilder) join(of [lanes]joint, depth int) bool {
	at := len(b.nodes)
	if at >= maxGroupSplits || depth >= maxGroupDepth {
		return false
	}
	b.nodes = append(b.nodes, joined{lane: of, depth: depth})
	var below [2][lanes]joint
	splits := false
	for l, o := range of {
		for side := range below {
			below[side][l] = joint{split: -1, value: o.value}
			if o.split < 0 {
				continue
			}
			s := &b.g.trees[l].splits[o.split]
			below[side][l].value = s.value[side]
			if c := s.child[side]; int(c) < len(b.g.trees[l].splits) {
				below[side][l].split, splits = c, true
			}
		}
	}
	if !splits {
		return true
	}
	for side := range below {
		b.nodes[at].child[side] = len(b.nodes)
		if !b.join(below[side], depth+1) {
			return false
		}
	}
	return true
}

// leaves are the difference of a tip's two leaves, and their mean.
func (b *groupBuilder) leaves(j *joined, share *vector) (diff, mean vector) {
	for l, o := range j.lane {
		if mean[l] = o.value; o.split >= 0 {
			v := &b.g.trees[l].splits[o.split].value
			diff[l] = v[0] - v[1]
			mean[l] = float32(float64(v[1]) + (float64(v[0])-float64(v[1]))*float64(share[l]))
		}
	}
	return diff, mean
}

// factors are those of a split.
func (b *groupBuilder) factors(j *joined, trees []*explained) []vector {
	n := len(b.e.weight)
	factors := make([]vector, 2*n)
	for l, o := range j.lane {
		if o.split < 0 {
			continue
		}
		t := trees[l]
		row := t.rows[int(t.splits[o.split].row)*2*n:]
		for q := range n {
			factors[2*q][l], factors[2*q+1][l] = float32(1-row[q]), float32(row[n+q])
		}
	}
	return factors
}

func same(v float32) (to vector) {
	for l := range to {
		to[l] = v
	}
	return to
}

func newGrouping(batches []batch, weight []float64) *grouping {
	most := 0
	for i := range batches {
		for j := range batches[i].groups {
			most = max(most, len(batches[i].groups[j].questions))
		}
	}
	x := &grouping{
		points: len(weight),
		right:  make([][lanes]uint8, most),
		cells:  make([]vector, most*(cellHead+cellPoint*len(weight))),
		sums:   new([1 << 16]float32),
	}
	// The path to the first split: no split is above, and the points have their weights.
	x.cells[0] = same(float32(math.Copysign(0, -1)))
	for q, w := range weight {
		x.cells[cellHead+cellPoint*q] = same(float32(w))
	}
	return x
}

// contribute adds the contributions of a batch's trees.
func (b *batch) contribute(e *explainer, row []float32, x *explaining, out []float64) {
	at := lanes
	for i := range b.groups {
		g := &b.groups[i]
		if !e.slots {
			g.answer(row, x.answers)
		}
		g.contribute((*[maxSlots]byte)(x.answers), x.grouping, &x.grouping.sums[at])
		at += lanes * len(g.questions)
	}
	sums, order := x.grouping.sums, b.order
	for _, f := range b.sums {
		var s0, s1, s2, s3 float32
		of := order[:f.places]
		order = order[f.places:]
		for i := range of {
			at := &of[i]
			s0 += sums[at[0]]
			s1 += sums[at[1]]
			s2 += sums[at[2]]
			s3 += sums[at[3]]
		}
		out[f.feature] += float64(s0) + float64(s1) + float64(s2) + float64(s3)
	}
}

// answer notes which side a row takes at each node, for trees without slots.
func (g *group) answer(row []float32, answers []byte) {
	for _, t := range g.trees {
		if t != nil {
			t.answer(row, answers)
			answers = answers[len(t.nodes):]
		}
	}
}

// contribute sets sums to what the splits' features contribute.
func (g *group) contribute(answers *[maxSlots]byte, x *grouping, sums *float32) {
	right := x.right[:len(g.questions)]
	for i := range right {
		q, to := &g.questions[i], &right[i]
		to[0], to[1], to[2], to[3] = answers[q[0]], answers[q[1]], answers[q[2]], answers[q[3]]
		to[4], to[5], to[6], to[7] = answers[q[4]], answers[q[5]], answers[q[6]], answers[q[7]]
	}
	p := groupPass{
		right: &x.right[0], tips: &g.tips[0], factors: &g.factors[0], cells: &x.cells[0], sums: sums,
		inner: len(g.splits), outer: len(g.tips), points: x.points,
	}
	if len(g.splits) > 0 {
		p.splits = &g.splits[0]
	}
	passAVX2(&p)
}
