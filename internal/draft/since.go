package draft

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"mlops/internal/dataset"
)

const (
	// Rows at one end of time have the same target by no chance if one would expect so many
	// others among them, and no other rows of consecutive dates, of a third as many, have it.
	leastOthers, timesRun = 20, 3
	// leastElsewhere is the share of the other rows that have this target, at least: else it
	// says what those rows are, and not that nothing was noted.
	leastElsewhere = 0.1
	// nextOthers is how many others the rows next to them would have, of which half are there:
	// what begins on one day does not come about little by little.
	nextOthers = 30
)

// noted warns of rows at one end of time that all have the same target, which the rows next to
// them have not: those before outcomes were noted, or whose outcome isn't known yet.
func (s *sample) noted() string {
	target := s.spec.Column(s.spec.Target.Column)
	for i := range s.spec.Columns {
		if i == target || !s.isTime(i) {
			continue
		}
		rows, when := s.inOrder(i)
		for _, end := range []struct{ which, until, why string }{
			{"earliest", "up to %s", "were outcomes noted only after that? If not, these rows don't say what theirs is"},
			{"latest", "from %s on", "are their outcomes known yet? A row whose outcome is not known counts as if it were"},
		} {
			n, share := s.sameAtEnd(rows, when)
			// What wasn't noted counts as negative; of the latest rows, unsettled tells it.
			if n > 0 && (s.spec.Task != dataset.Binary || end.which == "earliest" && s.rows[rows[0]].label == 0) {
				return fmt.Sprintf("the %s %s, by %s (%s), all have %s in %s, which %.3g %% of the others have: %s; leave such rows out of the table",
					end.which, s.counted(n), s.spec.Columns[i].Name, fmt.Sprintf(end.until, s.rows[rows[n-1]].value(i)), s.targetOf(rows[0], target), s.spec.Target.Column, 100*share, end.why)
			}
			slices.Reverse(rows)
		}
	}
	return ""
}

// sameAtEnd is how many of the first of some rows, which are in the order of when, have the same
// target as no others do, and the share of the others that have it; 0: none.
func (s *sample) sameAtEnd(rows []int, when []float32) (n int, share float64) {
	if len(rows) == 0 {
		return 0, 0
	}
	label := s.rows[rows[0]].label
	run, longest, has, next := 0, 0, 0, 0 // of the dates of one target; has: beyond the first of them
	ended := false
	for from := 0; from < len(rows); {
		to, same := from, 0
		for to < len(rows) && when[rows[to]] == when[rows[from]] {
			if s.rows[rows[to]].label == label {
				same++
			}
			to++
		}
		if same == to-from {
			run += same
		} else {
			if !ended {
				n, next, ended = run, to, true // on that date, it may have begun
			} else {
				longest = max(longest, run)
			}
			run = 0
		}
		if ended {
			has += same
		}
		from = to
	}
	if !ended || n < timesRun*max(longest, run) {
		return 0, 0
	}
	share = float64(has) / float64(len(rows)-n)
	if share < leastElsewhere || float64(n)*(1-share) < leastOthers {
		return 0, 0
	}
	others := 0
	for _, r := range rows[next:min(len(rows), next+int(math.Ceil(nextOthers/(1-share))))] {
		if s.rows[r].label != label {
			others++
		}
	}
	if 2*others < nextOthers {
		return 0, 0
	}
	return n, share
}

// targetOf is the target of a row as the table has it.
func (s *sample) targetOf(row, target int) string {
	if s.spec.Task == dataset.Regression {
		return strconv.FormatFloat(float64(s.rows[row].label), 'g', -1, 32)
	}
	return dataset.Quote(s.rows[row].value(target))
}
