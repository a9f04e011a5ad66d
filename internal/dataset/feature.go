package dataset

import (
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Columns returns the names of the columns that the feature is made of.
func (f *Feature) Columns() []string {
	switch {
	case f.Number != "":
		return []string{f.Number}
	case f.Category != "":
		return []string{f.Category}
	case f.Ranges != "":
		return []string{f.Ranges}
	case f.Date != "":
		return []string{f.Date}
	case f.DaysFrom != "":
		if _, fixed := f.ToDate(); fixed {
			return []string{f.DaysFrom}
		}
		return []string{f.DaysFrom, f.To}
	}
	return f.Count
}

// Contributors returns the names under which the contributions of features are summed,
// and for each feature which of them share its contribution in equal parts: the columns
// that it is made of, or, if it looks at earlier rows, EarlierMember.
func (s *Spec) Contributors() (names []string, of [][]int) {
	of = make([][]int, len(s.Features))
	for i := range s.Features {
		f := &s.Features[i]
		columns := f.Columns()
		if f.Earlier != "" {
			columns = []string{EarlierMember}
		}
		for _, name := range columns {
			at := slices.Index(names, name)
			if at < 0 {
				at, names = len(names), append(names, name)
			}
			of[i] = append(of[i], at)
		}
	}
	return names, of
}

// ToDate returns the date of To, and whether it is one and not a column.
func (f *Feature) ToDate() (time.Time, bool) { return ParseDate([]byte(f.To)) }

// Categorical reports whether the feature's values are levels.
func (f *Feature) Categorical() bool {
	return (f.Category != "" || f.Ranges != "") && (f.Earlier == "" || f.Earlier == EarlierLast)
}

// usualName is what the feature is called where the spec gives it no name.
func (f *Feature) usualName() string {
	if f.Earlier == EarlierCount {
		return "history_count"
	}
	name := f.Columns()[0]
	switch {
	case f.Ranges != "":
		name += "_range"
	case f.Date != "" && f.Part != "":
		name += "_" + f.Part
	case f.DaysFrom != "":
		name = "days_from_" + f.DaysFrom + "_to_" + f.To
	}
	if f.Earlier != "" {
		name = f.Earlier + "_" + name
	}
	return name
}

// Words is what people call the feature: in the words of its columns' labels, unless the
// spec gives it a name of its own.
func (s *Spec) Words(f *Feature) string {
	if f.Name != f.usualName() {
		first, size := utf8.DecodeRuneInString(f.Name)
		return string(unicode.ToUpper(first)) + strings.ReplaceAll(f.Name[size:], "_", " ")
	}
	if f.Earlier == EarlierCount {
		return "Earlier records"
	}
	label := func(name string) string {
		if i := s.Column(name); i >= 0 && s.Columns[i].Label != "" {
			return s.Columns[i].Label
		}
		return name
	}
	words := label(f.Columns()[0])
	switch {
	case f.Ranges != "":
		words += ", by range"
	case f.Date != "" && f.Part != "":
		words += ", " + f.Part
	case f.DaysFrom != "":
		to := f.To
		if _, date := f.ToDate(); !date {
			to = label(f.To)
		}
		words = "Days from " + label(f.DaysFrom) + " to " + to
	}
	switch f.Earlier {
	case EarlierSum:
		words += ", all earlier records together"
	case EarlierMean:
		words += ", mean of the earlier records"
	case EarlierLargest:
		words += ", largest of the earlier records"
	case EarlierLast:
		words += ", in the record before"
	case EarlierChange:
		words += ", change since the record before"
	case EarlierSame:
		words += ", same as in the record before"
	case EarlierDaysSince:
		words += ", days since the record before"
	}
	return words
}
