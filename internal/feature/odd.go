package feature

import (
	"fmt"
	"math"

	"mlops/internal/dataset"
)

// Oddity is in what a record is unlike the training rows.
type Oddity uint8

// Oddities of one column, and Scarce of a whole record. The zero value is none.
const (
	Missing    Oddity = iota + 1 // no value
	Unseen                       // a level that no training row has
	OutOfRange                   // a number below or above all of training
	Scarce                       // hardly any value in the whole record
)

// limit is what training saw of a column, for its values to be compared with.
type limit struct {
	leveled  bool // hashes are all levels
	hashes   Hashes
	ranged   bool
	min, max float64
}

// odd returns in what a cleaned value is unlike those of the training rows.
func (l *limit) odd(value []byte) Oddity {
	if l.leveled && !l.hashes.has(value) {
		return Unseen
	}
	if l.ranged {
		if x, ok := dataset.ParseNumber(value); ok && (x < l.min || x > l.max) {
			return OutOfRange
		}
	}
	return 0
}

// Given counts the values of a record: the high 16 bits those in columns that were
// never missing in training, the low 16 those in all columns that features use.
type Given uint32

// Give counts the value of a column in.
func (e *Encoder) Give(g *Given, column int) { *g += Given(e.gives[column]) }

// Ordinary reports whether a record has a value in every column that was never
// missing in training, and not hardly any values.
func (e *Encoder) Ordinary(g Given) bool {
	return uint32(g)>>16 == e.expected && uint32(g)&math.MaxUint16 >= e.scarce
}

// Scarce reports whether a record has hardly any values: fewer than half as many
// as 99 of 100 training rows. It also returns both numbers.
func (e *Encoder) Scarce(g Given) (values, fewest int, scarce bool) {
	if e.Seen == nil {
		return 0, 0, false
	}
	values = int(g & math.MaxUint16)
	return values, e.Seen.Fewest, values < int(e.scarce)
}

// Expects reports whether no training row was without a value in a column.
func (e *Encoder) Expects(column int) bool { return e.gives[column]>>16 > 0 }

// Oddities are those that a value of a column can have.
func (e *Encoder) Oddities(column int) []Oddity {
	var list []Oddity
	if e.Expects(column) {
		list = append(list, Missing)
	}
	if e.limits[column].leveled {
		list = append(list, Unseen)
	}
	if e.limits[column].ranged {
		list = append(list, OutOfRange)
	}
	return list
}

// StandIn says what a column's features take where it has no value.
func (s *SeenColumn) StandIn(spec *dataset.Spec) string {
	switch {
	case s.TypicalFolded:
		return "scored as a rare value, which is the usual one"
	case s.Typical == nil:
		return "scored as missing"
	case byLevel(spec, spec.Column(s.Name)):
		return "scored as " + dataset.Quote([]byte(*s.Typical)) + ", the most frequent value"
	}
	return "scored as " + *s.Typical + ", the median"
}

// Of returns what training saw of a column that features use, else nil.
func (s *Seen) Of(column string) *SeenColumn {
	if s == nil {
		return nil
	}
	for i := range s.Columns {
		if s.Columns[i].Name == column {
			return &s.Columns[i]
		}
	}
	return nil
}

// limit prepares what training saw for comparing.
func (e *Encoder) limit() error {
	n := len(e.spec.Columns)
	e.limits, e.gives = make([]limit, n), make([]uint32, n)
	if e.Seen == nil {
		return nil
	}
	if n > math.MaxUint16 {
		return fmt.Errorf("%d columns, of at most %d", n, math.MaxUint16)
	}
	used := func(c int) bool { return len(e.columns[c]) > 0 && !e.spec.Ignored(c) }
	if err := e.Seen.check(e.spec, used); err != nil {
		return fmt.Errorf("what training saw: %w", err)
	}
	e.scarce = uint32(e.Seen.Fewest+1) / 2
	for i := range e.Seen.Columns {
		s := &e.Seen.Columns[i]
		c := e.spec.Column(s.Name)
		e.limits[c] = limit{
			leveled: byLevel(e.spec, c) && len(s.Hashes) == s.Levels, hashes: s.Hashes,
			ranged: byRange(e.spec, c), min: math.Inf(1), max: math.Inf(-1), // where training saw no value, any is outside
		}
		if s.Min != nil {
			e.limits[c].min, e.limits[c].max = *s.Min, *s.Max
		}
		e.gives[c] = 1
		if s.Missing == 0 {
			e.gives[c] |= 1 << 16
			e.expected++
		}
		if err := e.fill(c, s); err != nil {
			return fmt.Errorf("what training saw: column %q: %w", s.Name, err)
		}
	}
	return nil
}

// fill makes a column's typical value, if it has one, that of a record without any.
func (e *Encoder) fill(column int, s *SeenColumn) error {
	ops := e.columns[column]
	if s.TypicalFolded {
		for i := range ops {
			if o := &ops[i]; o.folds {
				e.blank[o.feature] = o.other
			}
		}
		return nil
	}
	if s.Typical == nil {
		return nil
	}
	value, err := e.spec.Value(column, []byte(*s.Typical))
	if err != nil {
		return err
	}
	if string(value) != *s.Typical {
		return fmt.Errorf("its typical value %q is none", *s.Typical)
	}
	for i := range ops {
		o := &ops[i]
		switch x, counts, known := o.of(value); {
		case counts:
			o.typical = x
			e.blank[o.feature] += x
		case known:
			e.blank[o.feature] = x
		}
	}
	return nil
}
