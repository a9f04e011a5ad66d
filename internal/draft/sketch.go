package draft

import (
	"bytes"
	"cmp"
	"hash/maphash"
	"math"
	"math/bits"
	"strconv"
	"unicode/utf8"

	"mlops/internal/dataset"
)

// A table is read once into sketches: one per column, of a size that does not
// grow with the rows. A column's values are counted exactly up to a number of
// different ones; what comes after that is only classified.

// maxCells bounds the values that are counted exactly, over all columns; a column has
// at least leastCells of them.
const (
	maxCells   = 200_000
	leastCells = 200
)

// maxHashes bounds the hashes by which columns of many values are told to be
// unique, over all columns.
const maxHashes = 4 << 20

// sketch is what one pass finds out about a column's cells.
type sketch struct {
	name   string // as in the header
	rows   int64
	blank  int64
	counts map[string]*count
	most   int // of counts

	full    bool // a value came for which counts had no place
	tallies tallies
	dates   map[string]*tally // by format
	united  unitTally
	special map[string]*count // missing-like values, once counts is full
	odd     map[string]*count // likewise texts that are neither numbers nor dates, up to mostOdd+1

	counting bool // each cell is a whole number, one more than the one before
	last     int64

	approx hyperLogLog
	unique *hashSet // nil once there was no room for it

	measured int64 // cells whose length was measured
	length   int64
	words    int64
}

// count is how many cells hold a value.
type count struct {
	n    int64
	line int64 // of the first
}

func newSketches(names []string) []*sketch {
	most := min(10_000, max(leastCells, maxCells/max(1, len(names))))
	all := make([]*sketch, len(names))
	for i, name := range names {
		all[i] = &sketch{name: name, counts: map[string]*count{}, most: most}
	}
	return all
}

var seed = maphash.MakeSeed()

// add takes one cell in.
func (s *sketch) add(cell []byte, line int64, budget *int) {
	s.rows++
	cell = bytes.TrimSpace(cell)
	if len(cell) == 0 {
		s.blank++
		s.counting = false
		return
	}
	if s.counting || s.rows == 1 {
		n, err := strconv.ParseInt(string(cell), 10, 64)
		s.counting, s.last = err == nil && (s.rows == 1 || n == s.last+1), n
	}
	if c, ok := s.counts[string(cell)]; ok {
		c.n++
		if !s.full {
			return
		}
	} else if len(s.counts) < s.most && !s.full {
		s.counts[string(cell)] = &count{1, line}
	} else {
		if !s.full {
			s.spill(budget)
		}
		k := s.classified(1, cell, line)
		if isSpecial(cell) {
			s.special = counted(s.special, 100, cell, line)
		} else if k&text != 0 {
			s.odd = counted(s.odd, mostOdd+1, cell, line)
		}
	}
	if s.full {
		h := maphash.Bytes(seed, cell)
		s.approx.add(h)
		if s.unique != nil && !s.unique.add(h, budget) {
			s.unique = nil
		}
	}
	if s.full {
		s.measure(cell, 1)
	}
}

// counted takes one cell in, unless it is new and there are so many already.
func counted(counts map[string]*count, most int, cell []byte, line int64) map[string]*count {
	if c := counts[string(cell)]; c != nil {
		c.n++
		return counts
	}
	if counts == nil {
		counts = map[string]*count{}
	}
	if len(counts) < most {
		counts[string(cell)] = &count{1, line}
	}
	return counts
}

// classified takes n cells with the same text in, and says how it can be read.
func (s *sketch) classified(n int64, cell []byte, line int64) kinds {
	k := classify(cell)
	s.tallies.add(k, n, cell, line)
	if k&date != 0 {
		s.dated(n, cell, line)
	}
	s.united.add(k, n, cell, line)
	return k
}

// dated takes n cells with the same date in, which may be of several formats.
func (s *sketch) dated(n int64, cell []byte, line int64) {
	if s.dates == nil {
		s.dates = map[string]*tally{}
	}
	for _, format := range dataset.Formats(cell) {
		t := s.dates[format]
		if t == nil {
			t = &tally{}
			s.dates[format] = t
		}
		if t.n == 0 || line < t.line {
			t.line, t.example = line, shorten(string(cell), 60)
		}
		t.n += n
	}
}

