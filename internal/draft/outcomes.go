package draft

import (
	"cmp"
	"fmt"
	"slices"

	"mlops/internal/dataset"
	"mlops/internal/progress"
)

const (
	// fallenTo is what is left of an outcome's share in the latest rows, at most, where it
	// seems not to be known yet.
	fallenTo = 0.25
	// leastExpected is how many of them the rows before lead one to expect, at least.
	leastExpected = 20
	// capRows, capShare and capDistinct are how many rows, and which share of them, have a
	// target's largest value, and how many values it has, at least, where larger ones seem
	// to have been cut off.
	capRows     = 20
	capShare    = 0.01
	capDistinct = 50
	// capHeap is how many times as many rows have it as the most frequent value of the
	// tenth below it, at least.
	capHeap = 4
	// leastPure is how many rows of one outcome one expects, at least, among those in which
	// a column is filled in, or not 0, where not a single one is there.
	leastPure = 15
	// mostPure is how many such columns are told.
	mostPure = 5
)

// outcomes warns of a target that isn't what it seems in some rows, not known yet or cut off,
// and of columns that somebody filled in who knew it.
func (s *sample) outcomes() []string {
	if len(s.rows) == 0 {
		return nil
	}
	var texts []string
	for _, text := range []string{cmp.Or(s.unsettled(), s.noted()), s.capped(), s.casesCounted()} {
		if text != "" {
			texts = append(texts, text)
		}
	}
	return slices.Concat(texts, s.filledIn(), s.remarks())
}

// unsettled warns of an outcome that the latest rows hardly have, though those just before
// them do: one that takes time, such as a cancellation, is written as the other meanwhile.
func (s *sample) unsettled() string {
	if s.spec.Task != dataset.Binary {
		return ""
	}
	for i := range s.spec.Columns {
		c := &s.spec.Columns[i]
		if c.Name == s.spec.Target.Column || !s.isTime(i) {
			continue
		}
		rows, when := s.inOrder(i)
		for _, share := range []int{20, 10, 5} {
			from := len(rows) - len(rows)*share/100
			for from < len(rows) && from > 0 && when[rows[from]] == when[rows[from-1]] {
				from++ // whole dates
			}
			if text := s.fallen(rows, from); text != "" {
				return fmt.Sprintf("of the latest %s, by %s (from %s on) %s: are their outcomes known yet? A row whose outcome is not known counts as the other one; leave such rows out of the table until it is",
					s.counted(len(rows)-from), c.Name, s.rows[rows[from]].value(i), text)
			}
		}
	}
	return ""
}

// inOrder are the rows that have a value of a column, in the order of these values, and the
// values of all rows.
func (s *sample) inOrder(column int) (rows []int, values []float32) {
	values = s.column(column).Values
	for r, x := range values {
		if x == x { // not missing
			rows = append(rows, r)
		}
	}
	slices.SortStableFunc(rows, func(a, b int) int { return cmp.Compare(values[a], values[b]) })
	return rows, values
}

// fallen says of rows in the order of time how many of the latest have an outcome that those
// before, twice as many, have far more often; "" if neither is such a one.
func (s *sample) fallen(rows []int, from int) string {
	before, latest := rows[max(0, from-2*(len(rows)-from)):from], rows[from:]
	if len(before) == 0 {
		return ""
	}
	had, has := s.positives(before), s.positives(latest)
	for _, o := range []struct {
		word     string
		had, has int
	}{{"positive", had, has}, {"negative", len(before) - had, len(latest) - has}} {
		share := float64(o.had) / float64(len(before))
		if expected := share * float64(len(latest)); expected >= leastExpected && float64(o.has) <= fallenTo*expected {
			return fmt.Sprintf("%s are %s, of those just before %.3g %%", progress.Count(int64(o.has)), o.word, 100*share)
		}
	}
	return ""
}

// positiveShare is the share of positive rows among all, of a binary target.
func (s *sample) positiveShare() float64 {
	positive := 0.0
	for i := range s.rows {
		positive += float64(s.rows[i].label)
	}
	return positive / float64(len(s.rows))
}

func (s *sample) positives(rows []int) (n int) {
	for _, r := range rows {
		if s.rows[r].label == 1 {
			n++
		}
	}
	return n
}

// capped warns of a number to predict whose largest value is that of many rows, as where
// larger ones were cut off. 1 and 100 may be the end of a scale.
func (s *sample) capped() string {
	if s.spec.Task != dataset.Regression {
		return ""
	}
	values := s.labels()
	slices.Sort(values)
	most, distinct := values[len(values)-1], 1
	for i := 1; i < len(values); i++ {
		if values[i] != values[i-1] {
			distinct++
		}
	}
	at, _ := slices.BinarySearch(values, most)
	n := len(values) - at
	if most == 1 || most == 100 || distinct < capDistinct || n < capRows || float64(n) < capShare*float64(len(values)) {
		return ""
	}
	often, run := 1, 1
	for i := max(1, at-len(values)/10); i < at; i++ {
		if run++; values[i] != values[i-1] {
			run = 1
		}
		often = max(often, run)
	}
	if n < capHeap*often {
		return ""
	}
	return fmt.Sprintf("%s: %s of %s have exactly %g, the largest value, and hardly any near it comes so often: were larger ones cut off there? The model then predicts no more than that, and its figures say nothing of larger ones",
		s.spec.Target.Column, progress.Count(int64(n)), s.counted(len(values)), most)
}

// filledIn warns of columns that have a value, or one that isn't 0, in rows of the rarer outcome
// only: what is counted or noted after it, such as refunds or the date of a complaint.
func (s *sample) filledIn() (texts []string) {
	if s.spec.Task != dataset.Binary {
		return nil
	}
	used, more := s.used(), 0
	share := s.positiveShare()
	for i := range s.spec.Columns {
		c := &s.spec.Columns[i]
		if !used[c.Name] || c.Name == s.spec.Target.Column {
			continue
		}
		given, above, zero := [2]int{}, [2]int{}, 0
		for r := range s.rows {
			v, label := s.rows[r].value(i), int(s.rows[r].label)
			if v == nil {
				continue
			}
			given[label]++
			if x, ok := dataset.ParseNumber(v); ok && x == 0 {
				zero++
			} else {
				above[label]++
			}
		}
		what, n := "has a value", given
		if zero > 0 {
			what, n = "is not 0", above
		}
		label, rows := 1, n[1]
		if n[1] == 0 {
			label, rows = 0, n[0]
		}
		word, other := "positive", 1-share
		if label == 0 {
			word, other = "negative", share
		}
		if n[0]*n[1] != 0 || other < 0.5 || float64(rows)*other < leastPure { // of two that exclude each other, most rows have neither
			continue
		}
		if len(texts) == mostPure {
			more++
			continue
		}
		texts = append(texts, fmt.Sprintf("all %s in which %s %s are %s, of all rows %.3g %%: was it noted when the outcome was known? Then leave it out",
			s.counted(rows), c.Name, what, word, 100*(1-other)))
	}
	if more > 0 {
		texts[len(texts)-1] += fmt.Sprintf("; the same goes for %s", progress.Counted(int64(more), "other column"))
	}
	return texts
}
