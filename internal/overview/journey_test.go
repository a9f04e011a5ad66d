package overview

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/ingest"
	"mlops/internal/inspect"
)

func encode(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestJourney(t *testing.T) {
	t.Parallel()
	var j Journey
	if got := j.String(); got != "" {
		t.Errorf("a journey of which nothing is known says %q", got)
	}
	load := ingest.Report{Step: "load-raw-data", Read: 1500, Taken: 1400, Known: 20, Rejected: 80, Losses: []ingest.Loss{{Column: "age", Reason: "not an integer", Rows: 80, Line: 7, Value: "39.5"}}}
	for _, outputs := range []map[string]string{
		{"report": encode(t, load)},
		{"version": "3"},
		{"candidates": `["one"]`, "findings": encode(t, []inspect.Finding{{Level: inspect.Warning, Kind: "constant", Feature: "shop", Text: "it has one value"}})},
		{"promoted": "1", "decision": "not promoted: version 2 is no better than version 1"},
	} {
		if err := j.Add(outputs); err != nil {
			t.Fatal(err)
		}
	}
	want := `  load-raw-data: 1,500 read, 1,400 taken, 20 known before, 80 rejected
    80 rows rejected: column age is not an integer; for example line 7: "39.5"
  inspected before training: 1 finding
    warning  constant  shop  it has one value
  promote-best-model: not promoted: version 2 is no better than version 1
`
	if diff := cmp.Diff(want, j.String()); diff != "" {
		t.Errorf("last screen (-want +got):\n%s", diff)
	}
	if err := j.Add(map[string]string{"findings": "no JSON"}); err == nil {
		t.Error("took findings that are no JSON")
	}
}
