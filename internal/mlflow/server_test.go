package mlflow

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// These tests need a real MLflow server with artifact proxy; its base URL is in
// MLOPS_TEST_MLFLOW. They leave experiments and models of random names behind.

func server(t *testing.T) string {
	t.Helper()
	base := os.Getenv("MLOPS_TEST_MLFLOW")
	if base == "" {
		t.Skip("SKIPPED: NOT TESTED AGAINST A REAL SERVER; set MLOPS_TEST_MLFLOW to the base URL of one")
	}
	return base
}

// fixture is a model, and a run with some artifacts.
type fixture struct {
	*Client
	model string
	run   Run
	root  string // the run's artifacts in the proxy
}

func newFixture(t *testing.T, base string) fixture {
	t.Helper()
	c := newClient(t, base, Options{})
	model := "test-" + rand.Text()
	e, err := c.EnsureExperiment(t.Context(), model)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.EnsureModel(t.Context(), model, "made by a test"); err != nil {
		t.Fatal(err)
	}
	run, err := c.CreateRun(t.Context(), NewRun{ExperimentID: e.ID, Name: "first", Start: time.UnixMilli(1700000000123), Tags: map[string]string{"training_key": "it's one"}})
	if err != nil {
		t.Fatal(err)
	}
	root, err := c.ArtifactPath(run.ArtifactURI)
	if err != nil {
		t.Fatal(err)
	}
	return fixture{c, model, run, root}
}

