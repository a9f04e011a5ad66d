package dataset

import (
	"time"
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
