package tree

import (
	"cmp"
	"math"
	"slices"
)

const (
	maxSlots   = 1 << 16 // a node stores its slot in 16 bits
	maxAnswers = 1 << 24 // bytes that the answers to categories may take

	fullDepth = 6              // trees of up to this depth are padded to it
	block     = 1 << fullDepth // places of such a tree
	abreast   = 4              // trees that are walked side by side
)

// forest holds the trees in the layout in which they are walked.
//
// A split asks a row a yes-or-no question: is feature 7 at least 3.5? Is the code
// of feature 9 in this set? Boosted trees repeat the same questions, so the
// distinct ones are answered first, for all trees at once: a row becomes one byte
// per question, its slot, with 1 for right and 0 for left. The slots of a feature
// are adjacent, so one copy of bytes fills them. What is left of a step down a tree
// is two loads and an addition for any kind of split, without a branch that could
// be mispredicted.
type forest struct {
	numbers    []numberSlots
	categories []categorySlots
	slots      int
	whole      int    // entries of the tables of small whole numbers
	ladder     []byte // as many ones as the largest feature has slots, then as many zeros

	parts []part // by output; all are laid out alike
}

// part holds the trees of one output.
type part struct {
	// Either full trees of depth fullDepth, in groups of four: the split at place
	// p of a tree, from 1, has its children at 2p and 2p+1; past the last level
	// they are leaves, stored at p-block. Empty trees fill up the last group.
	splits [][abreast * block]uint16 // the split's slot
	leaves [][abreast * block]float32

	// Or, if they are too deep for that, the trees as they are, one after another.
	roots []int32
	steps []step
}

// step is a node of a tree that is not full.
type step struct {
	left  int32   // the left child's index, the right one's is left+1; 0: a leaf
	slot  uint16  // of a split
	value float32 // of a leaf
}

// numberSlots answer whether a feature is at least a threshold: a one for each
// threshold that the value reaches, then zeros. A threshold has two slots if a
// missing value goes left at one of its splits and right at another.
type numberSlots struct {
	feature, slot int
	keys          []int32 // the thresholds, ascending
	missing       []byte  // the answers for a missing value

	// The number of thresholds that a small whole number reaches, by that number:
	// most values are counts, ages or codes.
	whole []uint16
}

// maxWhole bounds the tables of small whole numbers, so that those of all features
// stay in the first-level cache.
const maxWhole = 128

// maxRanks is the same where rows hold ranks, which are small whole numbers all.
const maxRanks = 512

// reach counts the thresholds that v reaches; the count is arbitrary for a missing
// value.
func (s *numberSlots) reach(v float32) int {
	if i := int32(v); float32(i) == v && uint32(i) < uint32(len(s.whole)) {
		return int(s.whole[i])
	}
	return countReached(s.keys, key(v))
}

// categorySlots answer whether a feature's code is in a set.
type categorySlots struct {
	feature, slot int
	width         int
	codes         int    // codes from here on are in no set
	answers       []byte // width bytes for each code, then for codes in no set, then for a missing value

	words  int      // needed for width bits
	packed []uint64 // the answers again as bits, words of them for each code
}

// code returns the place of a value in answers.
func (s *categorySlots) code(v float32) int {
	if v != v {
		return s.codes + 1
	}
	if v >= 0 && v < float32(s.codes) {
		return int(v)
	}
	return s.codes
}

// scratch is what scoring a row needs besides the forest.
type scratch struct {
	// answers holds the row's answers by slot. Its size is constant so that a slot
	// needs no bounds check; only the forest's own slots are used.
	answers [maxSlots]byte
	reached []int // by entry of numbers, how many thresholds the value reaches
}

func (f *forest) newScratch() *scratch { return &scratch{reached: make([]int, len(f.numbers))} }

// answer fills in the answers of a row. All searches come before the copies:
// they do not depend on each other, so the processor runs several at once.
func (f *forest) answer(row []float32, x *scratch) {
	reached := x.reached[:len(f.numbers)]
	for i := range f.numbers {
		s := &f.numbers[i]
		reached[i] = s.reach(row[s.feature])
	}
	for i := range f.numbers {
		s := &f.numbers[i]
		from := f.ladder[len(f.ladder)/2-reached[i]:]
		if v := row[s.feature]; v != v {
			from = s.missing
		}
		copy(x.answers[s.slot:s.slot+len(s.keys)], from)
	}
	for i := range f.categories {
		s := &f.categories[i]
		copy(x.answers[s.slot:s.slot+s.width], s.answers[s.code(row[s.feature])*s.width:])
	}
}

