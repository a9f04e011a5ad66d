package tree

// Models whose paths have up to six features, such as all of depth 6, need three points.
// Their trees are laid out once more, so that explaining a row takes little more than
// loads, and the multiplications of three points, in float32.
//
// A split is in one of three states: 1 or 2 if the row goes left or right there, 0 if it
// left the path to the split at one above of the same feature. What down and up multiply
// by depends on that alone, so each split has a row of factors for each of its states.
//
// Most splits are one or two steps above the leaves. What such a split and the two below
// it, a fan, contribute is linear in the products along the path to it. The factors
// depend on the states of its splits; they are looked up in a table for all of them.

const (
	maxPlaces  = 256 // of a tree: its splits that are not in fans, its fans, and one for all leaves
	origin     = 255 // the place of no split
	fanSplits  = 3
	maxFanRows = 12 // of a table; a fan that needs more is taken apart
)

// folded holds the trees of a model.
type folded struct {
	trees []foldedTree
	rows  []foldedRow
	table []fanRow
}

type foldedTree struct {
	splits []foldedSplit // those that are not in fans; they come after those above them
	fans   []fan
}

// condition says when a row is still on the path to a split, as far as its feature goes:
// if a split above is in a state. It is always where the feature does not occur above.
type condition struct{ place, state uint8 }

type foldedSplit struct {
	feature  int32
	first    int32 // its row in state 0
	question uint16
	along    condition
}

// foldedRow is what down and up take of a split in a state. The row goes to the first
// child, and without the feature as well to the second.
type foldedRow struct {
	down, up [3]float32 // by point
	value    float32    // of the first child, if that is a leaf
	gap      float32    // between the values of the first and the second
	child    [2]uint8   // places
}

// fan is a split and those below it on its left and right, where there are any.
type fan struct {
	feature  [fanSplits]int32 // where there is no split, the one past the last
	first    int32            // its row where all splits are in state 0
	stride   [fanSplits]uint8 // rows from one state to the next
	question [fanSplits]uint16
	along    [fanSplits]condition
}

// fanRow holds by point what a fan is to the split above it, and what each of its splits
// contributes per unit of the product along the path.
type fanRow struct {
	below [3]float32
	up    [fanSplits][3]float32
}

// folding is what explaining a row needs.
type folding struct {
	states [maxPlaces]uint8
	path   [maxPlaces][3]float32
	below  [maxPlaces][3]float32
	rows   [maxPlaces]int32 // of fans
}

func newFolding(weight []float64) *folding {
	x := &folding{}
	x.states[origin] = 1
	for q := range x.path[0] {
		x.path[0][q] = float32(weight[q])
	}
	return x
}

// state is that of a split with a question, without a branch.
func (x *folding) state(answers *[maxSlots]byte, question uint16, along condition) uint8 {
	return bit(x.states[along.place] == along.state) << (answers[question] & 1)
}

