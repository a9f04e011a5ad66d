package feature

import (
	"fmt"
	"math"
	"slices"

	"mlops/internal/dataset"
)

// Oddity is in what a record is unlike the training rows.
type Oddity uint8

// Oddities of one column, and Scarce and NoEarlier of a whole record. The zero value is none.
const (
	Missing    Oddity = iota + 1 // no value
	Unseen                       // a level that no training row has
	OutOfRange                   // a number below or above all of training
	Scarce                       // hardly any value in the whole record
	NoEarlier                    // nobody knows the whole record's earlier rows
)

// limit is what training saw of a column, for its values to be compared with.
type limit struct {
	used     bool // by a feature, and training kept what it saw
	expected bool // never missing
	number   bool // some feature takes its values as numbers
	plain    bool // its only feature is the number
	leveled  bool // hashes are all levels
	hashes   Hashes
	ranged   bool
	min, max float64
}

// value is a cleaned value with its number, where a feature or the range needs one.
type value struct {
	text   []byte
	number float64
	ok     bool // it is a number
}

func (l *limit) value(text []byte) value {
	v := value{text: text}
	if l.number {
		v.number, v.ok = dataset.ParseNumber(text)
	}
	return v
}

// odd returns in what a value is unlike those of the training rows.
func (l *limit) odd(v value) Oddity {
	switch {
	case l.leveled && !l.hashes.has(v.text):
		return Unseen
	case l.ranged && v.ok && (v.number < l.min || v.number > l.max):
		return OutOfRange
	}
	return 0
}

// Ordinary reports whether a record has a value in every column that was never
// missing in training, and not hardly any values. named are the columns that it
// names, absent those of them that it says have no value.
func (e *Encoder) Ordinary(named []bool, absent []int) bool {
	for _, c := range e.expected {
		if !named[c] {
			return false
		}
	}
	for _, c := range absent {
		if e.Expects(c) {
			return false
		}
	}
	return len(e.expected) >= e.scarce || e.values(named, absent) >= e.scarce
}

// Scarce reports whether a record has hardly any values: fewer than half as many as
// 99 of 100 training rows. It also returns how many. The record is as for Ordinary.
func (e *Encoder) Scarce(named []bool, absent []int) (values int, scarce bool) {
	values = e.values(named, absent)
	return values, values < e.scarce
}

// values is how many of the columns that features use have a value.
func (e *Encoder) values(named []bool, absent []int) int {
	n := 0
	for c := range e.limits {
		if e.limits[c].used && named[c] {
			n++
		}
	}
	for _, c := range absent {
		if e.limits[c].used {
			n--
		}
	}
	return n
}

// Expects reports whether no training row was without a value in a column.
func (e *Encoder) Expects(column int) bool { return e.limits[column].expected }

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
	e.limits = make([]limit, len(e.spec.Columns))
	for c := range e.limits {
		e.limits[c].plain = len(e.columns[c]) == 1 && e.columns[c][0].kind == number && e.spec.Columns[c].Type != dataset.Category
		e.limits[c].number = slices.ContainsFunc(e.columns[c], func(o op) bool { return o.kind == number || o.kind == ranged || o.kind == ranked })
	}
	if e.Seen == nil {
		return nil
	}
	if n := len(e.limits); n > math.MaxUint16 {
		return fmt.Errorf("what training saw: %d columns, at most %d can have warnings", n, math.MaxUint16)
	}
	used := func(c int) bool { return own(e.spec, e.spec.Columns[c].Name) && !e.spec.Ignored(c) }
	if err := e.Seen.check(e.spec, used); err != nil {
		return fmt.Errorf("what training saw: %w", err)
	}
	e.scarce = (e.Seen.Fewest + 1) / 2
	for i := range e.Seen.Columns {
		s := &e.Seen.Columns[i]
		c := e.spec.Column(s.Name)
		l := &e.limits[c]
		l.used, l.expected = true, s.Missing == 0
		l.leveled, l.hashes = byLevel(e.spec, c) && len(s.Hashes) == s.Levels, s.Hashes
		l.ranged, l.min, l.max = byRange(e.spec, c), math.Inf(1), math.Inf(-1) // where training saw no value, any is outside
		if s.Min != nil {
			l.min, l.max = *s.Min, *s.Max
		}
		l.number = l.number || l.ranged
		if l.expected {
			e.expected = append(e.expected, c)
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
			if o := &ops[i]; o.folds && !e.behind(o) {
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
		return fmt.Errorf("its typical value %q is not a value of the column", *s.Typical)
	}
	for i := range ops {
		o := &ops[i]
		if o.kind == days && o.day == 0 || e.behind(o) {
			continue // it depends on another column too, or is missing for features of earlier rows
		}
		if o.kind == days {
			o.setDays(e.blank, value)
			continue
		}
		switch x, counts, known := o.of(e.limits[column].value(value)); {
		case counts:
			o.typical = x
			e.blank[o.feature] += x
		case known:
			e.blank[o.feature] = x
		}
	}
	return nil
}
