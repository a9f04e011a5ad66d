package registry

import (
	"testing"

	"mlops/internal/mlflow"
)

// Versions that were registered before there was TagOutcome, and what a kill
// between two tags leaves.
func TestOutcomeOfAVersion(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		tags  map[string]string
		want  Outcome
		noted bool
	}{
		{"not decided yet", nil, "", false},
		{"a tag", map[string]string{TagOutcome: "refused", TagPromotion: "refused: no better than chance"}, Refused, true},
		{"the tag wins over the sentence", map[string]string{TagOutcome: "replaced", TagPromotion: "promoted: version 2 is better"}, Replaced, true},
		{"an older promotion", map[string]string{TagPromotion: "promoted: version 2 (deep) with 0.7 is better than version 1"}, Promoted, false},
		{"an older replacement", map[string]string{TagPromotion: "replaced by version 3: 0.8 against 0.7"}, Replaced, false},
		{"an older loss", map[string]string{TagPromotion: "not promoted: 0.6 by auc"}, Lost, false},
		{"words of another kind", map[string]string{TagPromotion: "somebody said so"}, "", false},
	} {
		got := version(mlflow.Version{Tags: test.tags})
		if got.Outcome != test.want || got.noted != test.noted || got.Reason != test.tags[TagPromotion] {
			t.Errorf("%s: outcome %q, noted %v, reason %q; want %q, %v, the sentence as it is", test.name, got.Outcome, got.noted, got.Reason, test.want, test.noted)
		}
	}
}

func TestSame(t *testing.T) {
	t.Parallel()
	v := Version{Name: "m", Number: 2, RunID: "r"}
	for _, test := range []struct {
		name  string
		other Version
		want  bool
	}{
		{"the same, with notes on it", Version{Name: "m", Number: 2, RunID: "r", Outcome: Promoted, Best: true}, true},
		{"another model", Version{Name: "n", Number: 2, RunID: "r"}, false},
		{"another number", Version{Name: "m", Number: 3, RunID: "r"}, false},
		{"another run under the same number", Version{Name: "m", Number: 2, RunID: "s"}, false},
		{"none", Version{Name: "m", Number: 2, Logged: "m-1"}, false},
	} {
		if got := v.Same(test.other); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
	// Without a run, what was logged tells versions of one number apart.
	logged := func(run, source string) Version {
		return version(mlflow.Version{Name: "m", Number: 2, RunID: run, Source: source})
	}
	if logged("", "models:/m-1").Same(logged("", "models:/m-2")) || !logged("", "models:/m-1").Same(logged("", "models:/m-1")) || !logged("r", "models:/m-1").Same(v) {
		t.Error("what was logged tells no versions apart")
	}
}
