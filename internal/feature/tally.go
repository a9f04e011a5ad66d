package feature

import (
	"math"
	"slices"
	"strconv"
	"time"

	"mlops/internal/dataset"
)

// tally is what the fitter counts of one column.
type tally struct {
	missing int
	levels  map[string]int // rows by value; nil where values are no levels
	ranged  bool
	min     float64
	max     float64
	numbers map[uint64]bucket // nil where values have no median
	whole   bool              // the column has integers
	dated   bool              // numbers has the seconds since 1970 of dates, a bucket per day
}

// bucket is a number of values that are nearly equal, and the least of them.
type bucket struct {
	rows  int
	least float64
}

// bucketBits is how much of a number's 64 bits its bucket drops: what is left is the
// sign, the exponent and 8 bits of the mantissa, so that values of a bucket differ by
// less than 1/256, and integers up to 512 have buckets of their own.
const bucketBits = 52 - 8

func newTally(spec *dataset.Spec, column int) *tally {
	t := &tally{min: math.Inf(1), max: math.Inf(-1)}
	if byLevel(spec, column) {
		t.levels = map[string]int{}
	}
	t.ranged, t.whole = byRange(spec, column), spec.Columns[column].Type == dataset.Integer
	if t.dated = byDay(spec, column); t.ranged || t.dated {
		t.numbers = map[uint64]bucket{}
	}
	return t
}

// add counts a value in, nil if it is missing.
func (t *tally) add(value []byte) {
	if value == nil {
		t.missing++
		return
	}
	if t.levels != nil {
		t.levels[string(value)]++
	}
	switch {
	case t.ranged:
		if x, ok := dataset.ParseNumber(value); ok {
			t.min, t.max = min(t.min, x), max(t.max, x)
			t.count(ascending(x)>>bucketBits, x)
		}
	case t.dated:
		if when, ok := dataset.ParseDate(value); ok {
			t.count(uint64(dayOf(when)), float64(when.Unix()))
		}
	}
}

// count adds a number to its bucket.
func (t *tally) count(key uint64, x float64) {
	b, there := t.numbers[key]
	if !there || x < b.least {
		b.least = x
	}
	b.rows++
	t.numbers[key] = b
}

// ascending are a number's bits, so changed that they ascend with the number.
func ascending(x float64) uint64 {
	b := math.Float64bits(x + 0) // -0 is 0
	if b>>63 != 0 {
		return ^b
	}
	return b | 1<<63
}

// median is the lower median of the numbers, exact to 1/256, of dates to a day; a value
// that a row has.
func (t *tally) median() (x float64, ok bool) {
	rows := 0
	keys := make([]uint64, 0, len(t.numbers))
	for key, b := range t.numbers {
		keys = append(keys, key)
		rows += b.rows
	}
	slices.Sort(keys)
	below := 0
	for _, key := range keys {
		if below += t.numbers[key].rows; 2*below >= rows {
			return t.numbers[key].least, true
		}
	}
	return 0, false
}

// mode is the most frequent level and its rows; of equally frequent ones the first.
func (t *tally) mode() (level string, rows int) {
	for l, n := range t.levels {
		if n > rows || n == rows && l < level {
			level, rows = l, n
		}
	}
	return level, rows
}

// A column that at most maxRarelyMissing training rows, and fewer than one in
// rarelyMissing, are without is never missing, as far as a model could learn.
const (
	maxRarelyMissing = 20
	rarelyMissing    = 100
)

// seen is what is stored of the column. fold is the number of rows below which one of
// its features folds a level.
func (t *tally) seen(name string, rows, fold int) SeenColumn {
	s := SeenColumn{Name: name, Missing: t.missing, Levels: len(t.levels)}
	if t.ranged && t.min <= t.max {
		s.Min, s.Max = &t.min, &t.max
	}
	if len(t.levels) <= maxHashes {
		for v := range t.levels {
			s.Hashes = append(s.Hashes, hash([]byte(v)))
		}
		slices.Sort(s.Hashes)
	}
	if t.missing > maxRarelyMissing || rarelyMissing*t.missing >= rows {
		return s
	}
	if level, n := t.mode(); n > 0 {
		if s.TypicalFolded = n < fold; !s.TypicalFolded {
			s.Typical = &level
		}
	} else if x, ok := t.median(); ok {
		text := string(dataset.AppendNumber(nil, x))
		switch {
		case t.whole && math.Abs(x) < 1<<63: // a float64 writes larger ones with an exponent
			text = strconv.FormatInt(int64(x), 10)
		case t.dated:
			text = string(dataset.AppendDate(nil, time.Unix(int64(x), 0).UTC()))
		}
		s.Typical = &text
	}
	return s
}
