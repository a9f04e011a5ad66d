package promote_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"mlops/internal/dataset"
	"mlops/internal/promote"
	"mlops/internal/registry"
)

// example returns a spec of docs/examples about the penguins, with some words
// replaced and a registered model of the test's own.
func (w *world) example(name string, oldNew ...string) *dataset.Spec {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "examples", name))
	if err != nil {
		w.t.Fatal(err)
	}
	own := regexp.MustCompile(`(?m)^model: .*$`).ReplaceAllString(string(text), fmt.Sprintf("model: test-task-%d", time.Now().UnixNano()))
	spec, err := dataset.Parse([]byte(strings.NewReplacer(oldNew...).Replace(own)))
	if err != nil {
		w.t.Fatal(err)
	}
	return spec
}

// TestEveryTask trains, promotes and loads models of several classes and of a value,
// on a real table each.
func TestEveryTask(t *testing.T) {
	for _, test := range []struct {
		name, file string
		least      map[string]float64 // of the test rows
		most       map[string]float64
	}{
		{"classes", "species.yaml", map[string]float64{"accuracy": 0.93, "macro_f1": 0.93, "auc": 0.98}, map[string]float64{"log_loss": 0.2}},
		{"value", "body-mass.yaml", map[string]float64{"r2": 0.75}, map[string]float64{"rmse": 400, "mae": 330}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			spec := w.example(test.file)
			reg := registry.New(w.client, spec.Model)
			gate := promote.Config{Spec: spec, DataDigest: digest, Rows: w.rows(spec), Registry: reg, Log: quiet()}
			for i := range spec.Candidates {
				w.train(spec, spec.Candidates[i].Name)
			}
			d, err := promote.Run(t.Context(), gate)
			if err != nil || !d.Promoted {
				t.Fatalf("decided %+v: %v", d, err)
			}
			v, err := reg.Production(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			m, _, err := reg.Open(t.Context(), v)
			if err != nil {
				t.Fatal(err)
			}
			for name, least := range test.least {
				if got := m.Serving.Metrics["test_"+name]; got < least {
					t.Errorf("%s is %.4f on the test rows, want at least %g", name, got, least)
				}
			}
			for name, most := range test.most {
				if got := m.Serving.Metrics["test_"+name]; !(got > 0 && got < most) {
					t.Errorf("%s is %.4f on the test rows, want at most %g", name, got, most)
				}
			}
			if i := m.Serving.Interval; spec.Task == dataset.Regression && (i == nil || i.Coverage != 0.9 || i.Test < 0.75) {
				t.Errorf("interval %+v, want one that held about 90 %% of the test rows", i)
			}
			// Nothing is better than what is there: it stays.
			if d, err = promote.Run(t.Context(), gate); err != nil || d.Promoted || d.Version != v.Number {
				t.Errorf("decided %+v: %v; want version %d to stay", d, err, v.Number)
			}
		})
	}
}
