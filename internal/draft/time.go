package draft

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mlops/internal/dataset"
	"mlops/internal/inspect"
)

// alikeInTime is how alike the targets of rows next to each other in time are, from which
// on a split by a hash says little about the future.
const alikeInTime = 0.5

// ByHash is what Options.SplitBy says of a draft whose rows are split by a hash.
const ByHash = "hash"

// yearly is a name of numbers that are points in time if they look like years.
var yearly = regexp.MustCompile(`(?i)(^|[_ .-])(year|yr|season|date|time|period)s?$|(?-i:[a-z](Year|Season|Date|Time|Period)$)`)

const firstYear, lastYear = 1500, 2200

// inTime is a column by which rows next to each other have alike targets.
type inTime struct {
	column         string
	alike          float64
	validation     string // the least value of the validation rows, in canonical form
	test           string
	reason, target string
}

// inTime finds a column in time by which the target hardly changes from one row to the
// next; nil if there is none. train and rest are the shares of the rows that should train,
// and validate or test, in percent.
func (s *sample) inTime(train, rest int) *inTime {
	y := s.labels()
	var group inspect.Column
	if at := s.spec.Column(s.spec.Group); at >= 0 {
		group = s.column(at)
	}
	for i := range s.spec.Columns {
		c := &s.spec.Columns[i]
		if c.Name == s.spec.Target.Column || !s.isTime(i) {
			continue
		}
		alike := inspect.AlikeInTime(s.spec, s.column(i), group, y)
		if alike < alikeInTime {
			continue
		}
		t := &inTime{column: c.Name, alike: alike, target: s.spec.Target.Column}
		t.reason = fmt.Sprintf("rows next to each other by %s have alike %s (%.2f, where 1 is the same)", c.Name, t.target, alike)
		t.validation, t.test, _ = s.boundaries(i, train, rest)
		return t
	}
	return nil
}

// partOfYear is a name of numbers that count months, quarters or weeks of a year.
var partOfYear = regexp.MustCompile(`(?i)(^|[_ .-])(month|mon|mo|quarter|qtr|week|wk|mois|monat|mes)$|(?-i:[a-z](Month|Quarter|Week)$)`)

// twoColumns warns of a year in one column and its month or the like in another, by which
// together the target hardly changes from one row to the next; "" if there is none.
func (s *sample) twoColumns() string {
	y := s.labels()
	for i := range s.spec.Columns {
		if c := &s.spec.Columns[i]; c.Type == dataset.Date || c.Name == s.spec.Target.Column || !s.isTime(i) {
			continue
		}
		for j := range s.spec.Columns {
			part := &s.spec.Columns[j]
			if part.Name == s.spec.Target.Column || !partOfYear.MatchString(part.Name) {
				continue
			}
			when := inspect.Column{Name: part.Name, Values: make([]float32, len(s.rows))}
			for r := range s.rows {
				year, _ := dataset.ParseNumber(s.rows[r].value(i))
				of, ok := dataset.ParseNumber(s.rows[r].value(j))
				if when.Values[r] = float32(100*year + of); !ok || of < 1 || of > 53 || year == 0 {
					when.Values[r] = float32(math.NaN())
				}
			}
			var group inspect.Column
			if at := s.spec.Column(s.spec.Group); at >= 0 {
				group = s.column(at)
			}
			if alike := inspect.AlikeInTime(s.spec, when, group, y); alike >= alikeInTime {
				return fmt.Sprintf("rows next to each other by %s and %s together have alike %s (%.2f, where 1 is the same): if they came about in that order, the figures of a split by a hash say how well a gap between known rows is filled; a split takes one column, so write both into one, such as 2024-03 or 2024-W09, to split by time",
					s.spec.Columns[i].Name, part.Name, s.spec.Target.Column, alike)
			}
		}
	}
	return ""
}

// atOnce warns of dates that several rows have, with alike targets that the rows of the next
// date don't have: those of one event.
func (s *sample) atOnce() string {
	if s.spec.Group != "" || s.spec.ByTime() {
		return ""
	}
	y := s.labels()
	for i := range s.spec.Columns {
		c := &s.spec.Columns[i]
		if c.Type != dataset.Date || c.Name == s.spec.Target.Column || !inspect.MayBeEvents(s.distinct(i), int64(len(s.rows))) {
			continue
		}
		if inspect.AlikeWithin(s.spec, s.column(i), s.parts(i), y) {
			return fmt.Sprintf("the rows with the same %s have alike %s, which those of the next one have not: if they are of one event, the figures are too good, as its rows are in two splits; say group: %[1]s, without a feature of it",
				c.Name, s.spec.Target.Column)
		}
	}
	return ""
}

