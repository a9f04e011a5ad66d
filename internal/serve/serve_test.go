package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mlops/internal/api"
	"mlops/internal/feature"
	"mlops/internal/model"
	"mlops/internal/registry"
	"mlops/internal/tree"
)

// booster is a model of two trees over the tiny spec's features, in XGBoost's
// JSON: size below 2.5 gives -leaf and else leaf, missing leaf; kind 2 gives
// 0.5 and else -0.25, missing -0.25.
func booster(leaf float64) []byte {
	return fmt.Appendf(nil, `{"version":[3,2,0],"learner":{"feature_names":["size","count","kind","odd name"],
"learner_model_param":{"base_score":"[5E-1]","num_feature":"4","num_class":"0","num_target":"1"},
"objective":{"name":"binary:logistic"},
"gradient_booster":{"name":"gbtree","model":{"gbtree_model_param":{"num_trees":"2"},"tree_info":[0,0],"cats":{"enc":[]},"trees":[
{"id":0,"tree_param":{"size_leaf_vector":"1"},"left_children":[1,-1,-1],"right_children":[2,-1,-1],"split_indices":[0,0,0],
"sum_hessian":[10,6,4],"split_conditions":[2.5,%g,%g],"default_left":[0,0,0],"split_type":[0,0,0],"categories_nodes":[],"categories_segments":[],"categories_sizes":[],"categories":[]},
{"id":1,"tree_param":{"size_leaf_vector":"1"},"left_children":[1,-1,-1],"right_children":[2,-1,-1],"split_indices":[2,0,0],
"sum_hessian":[10,8,2],"split_conditions":[0,-0.25,0.5],"default_left":[1,0,0],"split_type":[1,0,0],"categories_nodes":[0],"categories_segments":[0],"categories_sizes":[1],"categories":[1]}
]}}}}`, -leaf, leaf)
}

// bundle is the files of a version whose scores depend on leaf.
func bundle(t testing.TB, leaf float64) map[string][]byte {
	t.Helper()
	return bundleOf(t, tinyEncoder(t), leaf)
}

func bundleOf(t testing.TB, e *feature.Encoder, leaf float64) map[string][]byte {
	t.Helper()
	return bundleWith(t, e, leaf, nil)
}

func bundleWith(t testing.TB, e *feature.Encoder, leaf float64, papers map[string][]byte) map[string][]byte {
	t.Helper()
	trees, err := tree.Parse(booster(leaf))
	if err != nil {
		t.Fatal(err)
	}
	m := &model.Model{Spec: e.Spec(), Encoder: e, Trees: trees}
	serving := model.Serving{
		Candidate: "one", Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Threshold: 0.5,
		Metrics: map[string]float64{"test_auc": 0.75},
	}
	for _, record := range []map[string]string{{"size": "1", "kind": "2"}, {"size": "3"}, {}} {
		vector := make([]float32, e.Width())
		if err := m.EncodeRecord(vector, record); err != nil {
			t.Fatal(err)
		}
		serving.Samples = append(serving.Samples, model.Sample{Record: record, Probability: float64(trees.Score(vector))})
	}
	files, err := model.Write(model.Parts{Spec: e.Spec(), Encoder: e, UBJ: booster(leaf), Serving: serving, Papers: papers, RunID: "r", XGBoostVersion: "3.2.0"})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// shelf is a registry whose versions are folders.
type shelf struct {
	dir string

	mu        sync.Mutex
	now       registry.Version // in production; none where it has no name
	away      error            // of every call, where set
	lost      error            // of a download, where set
	asked     int
	downloads int
}

func newShelf(t testing.TB) *shelf { return &shelf{dir: t.TempDir()} }

// put adds a version's files and points to it.
func (s *shelf) put(t testing.TB, number string, files map[string][]byte) registry.Version {
	t.Helper()
	s.store(t, number, files)
	v := registry.Version{Name: "tiny", Number: numbered(t, number), RunID: "run" + number}
	s.point(v)
	return v
}

func numbered(t testing.TB, number string) int {
	t.Helper()
	n, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (s *shelf) store(t testing.TB, number string, files map[string][]byte) {
	t.Helper()
	dir := filepath.Join(s.dir, number)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	writeFiles(t, dir, files)
}

// writeFiles writes a version's files, which have folders, below a folder.
func writeFiles(t testing.TB, dir string, files map[string][]byte) {
	t.Helper()
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *shelf) point(v registry.Version) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = v
}

func (s *shelf) goAway(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = err
}

// lose keeps the files away, and not what is in production.
func (s *shelf) lose(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = err
}

// counts returns how often the registry was asked, and how often for files.
func (s *shelf) counts() (asked, downloads int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked, s.downloads
}

func (s *shelf) Production(context.Context) (registry.Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	switch {
	case s.away != nil:
		return registry.Version{}, s.away
	case s.now.Name == "":
		return registry.Version{}, registry.ErrNoVersion
	}
	return s.now, nil
}

func (s *shelf) Download(_ context.Context, v registry.Version, dir string) error {
	s.mu.Lock()
	s.downloads++
	away := errors.Join(s.away, s.lost)
	s.mu.Unlock()
	if away != nil {
		return away
	}
	for _, name := range model.Files {
		text, err := os.ReadFile(filepath.Join(s.dir, strconv.Itoa(v.Number), name))
		if err != nil {
			return errors.Join(err, registry.ErrUnusable)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func newServer(t testing.TB, r Registry, cache string) *Server {
	t.Helper()
	return New(Options{Model: "tiny", Cache: cache, Registry: r, Log: slog.New(slog.DiscardHandler)})
}

// serving returns a server that serves version 1 with that leaf.
func serving(t testing.TB, leaf float64) (*Server, *shelf) {
	t.Helper()
	r := newShelf(t)
	r.put(t, "1", bundle(t, leaf))
	s := newServer(t, r, t.TempDir())
	poll(t, s)
	return s, r
}

func poll(t testing.TB, s *Server) {
	t.Helper()
	if err := s.poll(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// ask sends a request to the handler and returns the answer.
func ask(s *Server, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

// textLog is a log that can be read.
func textLog(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

func predict(t testing.TB, s *Server, body string) *api.Predictions {
	t.Helper()
	w := ask(s, http.MethodPost, "/predict", body)
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("status %d, %s: %s", w.Code, w.Header().Get("Content-Type"), w.Body)
	}
	var a api.Predictions
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatal(err)
	}
	return &a
}

// model as GET /model tells it.
func describedAs(t testing.TB, s *Server) (d api.Model) {
	t.Helper()
	w := ask(s, http.MethodGet, "/model", "")
	if w.Code != http.StatusOK {
		t.Fatalf("GET /model: status %d: %s", w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// metric returns the value of a metric's line in /metrics, empty where there is none.
func metric(t testing.TB, s *Server, name string) string {
	t.Helper()
	for line := range strings.Lines(ask(s, http.MethodGet, "/metrics", "").Body.String()) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// with returns files with one of them changed; nil takes it away.
func with(files map[string][]byte, name string, text []byte) map[string][]byte {
	files = maps.Clone(files)
	if files[name] = text; text == nil {
		delete(files, name)
	}
	return files
}

// replaced returns files with a text in one of them replaced.
func replaced(t testing.TB, files map[string][]byte, name, old, new string) map[string][]byte {
	t.Helper()
	if !bytes.Contains(files[name], []byte(old)) {
		t.Fatalf("%s holds no %q:\n%s", name, old, files[name])
	}
	return with(files, name, bytes.ReplaceAll(files[name], []byte(old), []byte(new)))
}
