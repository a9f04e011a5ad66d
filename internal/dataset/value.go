package dataset

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// ValueError says why a field is no value of its column.
type ValueError struct {
	Text string // the field, quoted and cut
	Kind string // what is wrong, alike for every field with the same mistake: "not an integer"
}

func (e *ValueError) Error() string { return e.Text + " is " + e.Kind }

// Value returns the canonical form of one field of a column, nil where the field
// stands for a missing value. Every place that takes a value takes it through
// here (the table, a record to predict, the spec itself), so that all spellings
// of one value are one value: 39.0 in an integer column is 39, 27.330 in a
// number column is 27.33, a missing marker -999 also stands for -999.0. A
// category is its text, without the blanks around it. A boolean is true or false,
// a date as AppendDate writes it.
//
// What is wrong with the field comes back as a *ValueError, which does not name
// the column. The result may be part of field.
func (s *Spec) Value(column int, field []byte) ([]byte, error) {
	if s.Columns[column].only != nil {
		return s.class(column, field)
	}
	return s.value(column, field)
}

func (s *Spec) value(column int, field []byte) ([]byte, error) {
	field = bytes.TrimSpace(field)
	if len(field) == 0 {
		return nil, nil
	}
	c := &s.Columns[column]
	if c.IsMissing(string(field)) {
		return nil, nil
	}
	if c.Unit != "" {
		field = c.withoutUnit(field)
	}
	switch c.Type {
	case Integer:
		return c.integer(field)
	case Number:
		return c.number(field)
	case Boolean:
		return c.boolean(field)
	case Date:
		return c.date(field)
	}
	return field, nil
}

// IsMissing reports whether a field's text, without blanks around it, is empty or
// one of the markers of a missing value, letter by letter.
func (c *Column) IsMissing(field string) bool {
	return field == "" || slices.Contains(c.markers, field)
}

// isMissingNumber reports whether a field is a number that marks a missing value.
func (c *Column) isMissingNumber(field []byte) bool {
	x, ok := ParseNumber(field)
	return ok && slices.Contains(c.missing, x)
}

// TooLarge is what is wrong with a whole number that 64 bits don't hold.
const TooLarge = "too large for an integer"

func (c *Column) integer(field []byte) ([]byte, error) {
	n, canonical, ok := scanInteger(field)
	if !ok {
		if c.isMissingNumber(field) {
			return nil, nil // such as the marker -1.5
		}
		if x, ok := ParseNumber(field); ok && math.Abs(x) >= 1<<63 {
			return nil, wrong(field, TooLarge)
		}
		return nil, wrong(field, "not an integer")
	}
	if slices.Contains(c.missing, float64(n)) {
		return nil, nil
	}
	if err := c.inRange(field, float64(n)); err != nil {
		return nil, err
	}
	if canonical {
		return field, nil
	}
	return strconv.AppendInt(nil, n, 10), nil
}

func (c *Column) number(field []byte) ([]byte, error) {
	x, canonical, ok := scanNumber(field)
	if !ok {
		return nil, wrong(field, "not a number")
	}
	if slices.Contains(c.missing, x) {
		return nil, nil
	}
	// A model sees float32 and would take it for infinity.
	if math.IsInf(float64(float32(x)), 0) {
		return nil, wrong(field, "too large for a model, which takes numbers up to 3.4e38")
	}
	if err := c.inRange(field, x); err != nil {
		return nil, err
	}
	if canonical {
		return field, nil
	}
	return AppendNumber(make([]byte, 0, 24), x), nil
}

func (c *Column) inRange(field []byte, x float64) error {
	if c.Min != nil && x < *c.Min {
		return wrong(field, "below %g", *c.Min)
	}
	if c.Max != nil && x > *c.Max {
		return wrong(field, "above %g", *c.Max)
	}
	return nil
}

func wrong(field []byte, format string, args ...any) error {
	return &ValueError{Text: Quote(field), Kind: fmt.Sprintf(format, args...)}
}

// SameCell reports whether two fields of the table are the same value of a column.
// Fields that are no values of it are the same if their texts are.
func (s *Spec) SameCell(column int, a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	x, errX := s.Cell(column, a)
	y, errY := s.Cell(column, b)
	return errX == nil && errY == nil && (x == nil) == (y == nil) && bytes.Equal(x, y)
}

