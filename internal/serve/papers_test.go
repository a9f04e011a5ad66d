package serve

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"mlops/internal/api"
	"mlops/internal/card"
	"mlops/internal/model"
	"mlops/internal/registry"
)

// desk has papers for people.
type desk struct {
	mu     sync.Mutex
	card   []byte
	events *api.Events // nil: the gate left none
	away   error
	asked  int
}

func (d *desk) Card(context.Context, registry.Version) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.card, d.away
}

func (d *desk) Events(context.Context, registry.Version) (api.Events, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.asked++; d.away != nil {
		return api.Events{}, d.away
	}
	if d.events == nil {
		return api.Events{}, registry.ErrNoEvents
	}
	return *d.events, nil
}

func (d *desk) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

// askFor asks for a path in a form.
func askFor(s *Server, path, accept string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

// carded are the files of a version with a card.
func carded(t *testing.T, leaf float64) (files map[string][]byte, text []byte) {
	t.Helper()
	text, err := card.Card{Title: "Tiny <script>", Blocks: []card.Block{{Heading: "Figures", Head: []string{"figure", "test"}, Rows: [][]string{{"auc", "0.75 (0.7 to 0.8)"}}}}}.JSON()
	if err != nil {
		t.Fatal(err)
	}
	return bundleWith(t, tinyEncoder(t), leaf, map[string][]byte{model.FileCard: text}), text
}

func TestCard(t *testing.T) {
	t.Parallel()
	files, text := carded(t, 1)
	shelf, cache, papers := newShelf(t), t.TempDir(), &desk{card: []byte(`{"title":"forged"}`)}
	shelf.put(t, "1", files)
	s := newServer(t, shelf, cache)
	s.options.Papers = papers
	poll(t, s)
	if got := describedAs(t, s).Links; got.Card != pathCard || got.History != pathEvents {
		t.Errorf("links %+v", got)
	}
	if w := ask(s, http.MethodGet, pathCard, ""); w.Code != 503 || !strings.Contains(w.Body.String(), "not the file that training wrote") {
		t.Errorf("a card with another digest: status %d, %s", w.Code, w.Body)
	}
	papers.set(func() { papers.card = text })
	for accept, want := range map[string]string{
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": "<td>0.75 (0.7 to 0.8)</td>",
		"application/json":                     `"auc"`,
		"*/*":                                  "| auc | 0.75 (0.7 to 0.8) |",
		"":                                     "# Tiny &lt;script>",
		"text/html;q=0.2, text/markdown;q=0.1": "<h1>Tiny &lt;script&gt;</h1>",
		"text/*;q=0.5, application/json;q=0.4": "| auc |",
		"image/png":                            "| auc |",
	} {
		w := askFor(s, pathCard, accept)
		if w.Code != 200 || !strings.Contains(w.Body.String(), want) || w.Header().Get("Vary") != "Accept" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("Accept %q: status %d, %v: %s", accept, w.Code, w.Header(), w.Body)
		}
		if policy := w.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("Accept %q: policy %q", accept, policy)
		}
	}

	// The registry is gone: a new server has the card from the local copy.
	papers.set(func() { papers.away = errors.New("no route to host") })
	again := newServer(t, shelf, cache)
	again.options.Papers = papers
	poll(t, again)
	if w := ask(again, http.MethodGet, pathCard, ""); w.Code != 200 {
		t.Errorf("from the local copy: status %d, %s", w.Code, w.Body)
	}

	// A version without a card goes on.
	shelf.put(t, "2", bundle(t, 2))
	poll(t, s)
	checkProblem(t, "no card", ask(s, http.MethodGet, pathCard, ""), 404, api.NotFound, "")
	if got := describedAs(t, s).Links; got.Card != "" {
		t.Errorf("links %+v of a version without a card", got)
	}
}

