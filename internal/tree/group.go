package tree

import (
	"cmp"
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
	maxGroupSplits = 1 << 12 // a split's lane is numbered with 16 bits
	maxPadding     = 3       // times the trees' splits; with more, groups are no faster
)

type vector [lanes]float32

// group is up to eight trees of an output.
type group struct {
	trees     [lanes]*explained // nil where there is none
	output    int32
	inner     int // splits that are not tips
	questions [][lanes]uint16
	features  [][lanes]uint16
	share     []vector    // of the rows that go left
	children  [][2]uint32 // by split that is not a tip: their places in path and below, in bytes
	values    [][2]vector // by tip
	factor    []uint32    // by split, the place of its factors, in bytes
	factors   []vector    // by point what down takes, subtracted from one; then what up takes
	repeats   []repeat
}

// repeat is a lane of a split whose feature occurs above.
type repeat struct {
	at, above uint16
	left      uint8 // 1 if the path goes left at the split above
}

// grouping is what explaining a row by groups needs.
type grouping struct {
	sides             []sides
	path, below, left []vector // by split and point; left is the share of the path that goes left
	sum               []vector // by split, what its feature contributes
	points            int
}

// sides says by lane what a row does at a split.
type sides struct {
	right [lanes]uint8 // 1 if it goes right
	along [lanes]uint8 // 1 if it is on the path
}

// groupPass holds what a pass over a group reads and writes. Its layout is that of
// group_amd64.s.
type groupPass struct {
	sides             *sides
	share             *vector
	factor            *uint32
	factors           *vector
	children          *[2]uint32
	values            *[2]vector
	path, below, left *vector
	sum               *vector
	inner, tips       int
	points            int // bytes of a split's vectors in path
}

// newGroups lays out trees, or returns nil if they would need too much padding.
func newGroups(e *explainer, features, outputs int) []group {
	if features >= 1<<16 {
		return nil
	}
	var groups []group
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
		for some := range slices.Chunk(of, lanes) {
			b := &groupBuilder{e: e, g: group{output: int32(output)}, features: features}
			if !b.build(some) {
				return nil
			}
			padded += lanes * len(b.g.share)
			groups = append(groups, b.g)
		}
	}
	if padded > maxPadding*splits {
		return nil
	}
	return groups
}

// groupBuilder lays out a group.
type groupBuilder struct {
	e        *explainer
	g        group
	features int
	asked    [lanes]int32 // where trees without slots have their answers
	nodes    []joined
}

// joined is a split of a group: by lane a split of the tree, or a leaf.
type joined struct {
	lane  [lanes]joint
	child [2]int // nodes; 0: leaves
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
	if asked > maxSlots || !b.join(root) {
		return false
	}
	place := make([]int, len(b.nodes)) // inner ones, then tips
	for tips := range 2 {
		for i := range b.nodes {
			if n := &b.nodes[i]; (n.child[0] == 0) == (tips == 1) {
				place[i] = len(b.g.share)
				b.g.share = append(b.g.share, vector{})
			}
		}
		if tips == 0 {
			b.g.inner = len(b.g.share)
		}
	}
	n := len(b.e.weight)
	b.g.questions, b.g.features = make([][lanes]uint16, len(place)), make([][lanes]uint16, len(place))
	b.g.factor = make([]uint32, len(place))
	b.g.children, b.g.values = make([][2]uint32, b.g.inner), make([][2]vector, len(place)-b.g.inner)
	for _, c := range b.e.absent { // of splits whose features don't occur above
		b.g.factors = append(b.g.factors, same(float32(1-c)))
	}
	b.g.factors = append(b.g.factors, slices.Repeat([]vector{same(1)}, n)...)
	var at [lanes][]uint16 // by lane and split, its number
	for l, t := range trees {
		at[l] = make([]uint16, len(t.splits))
	}
	for i := range b.nodes {
		j, p := &b.nodes[i], place[i]
		if j.child[0] == 0 {
			b.g.values[p-b.g.inner] = b.leaves(j)
		} else {
			b.g.children[p] = [2]uint32{uint32(place[j.child[0]] * n * lanes * 4), uint32(place[j.child[1]] * n * lanes * 4)}
		}
		own := false
		for l := range lanes {
			b.g.share[p][l], b.g.features[p][l] = 0.5, uint16(b.features)
			if j.lane[l].split < 0 {
				continue
			}
			s := &trees[l].splits[j.lane[l].split]
			at[l][j.lane[l].split] = uint16(p*lanes + l)
			b.g.share[p][l], b.g.features[p][l] = s.share[0], uint16(s.feature)
			b.g.questions[p][l] = uint16(b.asked[l] + s.question)
			if s.above > 0 {
				own = true
				above := s.above - 1
				b.g.repeats = append(b.g.repeats, repeat{at: uint16(p*lanes + l), above: at[l][above/2], left: uint8(1 - above%2)})
			}
		}
		if own {
			b.g.factor[p] = uint32(len(b.g.factors) * lanes * 4)
			b.g.factors = append(b.g.factors, b.factors(j, trees)...)
		}
	}
	return true
}

