package promote

import (
	"fmt"
	"strings"
	"testing"

	"mlops/internal/dataset"
	"mlops/internal/model"
)

// TestSeen tells models that were trained on today's validation rows from others.
func TestSeen(t *testing.T) {
	t.Parallel()
	const hash = "salts: [s], train: 60, validation: 20, test: 20"
	from := func(validation, test string) string {
		return fmt.Sprintf("by: day, validation_from: %s, test_from: %s", validation, test)
	}
	for _, tt := range []struct {
		why, was, is string
		seen         bool
	}{
		{"the same hash", hash, hash, false},
		{"the same boundaries", from("2024-01-01", "2024-07-01"), from("2024-01-01", "2024-07-01"), false},
		{"later boundaries", from("2024-01-01", "2024-07-01"), from("2024-03-01", "2024-09-01"), false},
		{"earlier boundaries", from("2024-01-01", "2024-07-01"), from("2023-12-31", "2024-07-01"), true},
		{"another column", from("2024-01-01", "2024-07-01"), strings.Replace(from("2024-01-01", "2024-07-01"), "day", "other", 1), true},
		{"a hash before", hash, from("2024-01-01", "2024-07-01"), true},
		{"a hash now", from("2024-01-01", "2024-07-01"), hash, true},
	} {
		t.Run(tt.why, func(t *testing.T) {
			t.Parallel()
			why := seen(&model.Model{Spec: specSplit(t, tt.was)}, specSplit(t, tt.is))
			if (why != "") != tt.seen {
				t.Errorf("got %q, want that it saw them: %v", why, tt.seen)
			}
		})
	}
}

func specSplit(t *testing.T, split string) *dataset.Spec {
	t.Helper()
	spec, err := dataset.Parse([]byte(`name: things
model: things
task: binary
columns:
  - {name: day, type: date}
  - {name: other, type: date}
  - {name: size, type: number}
  - {name: good, type: category}
target: {column: good, positive: ["yes"]}
split: {` + split + `}
features: [{number: size}]
threshold: {maximize: f1}
candidates: [{name: one, rounds: 5}]
`))
	if err != nil {
		t.Fatal(err)
	}
	return spec
}