// The card comes by itself, so that it is here when the registry is not.
func TestCardIsFetched(t *testing.T) {
	t.Parallel()
	files, text := carded(t, 1)
	shelf, papers := newShelf(t), &desk{card: text}
	shelf.put(t, "1", files)
	s := newServer(t, shelf, t.TempDir())
	s.options.Papers = papers
	watch(t, s)
	eventually(t, "the card", func() bool { now := s.served.Load(); return now != nil && now.paper.card.Load() != nil })
}

// slowDesk never comes to an end with a card.
type slowDesk struct {
	desk
	asked chan struct{} // closed when it is asked for one
	once  sync.Once
}

func (d *slowDesk) Card(ctx context.Context, _ registry.Version) ([]byte, error) {
	d.once.Do(func() { close(d.asked) })
	<-ctx.Done()
	return nil, ctx.Err()
}

// A registry that is slow to send a card delays no promotion.
func TestSlowCard(t *testing.T) {
	t.Parallel()
	first, _ := carded(t, 1)
	shelf, papers := newShelf(t), &slowDesk{asked: make(chan struct{})}
	shelf.put(t, "1", first)
	s := newServer(t, shelf, t.TempDir())
	s.options.Papers = papers
	watch(t, s)
	<-papers.asked
	start := time.Now()
	shelf.put(t, "2", bundle(t, 2))
	eventually(t, "the next version", func() bool { return s.served.Load().version.Number == 2 })
	if took := time.Since(start); took >= papersTimeout {
		t.Errorf("version 2 was served after %s", took)
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	cache, papers := t.TempDir(), &desk{}
	shelf := newShelf(t)
	shelf.put(t, "1", bundle(t, 1))
	s := newServer(t, shelf, cache)
	checkProblem(t, "no model", ask(s, http.MethodGet, pathEvents, ""), 503, api.NoModel, "")
	s.options.Papers = papers
	poll(t, s)
	get := func(s *Server) (got api.Events) {
		t.Helper()
		w := ask(s, http.MethodGet, pathEvents, "")
		if err := json.Unmarshal(w.Body.Bytes(), &got); w.Code != 200 || err != nil {
			t.Fatalf("status %d, %v: %s", w.Code, err, w.Body)
		}
		return got
	}
	later := func() { s.papers.asked = time.Time{} }
	if got := get(s); got.Missing == "" || got.Events == nil || got.Model != "tiny" {
		t.Errorf("none: %+v", got)
	}
	value := 0.7
	papers.set(func() {
		papers.events = &api.Events{Model: "tiny", Total: 3, Events: []api.Event{{Kind: "promoted", By: "a", To: 1, Why: "better", Figures: &api.Figures{Metric: "auc", Rows: 9, To: &value, ToInterval: []float64{0.6, 0.8}}}}}
	})
	if got := get(s); got.Missing == "" || papers.asked != 1 {
		t.Errorf("asked again %d times at once: %+v", papers.asked, got)
	}
	later()
	if got := get(s); got.Missing != "" || got.Stale != "" || got.Total != 3 || len(got.Events) != 1 || got.Read.IsZero() ||
		got.Events[0].Figures.Words(0, 1) != "auc on 9 validation rows: version 1 0.7000 (0.6000 to 0.8000)" {
		t.Errorf("%+v", got)
	}
	papers.set(func() { papers.away = errors.New("no route to host") })
	later()
	if got := get(s); got.Stale != "no route to host" || len(got.Events) != 1 {
		t.Errorf("registry away: %+v", got)
	}
	again := newServer(t, shelf, cache)
	again.options.Papers = papers
	poll(t, again)
	if got := get(again); got.Stale != "no route to host" || len(got.Events) != 1 {
		t.Errorf("registry away since before the start: %+v", got)
	}
	papers.set(func() { papers.away, papers.events = nil, nil })
	later()
	if got := get(s); !strings.Contains(got.Stale, "has not left the history with version 1") || len(got.Events) != 1 {
		t.Errorf("promoted just now: %+v", got)
	}
}
