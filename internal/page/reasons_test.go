package page

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/api"
)

// The shares come from counts of a confusion matrix, and have to lead back to them.
func TestExperience(t *testing.T) {
	t.Parallel()
	const tp, fp, fn, tn = 60.0, 240.0, 40.0, 660.0
	m := &api.Model{Metrics: map[string]float64{"test_accuracy": (tp + tn) / 1000, "test_precision": tp / (tp + fp), "test_recall": tp / (tp + fn)}}
	e := experienceOf(m)
	if e == nil || math.Abs(e.All-0.1) > 1e-9 || math.Abs(e.Above-0.2) > 1e-9 || math.Abs(e.Below-fn/(fn+tn)) > 1e-9 {
		t.Fatalf("%+v", e)
	}
	for p, want := range map[float64]string{0.307: "3.1 times the average of 10.0%", 0.1: "about the average of 10.0%", 0.04: "0.4 times the average of 10.0%"} {
		if got := e.against(p); got != want {
			t.Errorf("%v: %q, want %q", p, got, want)
		}
	}
	delete(m.Metrics, "test_recall")
	if e := experienceOf(m); e != nil {
		t.Errorf("without recall: %+v", e)
	}
}

func TestReasons(t *testing.T) {
	t.Parallel()
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	got, scale := reasons(&api.Contributions{Scale: "log-odds", Features: []api.FeatureContribution{
		{Label: "Stays", Value: raw("3"), Contribution: 0.4}, {Label: "Kind", Value: raw(`"2"`), Name: "two", Contribution: -0.2},
		{Label: "Payer", Value: raw("null"), Contribution: 0.1}, {Label: "Nothing", Value: raw("1")},
	}})
	want := []reasonView{
		{"Stays", "3", "×1.49", true, "50.00%", "50.00%"},
		{"Kind", "2 · two", "×0.82", false, "25.00%", "25.00%"},
		{"Payer", "unknown", "×1.11", true, "50.00%", "12.50%"},
	}
	if diff := cmp.Diff(want, got); diff != "" || scale == "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	if amount("value", -12.345) != "−12.3" || amount("score", 0.5) != "+0.5" {
		t.Error("amounts of values")
	}
}

func TestPosition(t *testing.T) {
	t.Parallel()
	var q []float32
	for i := range 101 {
		q = append(q, float32(i)/100)
	}
	for x, want := range map[float64]string{
		0: "No higher than for any test record.", 0.005: "Higher than for 1 of 100 test records.",
		0.25: "Higher than for 24 of 100 test records.", 0.999: "Higher than for 99 of 100 test records.", 1.5: "Higher than for every test record.",
	} {
		if got := position(q, x); got != want {
			t.Errorf("%v: %q, want %q", x, got, want)
		}
	}
	if got := position(nil, 0.5); got != "" {
		t.Errorf("without test rows: %q", got)
	}
}