func (s *sketch) measure(cell []byte, n int64) {
	s.measured += n
	s.length += n * int64(utf8.RuneCount(cell))
	s.words += n * int64(len(bytes.Fields(cell)))
}

// spill goes over from exact counts to hashes.
func (s *sketch) spill(budget *int) {
	s.full = true
	s.unique = newHashSet(2 * len(s.counts))
	for v := range s.counts {
		h := maphash.String(seed, v)
		s.approx.add(h)
		if s.unique != nil && !s.unique.add(h, budget) {
			s.unique = nil
		}
	}
}

// finish classifies the values that were only counted.
func (s *sketch) finish() {
	for v, c := range s.counts {
		s.classified(c.n, []byte(v), c.line)
		if !s.full {
			s.measure([]byte(v), c.n)
		}
	}
}

// release forgets how the values were told apart, and the values themselves unless kept.
func (s *sketch) release(keep bool) {
	s.unique, s.approx, s.special, s.odd = nil, hyperLogLog{}, nil, nil
	if !keep {
		s.counts = nil
	}
}

// present is how many cells are not blank.
func (s *sketch) present() int64 { return s.rows - s.blank }

// distinct is the number of different values; exact says whether it was counted.
func (s *sketch) distinct() (n int64, exact bool) {
	switch {
	case !s.full:
		return int64(len(s.counts)), true
	case s.unique != nil:
		return int64(s.unique.n), true
	}
	return min(s.present(), max(int64(len(s.counts)), int64(s.approx.estimate()))), false
}

// of returns how many cells hold a value, and the first line that does.
func (s *sketch) of(value string) count {
	if c := s.counts[value]; c != nil {
		return *c
	}
	if c := cmp.Or(s.special[value], s.odd[value]); c != nil {
		return *c
	}
	return count{}
}

// hashSet counts different hashes exactly.
type hashSet struct {
	slots []uint64
	n     int
}

func newHashSet(size int) *hashSet {
	return &hashSet{slots: make([]uint64, 1<<bits.Len(uint(2*size)))}
}

// add reports false if the set would have to grow beyond the budget.
func (h *hashSet) add(x uint64, budget *int) bool {
	if x == 0 {
		x = 1
	}
	if 2*h.n >= len(h.slots) {
		if *budget < 2*len(h.slots) {
			return false
		}
		*budget -= len(h.slots)
		old := h.slots
		h.slots = make([]uint64, 2*len(old))
		for _, y := range old {
			if y != 0 {
				h.put(y)
			}
		}
	}
	if h.put(x) {
		h.n++
	}
	return true
}

func (h *hashSet) put(x uint64) bool {
	mask := uint64(len(h.slots) - 1)
	for i := x & mask; ; i = (i + 1) & mask {
		switch h.slots[i] {
		case x:
			return false
		case 0:
			h.slots[i] = x
			return true
		}
	}
}

// hyperLogLog estimates a number of different hashes to about one percent
// (Flajolet, Fusy, Gandouet, Meunier 2007).
type hyperLogLog struct{ registers []uint8 }

const logRegisters = 13

func (h *hyperLogLog) add(x uint64) {
	if h.registers == nil {
		h.registers = make([]uint8, 1<<logRegisters)
	}
	i := x >> (64 - logRegisters)
	zeros := uint8(bits.LeadingZeros64(x<<logRegisters|1<<(logRegisters-1))) + 1
	h.registers[i] = max(h.registers[i], zeros)
}

func (h *hyperLogLog) estimate() float64 {
	m := float64(len(h.registers))
	sum, empty := 0.0, 0
	for _, r := range h.registers {
		sum += math.Ldexp(1, -int(r))
		if r == 0 {
			empty++
		}
	}
	e := 0.7213 / (1 + 1.079/m) * m * m / sum
	if e < 2.5*m && empty > 0 {
		return m * math.Log(m/float64(empty))
	}
	return e
}
