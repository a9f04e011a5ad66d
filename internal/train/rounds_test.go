package train

import (
	"maps"
	"math"
	"testing"

	"mlops/internal/dataset"
)

// Of few validation rows the rounds are compared by the log loss, of weighted rows and of
// many by the spec's metric.
func TestRoundMetric(t *testing.T) {
	t.Parallel()
	lib, spec := library(t), parse(t, "things")
	d, err := Prepare(t.Context(), spec, table(400))
	if err != nil {
		t.Fatal(err)
	}
	candidate := spec.Candidates[0]
	weighted := candidate
	weighted.Params = maps.Clone(candidate.Params)
	weighted.Params["scale_pos_weight"] = 2
	for _, c := range []struct {
		name      string
		candidate *dataset.Candidate
		metric    string
		want      string // of ours, that the last round has
	}{
		{"few rows", &candidate, "logloss", "log_loss"},
		{"few weighted rows", &weighted, "auc", "auc"},
	} {
		if got := d.RoundMetric(spec, weighs(c.candidate)); got != c.metric {
			t.Errorf("%s: rounds are compared by %s, want %s", c.name, got, c.metric)
		}
		f, err := Fit(t.Context(), lib, spec, c.candidate, d, Options{Threads: 1, NoReport: true})
		if err != nil {
			t.Fatal(err)
		}
		want, err := f.Rated[dataset.Validation].Metric(c.want, f.Threshold)
		if err != nil {
			t.Fatal(err)
		}
		if last := f.Rounds[len(f.Rounds)-1]; math.Abs(last-want) > 1e-5 {
			t.Errorf("%s: the last round has %g, want the %s %g", c.name, last, c.want, want)
		}
	}
	spec.Weights.Balanced = true
	if got := d.RoundMetric(spec, false); got != "auc" {
		t.Errorf("with weights, rounds are compared by %s", got)
	}
	spec.Weights.Balanced = false
	many := &Data{Parts: map[string]*Part{dataset.Validation: {Y: make([]float32, fewValidation+1)}}}
	if got := many.RoundMetric(spec, false); got != "auc" {
		t.Errorf("of many rows, rounds are compared by %s", got)
	}
}
