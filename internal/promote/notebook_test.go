package promote_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mlops/internal/promote"
	"mlops/internal/registry"
)

// What log_model registers, of LightGBM and of XGBoost, is adopted, signed, and predicts
// what Python says.
func TestAdoptFromNotebook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	log := historyLog(t)
	signer, trusted := key(t)
	var names []string
	for _, kind := range []string{"light-booster", "light-wrapper", "xgboost"} {
		names = append(names, fmt.Sprintf("test-%s-%d", kind, time.Now().UnixNano()))
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(os.Getenv("MLOPS_VENV"), "bin", "python"), append([]string{filepath.Join("testdata", "notebook.py")}, names...)...)
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "MLFLOW_DISABLE_TELEMETRY=true", "MLFLOW_TRACKING_URI="+os.Getenv("MLOPS_TEST_MLFLOW"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	adopted := 0
	for line := range bytes.Lines(out) {
		text, ok := strings.CutPrefix(string(line), "VERSION ")
		if !ok {
			continue
		}
		var made struct {
			Name    string
			Version int
			Outputs []float64
		}
		if err := json.Unmarshal([]byte(text), &made); err != nil {
			t.Fatal(err)
		}
		reg := registry.New(w.client, made.Name)
		e, err := promote.Adopt(t.Context(), promote.AdoptConfig{Registry: reg, History: log, Signer: signer, Why: "a test", By: "ann", Log: quiet()})
		if err != nil || e.To != made.Version {
			t.Errorf("%s: adopted version %d, %v; want %d", made.Name, e.To, err, made.Version)
			continue
		}
		v, err := reg.Production(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		m, subject, err := reg.Open(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		if err := trusted.Verify(subject, v.Signature); err != nil {
			t.Errorf("%s: %v", made.Name, err)
		}
		for i, want := range made.Outputs {
			if got := m.Serving.Samples[i].Probability; math.Abs(got-want) > 1e-6 {
				t.Errorf("%s, row %d: %v, Python says %v", made.Name, i, got, want)
			}
		}
		if events, err := reg.Events(t.Context(), v); err != nil || events.Total != 1 {
			t.Errorf("%s: events %+v, %v; want that it was adopted", made.Name, events, err)
		}
		adopted++
	}
	if adopted != len(names) {
		t.Errorf("%d of %d models were adopted; Python wrote\n%s", adopted, len(names), out)
	}
}