// join adds the split of some splits and leaves, and all below. It fails if they are
// too many.
func (b *groupBuilder) join(of [lanes]joint) bool {
	at := len(b.nodes)
	if at >= maxGroupSplits {
		return false
	}
	b.nodes = append(b.nodes, joined{lane: of})
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
		if !b.join(below[side]) {
			return false
		}
	}
	return true
}

// leaves are the values of a tip's two sides.
func (b *groupBuilder) leaves(j *joined) (values [2]vector) {
	for l, o := range j.lane {
		for side := range values {
			values[side][l] = o.value
			if o.split >= 0 {
				values[side][l] = b.g.trees[l].splits[o.split].value[side]
			}
		}
	}
	return values
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
			factors[q][l], factors[n+q][l] = float32(1-row[q]), float32(row[n+q])
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

func newGrouping(groups []group, weight []float64) *grouping {
	most := 0
	for i := range groups {
		most = max(most, len(groups[i].share))
	}
	n := len(weight)
	x := &grouping{
		points: n,
		sides:  make([]sides, most), sum: make([]vector, most),
		path: make([]vector, most*n), below: make([]vector, most*n), left: make([]vector, most*n),
	}
	for q, w := range weight {
		x.path[q] = same(float32(w))
	}
	return x
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

// contribute adds the contributions of a group's trees.
func (g *group) contribute(answers *[maxSlots]byte, x *grouping, out []float64) {
	all := x.sides[:len(g.questions)]
	for i := range all {
		q, to := &g.questions[i], &all[i]
		to.right = [lanes]uint8{answers[q[0]], answers[q[1]], answers[q[2]], answers[q[3]], answers[q[4]], answers[q[5]], answers[q[6]], answers[q[7]]}
		to.along = [lanes]uint8{1, 1, 1, 1, 1, 1, 1, 1}
	}
	for i := range g.repeats {
		r := &g.repeats[i]
		above, lane := &all[r.above/lanes], r.above%lanes
		all[r.at/lanes].along[r.at%lanes] = above.along[lane] & (above.right[lane] ^ r.left)
	}
	p := groupPass{
		sides: &x.sides[0], share: &g.share[0], factor: &g.factor[0], factors: &g.factors[0],
		values: &g.values[0], path: &x.path[0], below: &x.below[0], left: &x.left[0], sum: &x.sum[0],
		inner: g.inner, tips: len(g.values), points: x.points * lanes * 4,
	}
	if g.inner > 0 {
		p.children = &g.children[0]
	}
	passAVX2(&p)
	for i := range g.features {
		f, sum := &g.features[i], &x.sum[i]
		for l := range lanes {
			out[f[l]] += float64(sum[l])
		}
	}
}
