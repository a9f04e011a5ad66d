package inspect

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"mlops/internal/dataset"
)

// Target looks at the values of the target, with their rows: what the spec calls
// positive and no row has, and what is another spelling of it and so counts as
// negative. That some row has a positive value, and some row another, is for the step
// load-val-test-data to see, which refuses anything else.
func Target(t *dataset.Target, rows map[string]int) []Finding {
	var found []Finding
	say := func(n int, format string, args ...any) {
		found = append(found, Finding{Level: Warning, Kind: "target", Value: float64(n), Text: fmt.Sprintf(format, args...)})
	}
	for _, p := range t.Positive {
		if rows[p] == 0 {
			say(0, "no row has %s = %q, which target.positive names; there are %s", t.Column, p, list(rows))
		}
	}
	for _, v := range slices.Sorted(maps.Keys(rows)) {
		if slices.Contains(t.Positive, v) {
			continue
		}
		for _, p := range t.Positive {
			if strings.EqualFold(bare(v), bare(p)) {
				say(rows[v], "%s = %q (rows: %d) counts as negative, though it is another spelling of %q: add it to target.positive if it means the same", t.Column, v, rows[v], p)
				break
			}
		}
	}
	return found
}

// bare is a value without the marks around it, in which spellings differ besides
// their capitals.
func bare(v string) string { return strings.Trim(v, " \t\u00a0.'\"") }

// listed is how many values of the target a finding lists.
const listed = 10

func list(rows map[string]int) string {
	values := slices.SortedFunc(maps.Keys(rows), func(a, b string) int {
		return cmp.Or(cmp.Compare(rows[b], rows[a]), cmp.Compare(a, b))
	})
	var words []string
	for _, v := range values[:min(len(values), listed)] {
		words = append(words, fmt.Sprintf("%s (%d)", dataset.Quote([]byte(v)), rows[v]))
	}
	if len(values) > listed {
		words = append(words, "others")
	}
	return strings.Join(words, ", ")
}