// key maps floats to integers of the same order, and both zeros to one.
func key(v float32) int32 {
	b := int32(math.Float32bits(v + 0))
	return b ^ int32(uint32(b>>31)>>1)
}

// countReached counts the keys that are not above k by bisection, without a branch:
// one would be mispredicted half of the time.
func countReached(keys []int32, k int32) int {
	count := uint(0)
	for n := uint(len(keys)); n > 0; {
		half := (n + 1) >> 1
		smaller := (int64(k) - int64(keys[count+half-1])) >> 63 // all bits set if k is
		count += half &^ uint(smaller)
		n -= half
	}
	return int(count)
}

// margin adds the trees' leaves to base, in their order.
func (p *part) margin(x *scratch, sum float32) float32 {
	a := &x.answers
	if p.roots != nil {
		for _, root := range p.roots {
			at := root
			for left := p.steps[at].left; left != 0; left = p.steps[at].left {
				at = left + int32(a[p.steps[at].slot])
			}
			sum += p.steps[at].value
		}
		return sum
	}
	// A step waits for two loads from the cache; four trees overlap theirs. Six
	// lines are 10 % faster than a loop.
	for i := range p.splits {
		s, l := &p.splits[i], &p.leaves[i]
		p0, p1, p2, p3 := uint(1), uint(1), uint(1), uint(1)
		p0, p1, p2, p3 = down(a, s, 0, p0), down(a, s, 1, p1), down(a, s, 2, p2), down(a, s, 3, p3)
		p0, p1, p2, p3 = down(a, s, 0, p0), down(a, s, 1, p1), down(a, s, 2, p2), down(a, s, 3, p3)
		p0, p1, p2, p3 = down(a, s, 0, p0), down(a, s, 1, p1), down(a, s, 2, p2), down(a, s, 3, p3)
		p0, p1, p2, p3 = down(a, s, 0, p0), down(a, s, 1, p1), down(a, s, 2, p2), down(a, s, 3, p3)
		p0, p1, p2, p3 = down(a, s, 0, p0), down(a, s, 1, p1), down(a, s, 2, p2), down(a, s, 3, p3)
		p0, p1, p2, p3 = down(a, s, 0, p0), down(a, s, 1, p1), down(a, s, 2, p2), down(a, s, 3, p3)
		sum += l[p0%block]
		sum += l[block+p1%block]
		sum += l[2*block+p2%block]
		sum += l[3*block+p3%block]
	}
	return sum
}

// down goes from place p of one of four trees to a child. The remainder changes
// nothing; it tells the compiler that p is within the tree.
func down(a *[maxSlots]byte, splits *[abreast * block]uint16, tree, p uint) uint {
	return 2*p + uint(a[splits[tree*block+p%block]])
}

// question is what a split asks. Those with the same share a slot.
type question struct {
	categorical bool
	feature     int32
	defaultLeft bool
	threshold   float32
	set         string // the codes, three bytes each
}

func ask(n *node) question {
	q := question{categorical: n.categorical, feature: n.feature, defaultLeft: n.defaultLeft}
	if !n.categorical {
		q.threshold = n.value
		return q
	}
	set := make([]byte, 0, 3*len(n.categories))
	for _, c := range n.categories {
		set = append(set, byte(c), byte(c>>8), byte(c>>16))
	}
	q.set = string(set)
	return q
}

// newForest lays out trees. It returns nil if they ask so many questions that
// answering them all would take longer than walking the trees.
func newForest(trees []tree, outputs int) *forest {
	f := &forest{parts: make([]part, outputs), whole: maxWhole}
	slots, ok := f.assignSlots(trees)
	if !ok {
		return nil
	}
	depth := 0
	of := make([][]tree, outputs)
	for _, t := range trees {
		depth = max(depth, t.depth)
		of[t.output] = append(of[t.output], t)
	}
	for k := range f.parts {
		if depth > fullDepth {
			f.parts[k].addSteps(of[k], slots)
		} else {
			f.parts[k].addFull(of[k], slots)
		}
	}
	return f
}

// addSteps lays out trees as they are.
func (p *part) addSteps(trees []tree, slots map[question]uint16) {
	p.roots = make([]int32, 0, len(trees))
	for _, t := range trees {
		root := int32(len(p.steps))
		p.roots = append(p.roots, root)
		for i := range t.nodes {
			if n := &t.nodes[i]; n.left == 0 {
				p.steps = append(p.steps, step{value: n.value})
			} else {
				p.steps = append(p.steps, step{slot: slots[ask(n)], left: root + n.left})
			}
		}
	}
}

