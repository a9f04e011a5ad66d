package dataset

import (
	"math"
	"slices"
	"strings"
)

// Kinds of features of earlier rows. Each looks at one value per earlier row, which
// the feature's other keys name as they do for a feature of the row itself.
const (
	HistoryCount     = "count"      // how many earlier rows there are
	HistorySum       = "sum"        // of the numbers
	HistoryMean      = "mean"       // of the numbers
	HistoryLargest   = "largest"    // of the numbers
	HistoryLast      = "last"       // the last row's number or level
	HistoryChange    = "change"     // the row's own number less the last row's
	HistorySame      = "same"       // 1 if the row's own value is the last row's, else 0
	HistoryDaysSince = "days_since" // days from the last row's date to the row's own, without regard to times of day
)

// HistoryKinds are all of them.
var HistoryKinds = []string{HistoryCount, HistorySum, HistoryMean, HistoryLargest, HistoryLast, HistoryChange, HistorySame, HistoryDaysSince}

// HistoryMember is the member of a record to predict that holds the earlier ones.
const HistoryMember = "history"

// HasHistory reports whether a feature looks at earlier rows.
func (s *Spec) HasHistory() bool { return s.history }

// LooksAtRow reports whether the feature depends on the row itself, and not on
// earlier ones only.
func (f *Feature) LooksAtRow() bool {
	switch f.History {
	case "", HistoryChange, HistorySame, HistoryDaysSince:
		return true
	}
	return false
}

// history checks the keys about earlier rows that are not a feature's.
func (c *checker) history(s *Spec) {
	s.history = slices.ContainsFunc(s.Features, func(f Feature) bool { return f.History != "" })
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
	if !s.history {
		return
	}
	if s.Order == "" {
		i := slices.IndexFunc(s.Features, func(f Feature) bool { return f.History != "" })
		c.bad(at("features", i), "features of earlier rows need order: the column that orders the rows of a group")
	}
	if i := s.Column(HistoryMember); i >= 0 {
		c.bad(at("columns", i), "no column can be called %s where a feature looks at earlier rows: a record to predict holds them under that name; name it otherwise: {name: %s_value, from: %s}", HistoryMember, HistoryMember, HistoryMember)
	}
}

// historyFeature checks the keys of a feature of earlier rows.
func (c *checker) historyFeature(here []any, f *Feature) {
	levels := f.Category != "" || f.Ranges != ""
	switch f.History {
	case "", HistoryCount, HistoryLast:
	case HistorySum, HistoryMean, HistoryLargest, HistoryChange:
		if levels {
			c.bad(here, "history: %s needs numbers: number, count, date with part or days_from", f.History)
		}
	case HistorySame:
		if f.FoldBelow != 0 {
			c.bad(here, "history: %s compares the values themselves, so fold_below says nothing", HistorySame)
		}
	case HistoryDaysSince:
		if f.Date == "" {
			c.bad(here, "history: %s needs date: a date column", HistoryDaysSince)
		}
	default:
		c.bad(here, "history is %q; it can be: %s%s", f.History, strings.Join(HistoryKinds, ", "), meant(f.History, HistoryKinds))
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
