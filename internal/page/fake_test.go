package page

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/html"

	"mlops/internal/api"
	"mlops/internal/card"
)

// fakeInference answers as the inference server's contract says. Its model is
// in testdata; its prediction is a constant.
type fakeInference struct {
	*httptest.Server

	mu          sync.Mutex
	model       *api.Model
	status      int // of /predict; 0: 200
	problem     string
	probability float64
	excluded    string        // the reason for no score
	warnings    []api.Warning // of the prediction
	reasons     *api.Contributions
	asked       []api.Record  // what /predict was asked
	swap        func()        // not nil: done when /predict is asked, before it answers
	card        *card.Card    // of /model/card; nil: 404
	events      *api.Events   // of /model/history; nil: 404
	hold        chan struct{} // not nil: /predict waits for it
	held        chan struct{} // gets a word when it does
}

func newFake(t *testing.T, name string) *fakeInference {
	t.Helper()
	f := &fakeInference{model: readModel(t, name), probability: 0.25, held: make(chan struct{}, 1)}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func readModel(t *testing.T, name string) *api.Model {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var m api.Model
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	return &m
}

// change changes the fake between requests.
func (f *fakeInference) change(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fakeInference) records() []api.Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}

func (f *fakeInference) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.model == nil:
		fakeProblem(w, 503, `{"type":"about:blank","title":"No model","status":503,"detail":"no version of it has the alias production"}`)
	case r.Method == http.MethodGet && r.URL.Path == "/model":
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(f.model)
	case r.URL.Path == "/model/card" && f.card != nil && r.Header.Get("Accept") != api.MediaType:
		page, err := f.card.HTML()
		if err != nil {
			panic(err)
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write(page)
	case r.URL.Path == "/model/card" && f.card != nil:
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(f.card)
	case r.URL.Path == "/model/history" && f.events != nil:
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(f.events)
	case r.Method == http.MethodPost && r.URL.Path == "/predict":
		if f.hold != nil {
			f.held <- struct{}{}
			<-f.hold
		}
		if f.swap != nil {
			f.swap()
		}
		if f.status != 0 {
			fakeProblem(w, f.status, f.problem)
			return
		}
		body, err := io.ReadAll(r.Body)
		var record api.Record
		var records []api.Record
		if err != nil || json.Unmarshal(body, &record) != nil && json.Unmarshal(body, &records) != nil {
			fakeProblem(w, 400, `{"title":"The body is not a request","status":400,"detail":"not JSON"}`)
			return
		}
		if records != nil {
			f.all(w, records)
			return
		}
		f.asked = append(f.asked, record)
		label := 0
		if f.probability >= f.model.Threshold {
			label = 1
		}
		v := f.model.Model
		v.Candidate = ""
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(api.Predictions{
			Model:       v,
			Predictions: []api.Prediction{{Label: label, Probability: f.probability, Excluded: f.excluded, Warnings: f.warnings, Contributions: f.reasons}},
		})
	default:
		http.NotFound(w, r)
	}
}

// all responds to several records: each has a probability 0.01 above the one before it,
// but those whose race is Other are excluded.
func (f *fakeInference) all(w http.ResponseWriter, records []api.Record) {
	answer := api.Predictions{Model: f.model.Model}
	for i, r := range records {
		p := api.Prediction{Probability: f.probability + float64(i)/100}
		if r["race"] == "Other" {
			p = api.Prediction{Excluded: "another race"}
		}
		answer.Predictions = append(answer.Predictions, p)
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(answer)
}

func fakeProblem(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	io.WriteString(w, body)
}

// newServer returns a page of the inference server at base.
func newServer(t *testing.T, base string) *Server {
	t.Helper()
	s, err := New(base, 10*time.Second, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func get(s http.Handler, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	return w
}

func post(s http.Handler, target, contentType, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func postForm(s http.Handler, form url.Values) *httptest.ResponseRecorder {
	return post(s, "/", "application/x-www-form-urlencoded", form.Encode())
}

// document is a parsed page.
type document struct {
	t    *testing.T
	root *html.Node
}

func parse(t *testing.T, w *httptest.ResponseRecorder) document {
	t.Helper()
	root, err := html.Parse(bytes.NewReader(w.Body.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	return document{t, root}
}

// all returns the elements for which keep holds, in the page's order.
func (d document) all(keep func(*html.Node) bool) []*html.Node {
	var found []*html.Node
	for n := range d.root.Descendants() {
		if n.Type == html.ElementNode && keep(n) {
			found = append(found, n)
		}
	}
	return found
}

// one returns the only element of that tag with that attribute.
func (d document) one(tag, key, value string) *html.Node {
	d.t.Helper()
	found := d.all(func(n *html.Node) bool { return n.Data == tag && attr(n, key) == value })
	if len(found) != 1 {
		d.t.Fatalf("%d elements <%s %s=%q>, want 1", len(found), tag, key, value)
	}
	return found[0]
}

// field returns the field of a column.
func (d document) field(column string) document {
	d.t.Helper()
	return document{d.t, d.one("div", "data-column", column)}
}

// form returns what a browser sends for the page.
func (d document) form() url.Values {
	form := url.Values{}
	for _, n := range d.all(func(n *html.Node) bool { return attr(n, "name") != "" }) {
		switch n.Data {
		case "input":
			form.Set(attr(n, "name"), attr(n, "value"))
		case "select":
			for _, o := range (document{d.t, n}).all(func(o *html.Node) bool { return o.Data == "option" && has(o, "selected") }) {
				form.Set(attr(n, "name"), attr(o, "value"))
			}
		}
	}
	return form
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, key string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == key })
}

// text is what an element says, with spaces made one.
func text(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}
