package serve

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/api"
)

func TestNothingInProduction(t *testing.T) {
	s := newServer(t, newShelf(t), t.TempDir())
	if w := ask(s, http.MethodGet, "/readyz", ""); w.Code != 503 {
		t.Errorf("ready before the registry was asked: status %d", w.Code)
	}
	poll(t, s)
	if w := ask(s, http.MethodGet, "/readyz", ""); w.Code != 200 {
		t.Errorf("not ready although nothing is in production: status %d: %s", w.Code, w.Body)
	}
	for _, path := range []string{"/predict", "/model"} {
		method := map[string]string{"/predict": http.MethodPost, "/model": http.MethodGet}[path]
		w := ask(s, method, path, "{}")
		checkProblem(t, path, w, 503, api.NoModel, "")
		if !strings.Contains(w.Body.String(), "no version of tiny is in production yet") || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: no reason or no Retry-After: %s", path, w.Body)
		}
	}
}

// watch lets the server follow the registry until the test's end.
func watch(t *testing.T, s *Server) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Watch(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestRegistryAway(t *testing.T) {
	r := newShelf(t)
	r.goAway(errors.New("no route to host"))
	s := newServer(t, r, t.TempDir())
	watch(t, s)
	eventually(t, "the reason", func() bool {
		w := ask(s, http.MethodGet, "/readyz", "")
		return w.Code == 503 && strings.Contains(w.Body.String(), "no route to host")
	})
	checkProblem(t, "registry away", ask(s, http.MethodPost, "/predict", "{}"), 503, api.NoModel, "")
	r.put(t, "1", bundle(t, 1))
	r.goAway(nil)
	eventually(t, "ready once it is back", func() bool { return ask(s, http.MethodGet, "/readyz", "").Code == 200 })
	eventually(t, "served once it is back", func() bool { return s.served.Load() != nil && s.trouble.Load() == nil })
	if metric(t, s, "mlops_registry_poll_errors_total") == "0" {
		t.Error("no registry error was counted")
	}
}

func TestRefuse(t *testing.T) {
	good := bundle(t, 2)
	for _, test := range []struct {
		reason string
		files  map[string][]byte
		want   string // in the reason on /model
	}{
		{"model file cut short", with(good, "model.ubj", good["model.ubj"][:len(good["model.ubj"])/2]), "model.ubj"},
		{"model file empty", with(good, "model.ubj", []byte{}), "model.ubj"},
		{"model file missing", with(good, "model.ubj", nil), "model.ubj"},
		{"no file at all", nil, "MLmodel"},
		{"trees of another version, which give other scores", with(good, "model.ubj", booster(1)), "does not reproduce its stored scores"},
		{"encoder of another width", replaced(t, good, "encoder.json", `,{"name":"odd name","categorical":true,"levels":["é\""],"folded":true}`, ""), "encoder.json: encoder has 3 features, the spec 4"},
		{"spec that is none", with(good, "spec.yaml", []byte("name: [")), "spec.yaml"},
		{"no samples", with(good, "serving.json", []byte(`{"threshold":0.5}`)), "no samples"},
	} {
		s, r := serving(t, 1)
		before := predict(t, s, "{}")
		bad := r.put(t, "2", test.files)
		for range 5 {
			poll(t, s)
		}
		if _, downloads := r.counts(); downloads != 2 {
			t.Errorf("%s: %d downloads in five polls, want one besides the good version's", test.reason, downloads-1)
		}
		if after := predict(t, s, "{}"); after.Model != before.Model || !cmp.Equal(after.Predictions[0], before.Predictions[0]) {
			t.Errorf("%s: answers %+v, want %+v", test.reason, after, before)
		}
		if w := ask(s, http.MethodGet, "/readyz", ""); w.Code != 200 {
			t.Errorf("%s: no longer ready: %s", test.reason, w.Body)
		}
		d := describedAs(t, s)
		if d.Model.Number != "1" || d.Refused == nil || d.Refused.Version != "2" || !strings.Contains(d.Refused.Reason, test.want) {
			t.Errorf("%s: serves %s, refused %+v, want version 1 and %q in the reason", test.reason, d.Model.Number, d.Refused, test.want)
		}
		if got := metric(t, s, "mlops_model_refusals_total"); got != "1" {
			t.Errorf("%s: %s refused, want 1", test.reason, got)
		}
		if got := metric(t, s, "mlops_model_refused"); got != "1" {
			t.Errorf("%s: mlops_model_refused is %s, want 1", test.reason, got)
		}

		// Once a minute it is looked at again; that is no new refusal.
		long := *s.refused.Load()
		long.checked = long.checked.Add(-recheckEvery)
		s.refused.Store(&long)
		poll(t, s)
		if _, downloads := r.counts(); downloads != 3 || metric(t, s, "mlops_model_refusals_total") != "1" {
			t.Errorf("%s: %d downloads a minute later, %s refused", test.reason, downloads-1, metric(t, s, "mlops_model_refusals_total"))
		}
		if got := describedAs(t, s).Refused; got == nil || !got.At.Equal(d.Refused.At) {
			t.Errorf("%s: refused %+v a minute later, want it still and since %s", test.reason, got, d.Refused.At)
		}

		// The alias goes back: nothing is refused any more.
		v := bad
		v.Number, v.RunID = 1, "run1"
		r.point(v)
		poll(t, s)
		if got := describedAs(t, s).Refused; got != nil {
			t.Errorf("%s: refused %+v after the alias went back", test.reason, got)
		}
		if got := metric(t, s, "mlops_model_refused"); got != "0" {
			t.Errorf("%s: mlops_model_refused is %s after the alias went back, want 0", test.reason, got)
		}
		// Or on to a good one.
		r.point(bad)
		poll(t, s)
		r.put(t, "3", good)
		poll(t, s)
		if d := describedAs(t, s); d.Model.Number != "3" || d.Refused != nil {
			t.Errorf("%s: serves %s, refused %+v, want version 3", test.reason, d.Model.Number, d.Refused)
		}
	}
}

func TestRefusedFirst(t *testing.T) {
	r := newShelf(t)
	bad := r.put(t, "1", with(bundle(t, 1), "model.ubj", nil))
	s := newServer(t, r, t.TempDir())
	poll(t, s)
	for _, path := range []string{"/readyz", "/model"} {
		w := ask(s, http.MethodGet, path, "")
		checkProblem(t, path, w, 503, api.NoModel, "")
		if !strings.Contains(w.Body.String(), "version 1 of tiny is in production, but the server refused it") {
			t.Errorf("%s: %s", path, w.Body)
		}
	}
	// A registry that was recreated gives the same number to another run.
	r.store(t, "1", bundle(t, 1))
	bad.RunID = "another"
	r.point(bad)
	poll(t, s)
	if got := describedAs(t, s).Model.RunID; got != "another" {
		t.Errorf("serves run %q", got)
	}
}

func TestAliasTakenAway(t *testing.T) {
	s, r := serving(t, 1)
	v := r.now
	v.Name = ""
	r.point(v)
	poll(t, s)
	if got := predict(t, s, "{}").Model.Number; got != "1" {
		t.Errorf("serves %q, want the old version on", got)
	}
	refused := newShelf(t)
	refused.put(t, "1", nil)
	s = newServer(t, refused, t.TempDir())
	poll(t, s)
	refused.point(v)
	poll(t, s)
	if w := ask(s, http.MethodGet, "/readyz", ""); w.Code != 200 {
		t.Errorf("not ready because of a version that is no longer in production: %s", w.Body)
	}
}

func TestLocalCopy(t *testing.T) {
	for _, test := range []struct {
		reason  string
		corrupt func(dir string) error
		served  bool // while the registry is away
		fetched int  // downloads once it is back
	}{
		{"whole", func(string) error { return nil }, true, 0},
		{"model file cut short", func(dir string) error { return os.Truncate(dir+"/model.ubj", 100) }, false, 1},
		{"file missing", func(dir string) error { return os.Remove(dir + "/serving.json") }, false, 1},
		{"all missing", os.RemoveAll, false, 1},
	} {
		t.Run(test.reason, func(t *testing.T) {
			t.Parallel() // each waits for polls, not for the processor
			r, cache := newShelf(t), t.TempDir()
			v := r.put(t, "1", bundle(t, 1))
			first := newServer(t, r, cache)
			poll(t, first)
			if err := test.corrupt(first.folder(v)); err != nil {
				t.Fatal(err)
			}
			r.goAway(errors.New("away"))
			r.mu.Lock()
			r.downloads = 0
			r.mu.Unlock()

			s := newServer(t, r, cache)
			watch(t, s)
			eventually(t, "polled", func() bool { asked, _ := r.counts(); return asked >= 3 })
			if w := ask(s, http.MethodPost, "/predict", "{}"); (w.Code == 200) != test.served {
				t.Errorf("status %d while the registry is away: %s", w.Code, w.Body)
			}
			if w := ask(s, http.MethodGet, "/readyz", ""); (w.Code == 200) != test.served {
				t.Errorf("/readyz %d while the registry is away", w.Code)
			}
			r.goAway(nil)
			eventually(t, "served and followed", func() bool {
				asked, _ := r.counts()
				return s.served.Load() != nil && s.reached.Load() && asked > 3
			})
			if _, downloads := r.counts(); downloads != test.fetched {
				t.Errorf("%d downloads, want %d", downloads, test.fetched)
			}
		})
	}
}

// The copy of the version before stays, so that a rollback downloads nothing.
func TestCacheKeepsTwoVersions(t *testing.T) {
	s, r := serving(t, 1)
	if err := os.MkdirAll(s.options.Cache+"/tiny/.fetching-left-by-one-that-was-killed", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, number := range []string{"2", "3"} {
		n, err := strconv.Atoi(number)
		if err != nil {
			t.Fatal(err)
		}
		r.put(t, number, bundle(t, float64(n)))
		poll(t, s)
	}
	holds := func() (names []string) {
		entries, err := os.ReadDir(s.options.Cache + "/tiny")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	if diff := cmp.Diff([]string{"2-run2", "3-run3"}, holds()); diff != "" {
		t.Errorf("the cache (-want +got):\n%s", diff)
	}
	_, before := r.counts()
	r.put(t, "2", bundle(t, 2))
	poll(t, s)
	if _, after := r.counts(); after != before || s.served.Load().version.Number != 2 {
		t.Errorf("%d downloads to go back to the version before, which is %d now", after-before, s.served.Load().version.Number)
	}
	if diff := cmp.Diff([]string{"2-run2", "3-run3"}, holds()); diff != "" {
		t.Errorf("the cache after going back (-want +got):\n%s", diff)
	}
}

// Versions that were logged outside a run are told apart by what was logged: a registry
// that was set up again gives the same number to another one.
func TestVersionsWithoutRun(t *testing.T) {
	t.Parallel()
	r, cache := newShelf(t), t.TempDir()
	s := newServer(t, r, cache)
	v := r.put(t, "1", bundle(t, 1))
	v.RunID = ""
	var scores []float64
	for i, logged := range []string{"m-1", "m-2"} {
		r.store(t, "1", bundle(t, float64(i+1)))
		v.Logged = logged
		r.point(v)
		poll(t, s)
		scores = append(scores, predict(t, s, "{}").Predictions[0].Probability)
	}
	if scores[0] == scores[1] {
		t.Errorf("both give %v", scores[0])
	}
	r.goAway(errors.New("away"))
	s = newServer(t, r, cache)
	s.fromCache()
	if got := predict(t, s, "{}").Predictions[0].Probability; got != scores[1] {
		t.Errorf("a start without the registry gives %v, want %v", got, scores[1])
	}
}