// addFull lays out trees padded to fullDepth.
func (p *part) addFull(trees []tree, slots map[question]uint16) {
	blocks := (len(trees) + abreast - 1) / abreast
	p.splits = make([][abreast * block]uint16, blocks)
	p.leaves = make([][abreast * block]float32, blocks)
	for i, t := range trees {
		first := i % abreast * block
		splits := p.splits[i/abreast][first : first+block]
		leaves := p.leaves[i/abreast][first : first+block]
		// fill writes a node and everything below it to a place of the full tree.
		// Below a leaf any slot will do: all leaves there have its value.
		var fill func(n *node, place int)
		fill = func(n *node, place int) {
			if place >= block {
				leaves[place-block] = n.value
				return
			}
			left, right := n, n
			if n.left != 0 {
				splits[place] = slots[ask(n)]
				left, right = &t.nodes[n.left], &t.nodes[n.left+1]
			}
			fill(left, 2*place)
			fill(right, 2*place+1)
		}
		fill(&t.nodes[0], 1)
	}
}

// assignSlots gives each question of the trees a slot and reports whether there
// are few enough of them.
func (f *forest) assignSlots(trees []tree) (map[question]uint16, bool) {
	slots := make(map[question]uint16)
	sets := make(map[question][]int32)
	var questions []question
	for _, t := range trees {
		for i := range t.nodes {
			n := &t.nodes[i]
			if n.left == 0 {
				continue
			}
			q := ask(n)
			if _, ok := slots[q]; ok {
				continue
			}
			if len(questions) == maxSlots {
				return nil, false
			}
			slots[q] = 0
			sets[q] = n.categories
			questions = append(questions, q)
		}
	}
	slices.SortFunc(questions, func(a, b question) int {
		return cmp.Or(
			cmp.Compare(bit(a.categorical), bit(b.categorical)),
			cmp.Compare(a.feature, b.feature),
			cmp.Compare(a.threshold, b.threshold),
			cmp.Compare(a.set, b.set),
			cmp.Compare(bit(a.defaultLeft), bit(b.defaultLeft)),
		)
	})
	size := 0
	for rest := questions; len(rest) > 0; {
		n := 0
		for n < len(rest) && rest[n].feature == rest[0].feature && rest[n].categorical == rest[0].categorical {
			slots[rest[n]] = uint16(f.slots + n)
			n++
		}
		group := rest[:n]
		rest = rest[n:]
		if !group[0].categorical {
			f.addNumbers(group)
			continue
		}
		codes := int32(0)
		for _, q := range group {
			if set := sets[q]; len(set) > 0 {
				codes = max(codes, set[len(set)-1]+1)
			}
		}
		if size += (int(codes) + 2) * n; size > maxAnswers {
			return nil, false
		}
		f.addCategories(group, sets, int(codes))
	}
	return slots, true
}

// addNumbers adds the slots of a numeric feature, by ascending threshold.
func (f *forest) addNumbers(group []question) {
	s := numberSlots{feature: int(group[0].feature), slot: f.slots}
	for _, q := range group {
		s.keys = append(s.keys, key(q.threshold))
		s.missing = append(s.missing, bit(!q.defaultLeft))
	}
	if n := len(group); n > len(f.ladder)/2 {
		f.ladder = append(slices.Repeat([]byte{1}, n), make([]byte, n)...)
	}
	for i := range f.whole {
		s.whole = append(s.whole, uint16(countReached(s.keys, key(float32(i)))))
	}
	f.numbers = append(f.numbers, s)
	f.slots += len(group)
}

// addCategories adds the slots of a categorical feature, whose sets hold codes
// below codes.
func (f *forest) addCategories(group []question, sets map[question][]int32, codes int) {
	s := categorySlots{feature: int(group[0].feature), slot: f.slots, width: len(group), codes: codes}
	s.answers = make([]byte, (codes+2)*s.width)
	for i, q := range group {
		for _, code := range sets[q] {
			s.answers[int(code)*s.width+i] = 1
		}
		s.answers[(codes+1)*s.width+i] = bit(!q.defaultLeft)
	}
	s.words = (s.width + 63) / 64
	s.packed = make([]uint64, (codes+2)*s.words)
	for i, answer := range s.answers {
		code, slot := i/s.width, i%s.width
		s.packed[code*s.words+slot/64] |= uint64(answer) << (slot % 64)
	}
	f.categories = append(f.categories, s)
	f.slots += s.width
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}