// parts are those of a column of dates that come again in others.
func (s *sample) parts(at int) []inspect.Column {
	var all []inspect.Column
	for _, part := range dataset.Parts {
		if part == "year" {
			continue
		}
		c := inspect.Column{Name: part, Values: make([]float32, len(s.rows))}
		for i := range s.rows {
			t, _ := dataset.ParseDate(s.rows[i].value(at))
			c.Values[i] = float32(dataset.Part(t, part))
		}
		if slices.Min(c.Values) != slices.Max(c.Values) {
			all = append(all, c)
		}
	}
	return all
}

// distinct is how many different values a column has; 0 if one is missing.
func (s *sample) distinct(at int) int64 {
	values := map[string]bool{}
	for i := range s.rows {
		v := s.rows[i].value(at)
		if v == nil {
			return 0
		}
		values[string(v)] = true
	}
	return int64(len(values))
}

// isTime reports whether a column is one of points in time.
func (s *sample) isTime(at int) bool {
	switch c := &s.spec.Columns[at]; {
	case c.Type == dataset.Date:
		return true
	case c.Type != dataset.Integer && c.Type != dataset.Number || !yearly.MatchString(c.Name):
		return false
	}
	for i := range s.rows {
		if v := s.rows[i].value(at); v != nil {
			if x, ok := dataset.ParseNumber(v); !ok || x < firstYear || x > lastYear {
				return false
			}
		}
	}
	return true
}

// boundaries are the values of a column from which on rows validate and test, so that
// about as many percent as wanted train. ok is false where there are too few values.
func (s *sample) boundaries(at, train, rest int) (validation, test string, ok bool) {
	date := s.spec.Columns[at].Type == dataset.Date
	var values []string
	for i := range s.rows {
		if v := s.rows[i].value(at); v != nil {
			values = append(values, string(v))
		}
	}
	compare := func(a, b string) int {
		x, _ := strconv.ParseFloat(a, 64)
		y, _ := strconv.ParseFloat(b, 64)
		switch {
		case date:
			return strings.Compare(a, b)
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	}
	slices.SortFunc(values, compare)
	after := func(v string, from int) string { // the least value above v at a place or behind it
		for ; from < len(values); from++ {
			if compare(values[from], v) > 0 {
				return values[from]
			}
		}
		return ""
	}
	if len(values) == 0 {
		return "", "", false
	}
	if validation = values[len(values)*train/100]; compare(validation, values[0]) == 0 {
		validation = after(validation, 0)
	}
	if test = values[len(values)*(train+rest)/100]; validation != "" && compare(test, validation) <= 0 {
		test = after(validation, 0)
	}
	if validation == "" || test == "" {
		return "", "", false
	}
	if date { // whole days, where there are several
		v, t := dayOf(validation), dayOf(test)
		if v > values[0] && t > v {
			validation, test = v, t
		}
	}
	return validation, test, true
}

// dayOf is a date in canonical form without its time of day.
func dayOf(date string) string {
	day, _, _ := strings.Cut(date, "T")
	return day
}

// warning says what a split by a hash does to rows that are alike in time, and what
// helps.
func (t *inTime) warning() string {
	text := t.reason + ": if the rows came about in that order, the figures of a split by a hash say how well a gap between known rows is filled, not how well the future is predicted"
	if t.validation != "" {
		text += fmt.Sprintf("; to know that, split: {by: %s, validation_from: %s, test_from: %s}", quote(t.column), quote(t.validation), quote(t.test))
	}
	return text
}

// splitInTime splits the draft's rows by time, where the user says so, or where rows next
// to each other in time are alike and each split has enough rows.
func (d *Draft) splitInTime(ctx context.Context, address, by string) error {
	train, rest := d.shares()
	switch by {
	case ByHash:
		return nil
	case "":
		if d.inTime = d.sample.inTime(train, rest); d.inTime == nil || d.inTime.validation == "" {
			return nil
		}
	default:
		i := slices.IndexFunc(d.columns, func(c *column) bool { return c.drop == "" && (c.name == by || c.as == by) })
		if i < 0 {
			return d.noColumn(by)
		}
		c := d.columns[i]
		if c == d.target || c.kind != dataset.Date && c.kind != dataset.Integer && c.kind != dataset.Number {
			return &Error{fmt.Sprintf("rows can't be split by %q: it takes a column of dates, or of numbers such as a year, that is not the target", by)}
		}
		t := &inTime{column: c.as, reason: "named by the user"}
		var ok bool
		if t.validation, t.test, ok = d.sample.boundaries(d.Spec.Column(c.as), train, rest); !ok {
			return &Error{fmt.Sprintf("rows can't be split by %q: it has fewer than three values", by)}
		}
		d.inTime = t
	}
	d.timed = true
	if err := d.try(ctx, address); err != nil {
		return err
	}
	if by != "" || len(d.Preview.Stops(d.Spec)) == 0 {
		return d.withoutTime()
	}
	d.timed = false // the warning stays
	return d.try(ctx, address)
}