// Quote quotes a field for an error message and keeps it short.
func Quote(field []byte) string {
	const most = 60
	if len(field) <= most {
		return strconv.Quote(string(field))
	}
	n := most
	for n > 0 && !utf8.RuneStart(field[n]) {
		n--
	}
	return strconv.Quote(string(field[:n])) + "..."
}

// Cell returns the canonical form of a field as it stands in the table, where
// numbers are spelled as the spec's source says: 1.461,94 with a decimal comma.
// Otherwise it does what Value does.
func (s *Spec) Cell(column int, field []byte) ([]byte, error) {
	c := &s.Columns[column]
	if c.Type != Integer && c.Type != Number || s.Source.Decimal == "" && s.Source.Thousands == "" {
		return s.Value(column, field)
	}
	field = bytes.TrimSpace(field)
	if c.IsMissing(string(field)) {
		return nil, nil
	}
	if c.Unit != "" {
		field = c.withoutUnit(field)
	}
	plain, ok := s.Source.plain(field)
	if !ok {
		if c.Type == Integer {
			return nil, wrong(field, "not an integer")
		}
		return nil, wrong(field, "not a number")
	}
	return s.Value(column, plain)
}

// Spelling says how the fields of a table that is scored spell numbers. It matters only
// where the spec's source has a spelling of its own.
type Spelling int

const (
	EitherSpelling Spelling = iota // as the source does or with a decimal point; a number that both read, and read differently, is refused
	TableSpelling                  // as the source does
	PointSpelling                  // with a decimal point, as JSON does
)

// Plain returns a field of a table that is scored as Value takes it: a number of a source
// with its own spelling with a decimal point and without thousands separators. A field
// that is no number is left for Value to refuse.
func (s *Spec) Plain(column int, field []byte, as Spelling) ([]byte, error) {
	c := &s.Columns[column]
	if as == PointSpelling || c.Type != Integer && c.Type != Number || s.Source.Decimal == "" && s.Source.Thousands == "" {
		return field, nil
	}
	own, err := s.Cell(column, field)
	switch {
	case as == TableSpelling && err != nil:
		return nil, err
	case as == TableSpelling:
		return own, nil
	case err != nil:
		return field, nil
	}
	point, err := s.Value(column, field)
	if err == nil && !bytes.Equal(own, point) {
		return nil, wrong(field, "%s with a decimal point, but %s as the table spells numbers; say which with Content-Type: text/csv; numbers=point or numbers=table (mlops predict -numbers)", orMissing(point), orMissing(own))
	}
	return own, nil
}

func orMissing(value []byte) string {
	if value == nil {
		return "missing"
	}
	return string(value)
}

// withoutUnit takes the column's unit from before or behind a number, with the blanks
// between them: "-$ 5" is -5. A field without it, or with more than one, stays as it is.
func (c *Column) withoutUnit(field []byte) []byte {
	unit := []byte(c.Unit)
	sign, number := []byte(nil), field
	if behind, ok := bytes.CutSuffix(field, unit); ok {
		number = behind
	} else {
		if field[0] == '-' || field[0] == '+' {
			sign, number = field[:1:1], bytes.TrimSpace(field[1:])
		}
		before, ok := bytes.CutPrefix(number, unit)
		if !ok {
			return field
		}
		number = before
	}
	number = bytes.TrimSpace(number)
	if len(number) == 0 || bytes.Contains(number, unit) {
		return field
	}
	return append(sign, number...)
}

// plain writes a number without thousands separators and with a decimal point.
// Separators have to part groups of three digits.
func (s *Source) plain(field []byte) ([]byte, bool) {
	decimal := s.Decimal
	if decimal == "" {
		decimal = "."
	}
	whole, fraction, pointed := bytes.Cut(field, []byte(decimal))
	if s.Thousands != "" && bytes.Contains(whole, []byte(s.Thousands)) {
		groups := bytes.Split(whole, []byte(s.Thousands))
		for i, g := range groups {
			if i > 0 && len(g) != 3 || i == 0 && len(bytes.TrimLeft(g, "+-")) == 0 {
				return nil, false
			}
		}
		whole = bytes.Join(groups, nil)
	}
	if !pointed {
		// A point in a table with a decimal comma is no digit of anything.
		return whole, decimal == "." || !bytes.Contains(whole, []byte("."))
	}
	if bytes.Contains(whole, []byte(".")) || bytes.Contains(fraction, []byte(".")) && decimal != "." {
		return nil, false
	}
	return append(append(bytes.Clone(whole), '.'), fraction...), true
}