func (f fixture) version(t *testing.T, tags map[string]string) Version {
	t.Helper()
	v, err := f.CreateVersion(t.Context(), NewVersion{
		Name: f.model, Source: "runs:/" + f.run.ID + "/model", RunID: f.run.ID, Description: "d", Tags: tags,
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestServerRun(t *testing.T) {
	f := newFixture(t, server(t))
	ctx := t.Context()
	var metrics []Metric
	for i := range 2500 {
		metrics = append(metrics, Metric{Key: fmt.Sprintf("m%d", i%250), Value: float64(i), Step: int64(i), Time: time.UnixMilli(int64(1e12) + int64(i))})
	}
	metrics = append(metrics, Metric{Key: "nan", Value: math.NaN()}, Metric{Key: "inf", Value: math.Inf(1)})
	b := Batch{
		Metrics: metrics,
		Params:  map[string]string{"eta": "0.1", "empty": "", "long": strings.Repeat("ö", 6000), "odd name/x": "a\nb"},
		Tags:    many(150, "v"),
	}
	for range 2 { // the second time, as after an answer that was lost
		if err := f.LogBatch(ctx, f.run.ID, b); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.UpdateRun(ctx, f.run.ID, Finished, time.UnixMilli(1700000001456)); err != nil {
		t.Fatal(err)
	}

	got, err := f.GetRun(ctx, f.run.ID)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Metrics) != 252 || got.Metrics["m249"] != 2499 || !math.IsNaN(got.Metrics["nan"]) || got.Metrics["inf"] != math.MaxFloat64 {
		t.Errorf("got %d metrics, m249=%v nan=%v inf=%v", len(got.Metrics), got.Metrics["m249"], got.Metrics["nan"], got.Metrics["inf"])
	}
	if diff := cmp.Diff(b.Params, got.Params); diff != "" {
		t.Errorf("params: %s", diff)
	}
	for k, want := range map[string]string{"k0149": "v", "training_key": "it's one", "mlflow.runName": "first"} {
		if got.Tags[k] != want {
			t.Errorf("tag %s is %q, want %q", k, got.Tags[k], want)
		}
	}
	got.Metrics, got.Params, got.Tags = nil, nil, nil
	want := Run{
		ID: f.run.ID, ExperimentID: f.run.ExperimentID, Name: "first", Status: Finished,
		Start: time.UnixMilli(1700000000123).UTC(), End: time.UnixMilli(1700000001456).UTC(), ArtifactURI: f.run.ArtifactURI,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var history struct{ Metrics []metric }
	if err := f.get(ctx, "metrics/get-history", url.Values{"run_id": {f.run.ID}, "metric_key": {"m7"}}, &history); err != nil || len(history.Metrics) != 10 {
		t.Errorf("m7 has %d values (%v), want 10: logging twice keeps each once", len(history.Metrics), err)
	}
	err = f.LogBatch(ctx, f.run.ID, Batch{Params: map[string]string{"eta": "0.2"}})
	var e *Error
	if !errors.As(err, &e) || e.Code != codeInvalid {
		t.Errorf("changing a param: got %v", err)
	}
}

func TestServerSearch(t *testing.T) {
	f := newFixture(t, server(t))
	for range 2 {
		if _, err := f.CreateRun(t.Context(), NewRun{ExperimentID: f.run.ExperimentID, Tags: map[string]string{"training_key": `say "x"`}}); err != nil {
			t.Fatal(err)
		}
	}
	for key, want := range map[string]int{"it's one": 1, `say "x"`: 2, "none": 0, "": 3} {
		filter := ""
		if key != "" {
			q, err := Quote(key)
			if err != nil {
				t.Fatal(err)
			}
			filter = "tags.training_key = " + q
		}
		runs, err := f.SearchRuns(t.Context(), []string{f.run.ExperimentID}, filter, []string{"attributes.start_time ASC"}, 0)
		if err != nil || len(runs) != want {
			t.Errorf("%s: got %d runs, %v, want %d", filter, len(runs), err, want)
		}
		if len(runs) == 3 && runs[0].ID != f.run.ID {
			t.Errorf("the oldest run is %s, want %s", runs[0].Name, f.run.Name)
		}
	}
	if runs, err := f.SearchRuns(t.Context(), []string{f.run.ExperimentID}, "", nil, 1); err != nil || len(runs) != 1 {
		t.Errorf("limit 1: got %d runs, %v", len(runs), err)
	}
	if _, err := f.SearchRuns(t.Context(), []string{f.run.ExperimentID}, "tags.a ==", nil, 0); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("a wrong filter: got %v", err)
	}
}

func TestServerArtifacts(t *testing.T) {
	f := newFixture(t, server(t))
	ctx := t.Context()
	big := make([]byte, 5<<20+1)
	rand.Read(big)
	files := map[string][]byte{
		"model/model.ubj":             big,
		"model/MLmodel":               []byte("flavors: {}\n"),
		"plots/ROC & PR/ä = 50%+.svg": []byte("<svg/>"),
		"model/empty":                 {},
	}
	for name, text := range files {
		for range 2 { // replacing a file with itself
			if err := f.UploadArtifact(ctx, f.root+"/"+name, bytes.NewReader(text)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		got, err := f.readArtifact(ctx, f.root+"/"+name, int64(len(text)))
		if err != nil || !bytes.Equal(got, text) {
			t.Errorf("%s: got %d bytes and %v, want %d", name, len(got), err, len(text))
		}
	}
	list, err := f.ListArtifacts(ctx, f.root+"/model")
	slices.SortFunc(list, func(a, b Artifact) int { return strings.Compare(a.Path, b.Path) })
	want := []Artifact{{Path: "MLmodel", Size: 12}, {Path: "empty"}, {Path: "model.ubj", Size: int64(len(big))}}
	if diff := cmp.Diff(want, list); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if list, err = f.ListArtifacts(ctx, f.root); err != nil || len(list) != 2 || !list[0].Dir {
		t.Errorf("the root has %v, %v, want two folders", list, err)
	}
	if list, err = f.ListArtifacts(ctx, f.root+"/none"); err != nil || len(list) != 0 {
		t.Errorf("a folder that isn't there has %v, %v", list, err)
	}

	dir := t.TempDir()
	file := filepath.Join(dir, "model.ubj")
	if err := f.DownloadArtifact(ctx, f.root+"/model/model.ubj", file, 10<<20); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, big) {
		t.Errorf("downloaded %d bytes, %v, want %d", len(got), err, len(big))
	}
	// What fails leaves the old file, and no other.
	if err := f.DownloadArtifact(ctx, f.root+"/model/model.ubj", file, 5<<20); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
	if err := f.DownloadArtifact(ctx, f.root+"/model/none", file, 5<<20); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
	entries, _ := os.ReadDir(dir)
	if got, _ := os.ReadFile(file); len(entries) != 1 || !bytes.Equal(got, big) {
		t.Errorf("after failures there are %d files, the old one with %d bytes", len(entries), len(got))
	}
	if _, err := f.readArtifact(ctx, f.root+"/model", 100); err == nil {
		t.Error("a folder can be read")
	}
}

func TestServerMissing(t *testing.T) {
	f := newFixture(t, server(t))
	ctx := t.Context()
	const no = "00000000000000000000000000000000"
	for name, call := range map[string]func() error{
		"experiment":          func() error { _, err := f.ExperimentByName(ctx, "no-"+f.model); return err },
		"run":                 func() error { _, err := f.GetRun(ctx, no); return err },
		"run to update":       func() error { return f.UpdateRun(ctx, no, Failed, time.Now()) },
		"run to log to":       func() error { return f.LogBatch(ctx, no, Batch{Tags: many(1, "")}) },
		"experiment of a run": func() error { _, err := f.CreateRun(ctx, NewRun{ExperimentID: "999999999"}); return err },
		"version":             func() error { _, err := f.GetVersion(ctx, f.model, 1); return err },
		"version's place":     func() error { _, err := f.downloadURI(ctx, f.model, 1); return err },
		"version to tag":      func() error { return f.SetVersionTag(ctx, f.model, 1, "a", "b") },
		"model of an alias":   func() error { _, err := f.GetAlias(ctx, "no-"+f.model, "production"); return err },
		"model of a version": func() error {
			_, err := f.CreateVersion(ctx, NewVersion{Name: "no-" + f.model, Source: "s3://b/x"})
			return err
		},
		"impossible alias":     func() error { _, err := f.GetAlias(ctx, f.model, "a/b"); return err },
		"artifact":             func() error { _, err := f.readArtifact(ctx, f.root+"/none", 1); return err },
		"version's to resolve": func() error { _, err := f.ResolveArtifacts(ctx, Version{Name: f.model, Number: 1}); return err },
	} {
		if err := call(); !errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnavailable) {
			t.Errorf("missing %s: got %v", name, err)
		}
	}
	if v, err := f.SearchVersions(ctx, "name = 'no-"+f.model+"'", nil, 0); err != nil || len(v) != 0 {
		t.Errorf("versions of a missing model: got %v, %v", v, err)
	}
	if _, err := f.CreateVersion(ctx, NewVersion{Name: f.model, Source: "runs:/" + f.run.ID + "/model"}); err == nil {
		t.Error("a runs:/ source without its run's id is taken")
	}
	if _, err := f.CreateRun(ctx, NewRun{}); err == nil {
		t.Log("MLflow takes a run without an experiment for one of the default experiment")
	}
}

func TestServerEnsure(t *testing.T) {
	base := server(t)
	name := "race-" + rand.Text()
	ids := make([]string, 8)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			c := newClient(t, base, Options{})
			e, err := c.EnsureExperiment(t.Context(), name)
			if err != nil {
				t.Error(err)
			}
			ids[i] = e.ID
			if err := c.EnsureModel(t.Context(), name, ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(slices.Compact(ids)) != 1 {
		t.Errorf("got the experiments %v, want one", ids)
	}

	c := newClient(t, base, Options{})
	if err := c.post(t.Context(), "experiments/delete", map[string]any{"experiment_id": ids[0]}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.EnsureExperiment(t.Context(), name); err == nil || !strings.Contains(err.Error(), "is deleted") {
		t.Errorf("a deleted experiment: got %v", err)
	}
}

func TestServerHealth(t *testing.T) {
	if err := newClient(t, server(t), Options{}).health(t.Context()); err != nil {
		t.Error(err)
	}
}

// A proxy in front of the real server that wants a token: with it everything works,
// artifacts included, and without it the error says what was refused, at once.
func TestServerBehindToken(t *testing.T) {
	t.Parallel()
	target, err := url.Parse(server(t))
	if err != nil {
		t.Fatal(err)
	}
	const token = "a-token-of-the-identity-provider"
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	asked := 0
	guard := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked++; r.Header.Get("Authorization") != "Bearer "+token {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "token required", http.StatusUnauthorized)
			return
		}
		r.Header.Del("Authorization")
		proxy.ServeHTTP(w, r)
	}))
	defer guard.Close()
	c := newClient(t, guard.URL, Options{Token: token})
	e, err := c.EnsureExperiment(t.Context(), "test-"+rand.Text())
	if err != nil {
		t.Fatal(err)
	}
	run, err := c.CreateRun(t.Context(), NewRun{ExperimentID: e.ID, Name: "behind a token", Start: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	root, err := c.ArtifactPath(run.ArtifactURI)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.UploadArtifact(t.Context(), root+"/note.txt", strings.NewReader("hello")); err != nil {
		t.Error(err)
	}
	for _, o := range []Options{{}, {Token: "another"}, {Username: "steps", Password: token}} {
		asked = 0
		if _, err := newClient(t, guard.URL, o).EnsureExperiment(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "401") || asked != 1 {
			t.Errorf("token %q: %d requests, error %v, want one request and a 401", o.Token, asked, err)
		}
	}
}

// Candidates that are trained side by side note the same table at the same time, and
// MLflow refuses all but one of those that insert it.
func TestServerInputAtOnce(t *testing.T) {
	base := server(t)
	f := newFixture(t, base)
	for round := range 5 {
		runs := make([]Run, 8)
		for i := range runs {
			var err error
			if runs[i], err = f.CreateRun(t.Context(), NewRun{ExperimentID: f.run.ExperimentID, Name: fmt.Sprint(i), Start: time.Now()}); err != nil {
				t.Fatal(err)
			}
		}
		var wait sync.WaitGroup
		for _, run := range runs {
			wait.Go(func() {
				if err := f.LogInput(t.Context(), run.ID, Input{Name: "table", Digest: fmt.Sprint("digest ", round), Context: "training"}); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
	}
}
