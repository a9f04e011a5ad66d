package loadtest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mlops/internal/apikey"
	"mlops/internal/dataset"
	"mlops/internal/feature"
	"mlops/internal/model"
	"mlops/internal/registry"
	"mlops/internal/serve"
	"mlops/internal/tree"
)

const spec = `name: tiny
title: Tiny
model: tiny
task: binary
missing: ["?"]
key: id
columns:
  - {name: id, type: integer}
  - {name: size, type: number, min: 0}
  - {name: y, type: category}
target: {column: y, positive: ["1"]}
split: {salts: [s], train: 70, validation: 15, test: 15}
features:
  - {number: size}
threshold: {fixed: 0.5}
candidates: [{name: one, rounds: 1}]
`

// booster is a tree in XGBoost's JSON: size below 2.5 gives -1 and else 1.
const booster = `{"version":[3,2,0],"learner":{"feature_names":["size"],
"learner_model_param":{"base_score":"[5E-1]","num_feature":"1","num_class":"0","num_target":"1"},
"objective":{"name":"binary:logistic"},
"gradient_booster":{"name":"gbtree","model":{"gbtree_model_param":{"num_trees":"1"},"tree_info":[0],"cats":{"enc":[]},"trees":[
{"id":0,"tree_param":{"size_leaf_vector":"1"},"left_children":[1,-1,-1],"right_children":[2,-1,-1],"split_indices":[0,0,0],
"split_conditions":[2.5,-1,1],"default_left":[0,0,0],"split_type":[0,0,0],"categories_nodes":[],"categories_segments":[],"categories_sizes":[],"categories":[]}
]}}}}`

// shelf is a registry with one model's files under any number.
type shelf struct {
	files   map[string][]byte
	version atomic.Int64
}

func (s *shelf) Production(context.Context) (registry.Version, error) {
	n := int(s.version.Load())
	return registry.Version{Name: "tiny", Number: n, RunID: fmt.Sprint("run", n)}, nil
}

func (s *shelf) Download(_ context.Context, _ registry.Version, dir string) error {
	for name, text := range s.files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	s, err := dataset.Parse([]byte(spec))
	if err != nil {
		t.Fatal(err)
	}
	f := feature.NewFitter(s)
	f.Add([][]byte{[]byte("1"), []byte("1"), []byte("1")})
	e, err := f.Encoder()
	if err != nil {
		t.Fatal(err)
	}
	trees, err := tree.Parse([]byte(booster))
	if err != nil {
		t.Fatal(err)
	}
	m := &model.Model{Spec: s, Encoder: e, Trees: trees}
	serving := model.Serving{Candidate: "one", Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Threshold: 0.5}
	for _, record := range []map[string]string{{"size": "1"}, {"size": "3"}, {}} {
		vector := make([]float32, e.Width())
		if err := m.EncodeRecord(vector, record); err != nil {
			t.Fatal(err)
		}
		serving.Samples = append(serving.Samples, model.Sample{Record: record, Probability: float64(trees.Score(vector))})
	}
	files, err := model.Write(model.Parts{Spec: s, Encoder: e, UBJ: []byte(booster), Serving: serving, RunID: "r", XGBoostVersion: "3.2.0"})
	if err != nil {
		t.Fatal(err)
	}
	r := &shelf{files: files}
	r.version.Store(1)
	return r
}

func get(t *testing.T, url string) string {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// The real server under load while another version is put into production: the
// two count the same requests, none failed, and both versions answered.
func TestInferenceServer(t *testing.T) {
	r := newShelf(t)
	server := serve.New(serve.Options{Model: "tiny", Cache: t.TempDir(), Registry: r, Log: slog.New(slog.DiscardHandler)})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx, l) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	target := "http://" + l.Addr().String()
	eventually(t, "a model", func() bool {
		return strings.HasPrefix(get(t, target+"/readyz"), "ready") && strings.Contains(get(t, target+"/model"), `"version":"1"`)
	})

	enough, cancel := context.WithCancel(t.Context())
	defer cancel()
	type result struct {
		report Report
		err    error
	}
	ended := make(chan result, 1)
	go func() {
		report, err := Run(enough, Config{Target: target, Users: []int{8}, Duration: time.Minute})
		ended <- result{report, err}
	}()
	counted := func(code int) (n int64) {
		for line := range strings.Lines(get(t, target+"/metrics")) {
			fmt.Sscanf(line, fmt.Sprintf(`mlops_requests_total{code="%d",handler="predict"} %%d`, code), &n)
		}
		return n
	}
	eventually(t, "requests", func() bool { return counted(200) > 100 })
	r.version.Store(2)
	eventually(t, "version 2", func() bool { return strings.Contains(get(t, target+"/model"), `"version":"2"`) })
	before := counted(200)
	eventually(t, "requests to version 2", func() bool { return counted(200) > before+100 })
	cancel()
	got := <-ended
	if got.err != nil {
		t.Fatal(got.err)
	}
	s := got.report.Stages[0]
	if got.report.Failed != 0 || got.report.Bodies != 3 || !got.report.Stopped {
		t.Errorf("%d failed, %d bodies, stopped %v: %v", got.report.Failed, got.report.Bodies, got.report.Stopped, s.Failures)
	}
	if n := counted(200); n != got.report.Requests {
		t.Errorf("%d requests, the server counted %d", got.report.Requests, n)
	}
	if s.Versions["1"] == 0 || s.Versions["2"] == 0 || s.Versions["1"]+s.Versions["2"] != s.Requests {
		t.Errorf("%d requests, by version %v", s.Requests, s.Versions)
	}

	// A body that the server refuses is a failure, and says why.
	refused, err := Run(t.Context(), Config{Target: target, Users: []int{1}, Duration: 200 * time.Millisecond, Bodies: []Body{{[]byte(`{"sise":1}`), 1}}})
	if err != nil {
		t.Fatal(err)
	}
	if n := counted(422); refused.Failed == 0 || refused.Failed != refused.Requests || refused.Failed != n || !strings.Contains(refused.Stages[0].Failures[0].Text, "sise") {
		t.Errorf("%d of %d failed, the server counted %d: %v", refused.Failed, refused.Requests, n, refused.Stages[0].Failures)
	}
}

// A server that asks for a key is loaded with one, its samples included; without, no
// request is sent.
func TestKey(t *testing.T) {
	server := serve.New(serve.Options{Model: "tiny", Cache: t.TempDir(), Registry: newShelf(t), Log: slog.New(slog.DiscardHandler)})
	key, k, err := apikey.New("loadtest", []apikey.Scope{apikey.Predict, apikey.Read}, apikey.Rate{})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte(k.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := server.RequireKeys(path); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx, l) }()
	defer func() { stop(); <-done }()
	base := "http://" + l.Addr().String()
	eventually(t, "a model", func() bool { return strings.Contains(get(t, base+"/metrics"), "mlops_model_info{") })
	if _, err := Run(t.Context(), Config{Target: base}); err == nil || !strings.Contains(err.Error(), "API key is required") {
		t.Errorf("without a key: %v", err)
	}
	report, err := Run(t.Context(), Config{Target: base, Key: key, Users: []int{2}, Duration: 100 * time.Millisecond})
	if err != nil || report.Stages[0].Requests == 0 || report.Stages[0].Failed > 0 {
		t.Errorf("with a key: %v, %+v", err, report.Stages)
	}
	if err := (Config{Key: key + "\n"}).Check(); err == nil {
		t.Error("a key with a line end is accepted: it would end a header")
	}
}
