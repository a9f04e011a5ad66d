package draft

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"mlops/internal/dataset"
	"mlops/internal/inspect"
	"mlops/internal/progress"
)

const (
	// Two columns are one in other words if so many rows have a value that an earlier one
	// has, and so many have another than the most frequent one: fewer go together by chance.
	leastAgain, leastOther = 20, 5
	// leastOnLine is how many different numbers are on a straight line by no chance.
	leastOnLine = 10
	// sameShare is how far from a straight line a number may be, of the distance of the
	// farthest two: what the digits of a float64 leave.
	sameShare = 1e-6
	// mostSame is how many columns are told with those that say the same.
	mostSame = 5
)

// same warns of columns that features are made of and that say the same in every row: the
// same value, a number times a factor, or other words for it.
func (s *sample) same() (all []string) {
	used := s.used()
	var order []uint64
	alike := map[uint64][]int{} // columns by where their values come again
	again, onLine := map[uint64]bool{}, map[uint64]bool{}
	for i := range s.spec.Columns {
		if !used[s.spec.Columns[i].Name] {
			continue
		}
		id, distinct, often := s.pattern(i)
		if distinct < 2 {
			continue
		}
		if alike[id] == nil {
			order = append(order, id)
		}
		alike[id] = append(alike[id], i)
		again[id], onLine[id] = often, often || distinct >= leastOnLine
	}
	more := 0
	for _, id := range order {
		for left := alike[id]; len(left) > 1; {
			first, rest := left[0], []int(nil)
			var said []string
			for _, i := range left[1:] {
				how := ""
				if s.equal(first, i) {
					how = "the same values"
				} else if onLine[id] {
					how = s.line(first, i)
				}
				if how == "" && again[id] {
					how = s.oneToOne(first, i)
				}
				if how == "" {
					rest = append(rest, i)
					continue
				}
				said = append(said, fmt.Sprintf("%s (%s)", s.spec.Columns[i].Name, how))
			}
			left = rest
			switch {
			case len(said) == 0:
			case len(all) == mostSame:
				more++
			default:
				all = append(all, s.sameText(s.spec.Columns[first].Name, said))
			}
		}
	}
	if more > 0 {
		all[len(all)-1] += fmt.Sprintf("; the same goes for %s", progress.Counted(int64(more), "other column"))
	}
	return all
}

// used are the columns that features are made of.
func (s *sample) used() map[string]bool {
	used := map[string]bool{}
	for i := range s.spec.Features {
		for _, name := range s.spec.Features[i].Columns() {
			used[name] = true
		}
	}
	return used
}

func (s *sample) sameText(name string, others []string) string {
	if n := len(others); n > 6 {
		others = append(others[:5:5], fmt.Sprintf("%d more", n-5))
	}
	which := others[0]
	if last := len(others) - 1; last > 0 {
		which = strings.Join(others[:last], ", ") + " and " + others[last]
	}
	return fmt.Sprintf("%s says the same as %s, in all %s: a model needs one of them; take the rest out of features, else their importance is divided among them", name, which, s.counted(len(s.rows)))
}

// counted is a number of the sample's rows, which says so if they aren't all that there are.
func (s *sample) counted(n int) string {
	text := progress.Counted(int64(n), "row")
	if s.every > 1 {
		text += " that were compared"
	}
	return text
}

// pattern is a number that two columns share if each value of one stands where one value of
// the other does, with how many different values there are, and whether they come again often
// enough for that to be no chance.
func (s *sample) pattern(at int) (id uint64, distinct int, often bool) {
	codes := map[string]uint64{}
	counts := []int{}
	known := 0
	for i := range s.rows {
		code := uint64(0)
		if v := s.rows[i].value(at); v != nil {
			var ok bool
			if code, ok = codes[string(v)]; !ok {
				code = uint64(len(codes) + 1)
				codes[string(v)] = code
				counts = append(counts, 0)
			}
			counts[code-1]++
			known++
		}
		id = inspect.Scatter(id + code + 0x9e3779b97f4a7c15)
	}
	if known == 0 {
		return id, 0, false
	}
	return id, len(codes), known-len(codes) >= leastAgain && known-slices.Max(counts) >= leastOther
}

// oneToOne says that each value of a column stands for one of another, with an example of
// two that differ.
func (s *sample) oneToOne(a, b int) string {
	for i := range s.rows {
		if v, of := s.rows[i].value(b), s.rows[i].value(a); string(v) != string(of) {
			return fmt.Sprintf("one to one, such as %s for %s", dataset.Quote(v), dataset.Quote(of))
		}
	}
	return "one to one"
}

// equal reports whether two columns have the same value in each row.
func (s *sample) equal(a, b int) bool {
	for i := range s.rows {
		if string(s.rows[i].value(a)) != string(s.rows[i].value(b)) {
			return false
		}
	}
	return true
}

// line says by which factor and offset the numbers of a column are those of another; "" if
// they aren't. Both have values in the same rows.
func (s *sample) line(a, b int) string {
	number := func(row, at int) (float64, bool) { return dataset.ParseNumber(s.rows[row].value(at)) }
	least, most := -1, -1
	var low, high float64
	for i := range s.rows {
		if s.rows[i].value(a) == nil {
			continue
		}
		x, ok := number(i, a)
		if !ok {
			return ""
		}
		if least < 0 || x < low {
			least, low = i, x
		}
		if most < 0 || x > high {
			most, high = i, x
		}
	}
	from, ok1 := number(least, b)
	to, ok2 := number(most, b)
	if !ok1 || !ok2 || low == high {
		return ""
	}
	factor := (to - from) / (high - low)
	for i := range s.rows {
		if s.rows[i].value(a) == nil {
			continue
		}
		x, _ := number(i, a)
		if y, ok := number(i, b); !ok || !(math.Abs(y-from-factor*(x-low)) <= sameShare*math.Abs(to-from)) {
			return ""
		}
	}
	offset := from - factor*low
	times := fmt.Sprintf("%.6g times as much", factor)
	if factor == 1 {
		times = "as much"
	}
	switch {
	case math.Abs(offset) <= sameShare*math.Abs(to-from):
		return times
	case offset < 0:
		return fmt.Sprintf("%s, less %.6g", times, -offset)
	}
	return fmt.Sprintf("%s, plus %.6g", times, offset)
}
