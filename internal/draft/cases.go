package draft

import (
	"fmt"
	"regexp"
	"strings"

	"mlops/internal/dataset"
	"mlops/internal/progress"
)

const (
	// mostOfFactor is how many values a column has, at most, whose combinations with others are
	// counted, and leastCombined how many combinations there are, at least.
	mostOfFactor, leastCombined = 30, 16
)

// ofCases is a name of counts.
var ofCases = regexp.MustCompile(`(?i)^(n|nn|count|counts|cnt|freq|frequency|cases|number|num|anzahl|häufigkeit|effectif)$`)

// casesCounted warns of a table of counts: each combination of the other columns' values comes
// in one row, and one column says how many cases it stands for.
func (s *sample) casesCounted() string {
	if s.every > 1 || s.spec.Task == dataset.Regression {
		return "" // of a sample, nothing comes twice; or the count is to be predicted
	}
	counts, combined, target := -1, 1.0, false
	var factors []int
	for i := range s.spec.Columns {
		c := &s.spec.Columns[i]
		if c.Name == s.spec.Key {
			continue
		}
		values, whole := map[string]bool{}, c.Type == dataset.Integer || c.Type == dataset.Number
		for r := range s.rows {
			v := s.rows[r].value(i)
			values[string(v)] = true
			x, ok := dataset.ParseNumber(v)
			whole = whole && ok && x >= 0 && x == float64(int64(x))
		}
		switch {
		case len(values) < 2:
		case len(values) <= mostOfFactor && !(whole && ofCases.MatchString(c.Name)):
			factors = append(factors, i)
			combined *= float64(len(values))
			target = target || c.Name == s.spec.Target.Column
		case counts < 0 && whole:
			counts = i
		default:
			return ""
		}
	}
	if !target || counts < 0 || len(factors) < 2 || combined < leastCombined || 2*float64(len(s.rows)) < combined {
		return ""
	}
	seen := map[string]bool{}
	for r := range s.rows {
		var b strings.Builder
		for _, i := range factors {
			fmt.Fprintf(&b, "%q,", s.rows[r].value(i))
		}
		if seen[b.String()] {
			return ""
		}
		seen[b.String()] = true
	}
	return fmt.Sprintf("each of %s is another combination of the other columns' values, and %s seems to count the cases of each: a model and its figures would take each combination for one case, and know its count. Write a row for each case, without %[2]s",
		progress.Counted(int64(len(s.rows)), "row"), s.spec.Columns[counts].Name)
}