// contribute adds the contributions of a tree. It is down and up, for three points.
func (f *folded) contribute(tree int, answers *[maxSlots]byte, x *folding, out []float64) {
	t := &f.trees[tree]
	for i := range t.splits {
		s := &t.splits[i]
		state := x.state(answers, s.question, s.along)
		x.states[uint8(i)] = state
		r := &f.rows[s.first+int32(state)]
		p := &x.path[uint8(i)]
		p0, p1, p2 := p[0], p[1], p[2]
		o0, o1, o2 := p0*r.down[0], p1*r.down[1], p2*r.down[2]
		with, without := &x.path[r.child[0]], &x.path[r.child[1]]
		with[0], with[1], with[2] = p0-o0, p1-o1, p2-o2
		without[0], without[1], without[2] = o0, o1, o2
	}
	// All rows are loaded before any is needed: they are rarely in the first cache.
	first := len(t.splits)
	for i := range t.fans {
		a := &t.fans[i]
		at := a.first + int32(a.stride[0]*x.state(answers, a.question[0], a.along[0])+
			a.stride[1]*x.state(answers, a.question[1], a.along[1])+
			a.stride[2]*x.state(answers, a.question[2], a.along[2]))
		x.rows[uint8(i)] = at
		x.below[uint8(first+i)] = f.table[at].below
	}
	for i := range t.fans {
		a := &t.fans[i]
		r, p := &f.table[x.rows[uint8(i)]], &x.path[uint8(first+i)]
		p0, p1, p2 := p[0], p[1], p[2]
		out[a.feature[0]] += float64(p0*r.up[0][0] + p1*r.up[0][1] + p2*r.up[0][2])
		out[a.feature[1]] += float64(p0*r.up[1][0] + p1*r.up[1][1] + p2*r.up[1][2])
		out[a.feature[2]] += float64(p0*r.up[2][0] + p1*r.up[2][1] + p2*r.up[2][2])
	}
	x.below[uint8(first+len(t.fans))] = [3]float32{}
	for i := first - 1; i >= 0; i-- {
		s := &t.splits[i]
		r := &f.rows[s.first+int32(x.states[uint8(i)])]
		with, without := &x.below[r.child[0]], &x.below[r.child[1]]
		w0, w1, w2 := with[0], with[1], with[2]
		d0, d1, d2 := w0-without[0]+r.gap, w1-without[1]+r.gap, w2-without[2]+r.gap
		p := &x.path[uint8(i)]
		out[s.feature] += float64(p[0]*d0*r.up[0] + p[1]*d1*r.up[1] + p[2]*d2*r.up[2])
		to := &x.below[uint8(i)]
		to[0], to[1], to[2] = w0+r.value-r.down[0]*d0, w1+r.value-r.down[1]*d1, w2+r.value-r.down[2]*d2
	}
}

// newFolded lays out trees for three points, or returns nil if they don't fit.
func newFolded(m *Model, e *explainer) *folded {
	if len(e.weight) != 3 || !e.slots && e.nodes > maxSlots {
		return nil
	}
	f := &folded{}
	for i := range e.trees {
		if !f.add(&e.trees[i], int32(m.features)) {
			return nil
		}
	}
	return f
}

// add lays out a tree, and reports whether it fits.
func (f *folded) add(from *explained, features int32) bool {
	all, leaf := from.splits, int32(len(from.splits))
	height := make([]int, len(all)+1)
	for i := len(all) - 1; i >= 0; i-- {
		height[i] = 1 + max(height[all[i].child[0]], height[all[i].child[1]])
	}
	var kept, first []int32 // splits: those in no fan, and those that begin one
	inFan := make([]bool, len(all)+1)
	for i := range all {
		s := &all[i]
		switch {
		case inFan[i]:
		case height[i] <= 2 && fanRows(all, int32(i)) <= maxFanRows:
			first = append(first, int32(i))
			inFan[s.child[0]], inFan[s.child[1]] = true, true
		default:
			kept = append(kept, int32(i))
		}
	}
	if len(kept)+len(first) >= origin {
		return false
	}
	place := make([]uint8, len(all)+1)
	for k, i := range append(kept, first...) {
		place[i] = uint8(k)
	}
	place[leaf] = uint8(len(kept) + len(first))
	var t foldedTree
	for _, i := range kept {
		s := &all[i]
		n, lowest := states(s, i)
		t.splits = append(t.splits, foldedSplit{feature: s.feature, question: uint16(s.question), first: int32(len(f.rows)) - lowest, along: along(s, i, place)})
		for state := lowest; state < lowest+n; state++ {
			f.rows = append(f.rows, from.foldedRow(s, state, place))
		}
	}
	for _, i := range first {
		t.fans = append(t.fans, f.fan(from, i, features, place))
	}
	f.trees = append(f.trees, t)
	return true
}

// inside reports whether a split's feature was last that of the fan's first split.
func inside(s *split, first int32) bool { return s.above != 0 && (s.above-1)/2 == first }

