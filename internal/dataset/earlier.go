package dataset

import (
	"math"
	"slices"
	"strings"
)

// Kinds of features of earlier rows. Each looks at one value per earlier row, which
// the feature's other keys name as they do for a feature of the row itself.
const (
	EarlierCount     = "count"      // how many earlier rows there are
	EarlierSum       = "sum"        // of the numbers
	EarlierMean      = "mean"       // of the numbers
	EarlierLargest   = "largest"    // of the numbers
	EarlierLast      = "last"       // the last row's number or level
	EarlierChange    = "change"     // the row's own number less the last row's
	EarlierSame      = "same"       // 1 if the row's own value is the last row's, else 0
	EarlierDaysSince = "days_since" // days from the last row's date to the row's own, without regard to times of day
)

// EarlierKinds are all of them.
var EarlierKinds = []string{EarlierCount, EarlierSum, EarlierMean, EarlierLargest, EarlierLast, EarlierChange, EarlierSame, EarlierDaysSince}

// EarlierMember is the member of a record to predict that holds the earlier ones.
const EarlierMember = "history"

// LooksBack reports whether a feature looks at earlier rows.
func (s *Spec) LooksBack() bool { return s.earlier }

// LooksAtRow reports whether the feature depends on the row itself, and not on
// earlier ones only.
func (f *Feature) LooksAtRow() bool {
	switch f.Earlier {
	case "", EarlierChange, EarlierSame, EarlierDaysSince:
		return true
	}
	return false
}

// earlier checks the keys about earlier rows that are not a feature's.
func (c *checker) earlier(s *Spec) {
	s.earlier = slices.ContainsFunc(s.Features, func(f Feature) bool { return f.Earlier != "" })
	if s.Order != "" {
		here := at("order")
		if col := c.column(s, here, s.Order); col != nil && !slices.Contains([]Type{Integer, Number, Date}, col.Type) {
			c.bad(here, "column %q is a %s: rows can be ordered by an integer, a number or a date", s.Order, col.Type)
		}
		switch s.Order {
		case s.Target.Column:
			c.bad(here, "column %q is the target: it can't be the order too", s.Order)
		case s.Group:
			c.bad(here, "column %q is the group: it can't order the group's rows", s.Order)
		}
		if s.Group == "" {
			c.bad(here, "order needs a group: it orders the rows of one")
		}
	}
	if !s.earlier {
		return
	}
	if s.Order == "" {
		i := slices.IndexFunc(s.Features, func(f Feature) bool { return f.Earlier != "" })
		c.bad(at("features", i), "features of earlier rows need order: the column that orders the rows of a group")
	}
	if i := s.Column(EarlierMember); i >= 0 {
		c.bad(at("columns", i), "no column can be called %s where a feature looks at earlier rows: a record to predict holds them under that name; name it otherwise: {name: %s_value, from: %s}", EarlierMember, EarlierMember, EarlierMember)
	}
}

// earlierFeature checks the keys of a feature of earlier rows.
func (c *checker) earlierFeature(here []any, f *Feature) {
	levels := f.Category != "" || f.Ranges != ""
	switch f.Earlier {
	case "", EarlierCount, EarlierLast:
	case EarlierSum, EarlierMean, EarlierLargest, EarlierChange:
		if levels {
			c.bad(here, "history: %s needs numbers: number, count, date with part or days_from", f.Earlier)
		}
	case EarlierSame:
		if f.FoldBelow != 0 {
			c.bad(here, "history: %s compares the values themselves, so fold_below says nothing", EarlierSame)
		}
	case EarlierDaysSince:
		if f.Date == "" {
			c.bad(here, "history: %s needs date: a date column", EarlierDaysSince)
		}
	default:
		c.bad(here, "history is %q; it can be: %s%s", f.Earlier, strings.Join(EarlierKinds, ", "), meant(f.Earlier, EarlierKinds))
	}
}

// LastPlace is the place of a row without a value of the order column: after all
// rows that have one.
const LastPlace = math.MaxInt64

// Place returns where a cleaned value of the order column stands: the smaller, the
// earlier. A row without one, nil, comes after all that have one. Rows with the same
// place are not before one another.
func (s *Spec) Place(value []byte) int64 {
	if value == nil {
		return LastPlace
	}
	switch s.Columns[s.Column(s.Order)].Type {
	case Integer:
		if x, _, ok := scanInteger(value); ok {
			return min(x, LastPlace-1)
		}
	case Date:
		if t, ok := ParseDate(value); ok {
			return t.UnixMicro()
		}
	default:
		if x, ok := ParseNumber(value); ok {
			bits := int64(math.Float64bits(x + 0)) // -0 is 0
			if bits < 0 {
				bits = math.MinInt64 - bits - 1 // two's complement, so that a larger magnitude is less
			}
			return bits
		}
	}
	return LastPlace
}
