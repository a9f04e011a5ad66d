package overview

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/api"
	"mlops/internal/dataset"
)

func TestTruthQuery(t *testing.T) {
	text, err := os.ReadFile("../../workflows/datasets/penguins.yaml")
	if err != nil {
		t.Fatal(err)
	}
	spec, err := dataset.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	sql, args := truthQuery(spec, map[string]string{"species": "O'x", "body_mass_g": "3750", "bill_length_mm": "39.1"})
	for _, want := range []string{`"species" = $1::text::text`, `"bill_length_mm" = $2::text::double precision`, `"body_mass_g" = $3::text::bigint`, `"island" IS NULL`, "split = 'test'"} {
		if !strings.Contains(sql, want) {
			t.Errorf("query: got %s, want %q in it", sql, want)
		}
	}
	if strings.Contains(sql, `"sex" =`) || strings.Contains(sql, "O'x") {
		t.Errorf("query: got %s, with the target compared or a value in its text", sql)
	}
	if diff := cmp.Diff([]any{"O'x", "39.1", "3750"}, args); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
}

func TestCompareScores(t *testing.T) {
	view := &api.Model{Threshold: 0.5, Model: api.Version{Number: "3", RunID: "r"}, Samples: []api.Sample{{Probability: 0.2}, {Probability: 0.5}}}
	for _, tt := range []struct {
		run    string
		labels []int
		probs  []float64
		fail   string
		why    string
	}{
		{"r", []int{0, 1}, []float64{0.2, 0.5}, "", "equal; at the threshold is positive"},
		{"r", []int{0, 1}, []float64{0.2000009, 0.5}, "", "within the tolerance"},
		{"r", []int{0, 1}, []float64{0.200002, 0.5}, "record 0", "beyond it"},
		{"r", []int{0, 0}, []float64{0.2, 0.5}, "record 1: label 0", "a label against the threshold"},
		{"r", []int{0}, []float64{0.2}, "2 records, got 1", "a prediction is missing"},
		{"r", []int{1}, []float64{0.5}, "record 0: no score", "excluded"},
		{"q", []int{0, 1}, []float64{0.2, 0.5}, "version", "another version answered"},
	} {
		got := &api.Predictions{}
		if tt.why == "excluded" {
			got.Predictions = []api.Prediction{{Excluded: "died"}}
		}
		got.Model.RunID = tt.run
		for i := range tt.labels {
			got.Predictions = append(got.Predictions, api.Prediction{Label: tt.labels[i], Probability: tt.probs[i]})
		}
		err := compareScores(view, got)
		if tt.fail == "" && err != nil || tt.fail != "" && (err == nil || !strings.Contains(err.Error(), tt.fail)) {
			t.Errorf("%s: got %v, want an error with %q", tt.why, err, tt.fail)
		}
	}
}

func TestRowsCheck(t *testing.T) {
	good := func() Rows {
		return Rows{Raw: 90, RawRejected: 10, Clean: 85, CleanRejected: 5, Split: map[string]int64{"train": 60, "validation": 10, "test": 15}}
	}
	for _, tt := range []struct {
		change func(*Rows)
		want   int64
		fail   string
		why    string
	}{
		{func(*Rows) {}, 100, "", "all accounted for"},
		{func(*Rows) {}, 0, "", "the source's lines are not asked for"},
		{func(*Rows) {}, 101, "want 101", "a line is lost"},
		{func(n *Rows) { n.Clean++ }, 100, "want the 90 raw", "a row twice in clean"},
		{func(n *Rows) { n.Split[""] = 1; n.Split["test"]-- }, 100, "splits hold 84", "a row without split"},
		{func(n *Rows) { *n = Rows{} }, 0, "raw", "nothing loaded"},
	} {
		n := good()
		tt.change(&n)
		err := n.Check(tt.want)
		if tt.fail == "" && err != nil || tt.fail != "" && (err == nil || !strings.Contains(err.Error(), tt.fail)) {
			t.Errorf("%s: got %v, want an error with %q", tt.why, err, tt.fail)
		}
	}
}