// states returns how many states a split has, and the lowest. Within a fan, the state of
// the first split says whether the row left the path.
func states(s *split, first int32) (n, lowest int32) {
	if s.above == 0 || inside(s, first) {
		return 2, 1
	}
	return 3, 0
}

// along is the condition of a split.
func along(s *split, first int32, place []uint8) condition {
	if s.above == 0 || inside(s, first) {
		return condition{origin, 1}
	}
	return condition{place[(s.above-1)/2], uint8(1 + (s.above-1)%2)}
}

// fanRows returns how many rows the table of a fan has.
func fanRows(all []split, first int32) int32 {
	rows, _ := states(&all[first], first)
	for _, c := range all[first].child {
		if int(c) < len(all) {
			n, _ := states(&all[c], first)
			rows *= n
		}
	}
	return rows
}

// factors returns a split's side in a state, and by point what down and up multiply by.
func (t *explained) factors(s *split, state int32) (side int32, down, up [3]float64) {
	row := s.row
	if state == 0 {
		row++
	}
	side = max(0, state-1)
	u := float64(s.share[side^1])
	for q := range 3 {
		down[q], up[q] = u*t.rows[6*row+int32(q)], u*t.rows[6*row+3+int32(q)]
	}
	return side, down, up
}

func (t *explained) foldedRow(s *split, state int32, place []uint8) (r foldedRow) {
	side, down, up := t.factors(s, state)
	for q := range 3 {
		r.down[q], r.up[q] = float32(down[q]), float32(up[q])
	}
	r.value, r.gap = s.value[side], s.value[side]-s.value[side^1]
	r.child = [2]uint8{place[s.child[side]], place[s.child[side^1]]}
	return r
}

// fan lays out the fan that begins with a split.
func (f *folded) fan(from *explained, first, features int32, place []uint8) (to fan) {
	all := from.splits
	members := [fanSplits]int32{first, all[first].child[0], all[first].child[1]}
	to.first = int32(len(f.table))
	var number, lowest [fanSplits]int32
	rows := int32(1)
	for j, i := range members {
		to.feature[j], to.along[j], number[j] = features, condition{origin, 1}, 1
		if int(i) == len(all) {
			continue
		}
		s := &all[i]
		number[j], lowest[j] = states(s, first)
		to.feature[j], to.question[j], to.stride[j], to.along[j] = s.feature, uint16(s.question), uint8(rows), along(s, first, place)
		to.first -= rows * lowest[j]
		rows *= number[j]
	}
	for at := range rows {
		var state [fanSplits]int32
		for j := range members {
			state[j] = lowest[j] + at%number[j]
			at /= number[j]
		}
		f.table = append(f.table, from.fanRow(members, state))
	}
	return to
}

// fanRow is down and up for a fan, with a product of 1 along the path to it.
func (t *explained) fanRow(members, state [fanSplits]int32) (r fanRow) {
	all, first := t.splits, &t.splits[members[0]]
	side, down, up := t.factors(first, state[0])
	var sum [2][3]float64 // below the first split, by side
	for c, at := range first.child {
		for q := range sum[c] {
			sum[c][q] = float64(first.value[c])
		}
		if int(at) == len(all) {
			continue
		}
		s, of := &all[at], state[1+c]
		if inside(s, members[0]) && (state[0] == 0 || s.above != 1+2*members[0]+state[0]-1) {
			of = 0
		}
		side2, down2, up2 := t.factors(s, of)
		gap := float64(s.value[side2]) - float64(s.value[side2^1])
		for q := range sum[c] {
			path := down[q]
			if int32(c) == side {
				path = 1 - down[q]
			}
			r.up[1+c][q] = float32(path * gap * up2[q])
			sum[c][q] = float64(s.value[side2]) - down2[q]*gap
		}
	}
	for q := range r.below {
		gap := sum[side][q] - sum[side^1][q]
		r.up[0][q], r.below[q] = float32(gap*up[q]), float32(sum[side][q]-down[q]*gap)
	}
	return r
}
