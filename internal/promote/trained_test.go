package promote_test

import (
	"bytes"
	"log/slog"
	"path"
	"strings"
	"testing"

	"mlops/internal/model"
	"mlops/internal/promote"
	"mlops/internal/registry"
)

// Whoever can write into MLflow can't bring a candidate past the gate that training did
// not make, nor change one that it made.
func TestCandidateChangedInMLflow(t *testing.T) {
	t.Parallel()
	w, log := newWorld(t), historyLog(t)
	s := w.spec()
	// gate returns what is in production afterwards, and what the gate logged.
	gate := func() (version int, logged string) {
		t.Helper()
		var text bytes.Buffer
		d, err := promote.Run(t.Context(), promote.Config{
			Spec: s, DataDigest: digest, Rows: w.rows(s), Registry: registry.New(w.client, s.Model),
			History: log, By: "test", Log: slog.New(slog.NewTextHandler(&text, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		return d.Version, text.String()
	}
	if len(s.Candidates) < 3 {
		t.Fatalf("%d candidates, want 3", len(s.Candidates))
	}
	old := w.train(s, s.Candidates[0].Name) // by a release that noted no files
	noted := w.config(s, s.Candidates[1].Name)
	noted.History = log
	made := w.run(noted)
	if version, logged := gate(); version != made && version != old || strings.Contains(logged, "can't be served") {
		t.Errorf("version %d is in production, want %d or %d: %s", version, old, made, logged)
	}
	// A file that reads the same, but is not what training wrote.
	v, err := w.client.GetVersion(t.Context(), s.Model, made)
	if err != nil {
		t.Fatal(err)
	}
	root, err := w.client.ResolveArtifacts(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	name := path.Join(root, model.FileSpec)
	text := append([]byte(w.text), '\n')
	if err := w.client.UploadArtifact(t.Context(), name, bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	version, logged := gate()
	if version != old {
		t.Errorf("version %d is in production, want %d, the only one that nobody changed", version, old)
	}
	contains(t, "log", logged, model.FileSpec+" is not what training wrote")

	// A candidate of a run that no training step made.
	foreign := w.train(s, s.Candidates[2].Name)
	if version, logged = gate(); version != old {
		t.Errorf("version %d is in production, want %d; no training step made %d", version, old, foreign)
	}
	contains(t, "log", logged, "no training step made it")
	if v, err = w.client.GetVersion(t.Context(), s.Model, foreign); err != nil {
		t.Fatal(err)
	}
	contains(t, "tag outcome", v.Tags[registry.TagOutcome], string(registry.Refused))
	contains(t, "tag promotion", v.Tags[registry.TagPromotion], "refused: it can't be served: ", "no training step made it")
}
