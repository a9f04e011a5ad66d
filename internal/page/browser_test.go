package page

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/api"
	"mlops/internal/browser"
)

// drive is what the test does in the browser.
//
//go:embed testdata/drive.js
var drive []byte

// step is what the page shows after something was done to it.
type step struct {
	Did      string
	State    string
	Outdated string // what it says of the result; empty if it is current
	Dimmed   bool
	Text     string // the panel's result, as far as it is visible
	Title    string
	Odd      string // fields that have a warning
	Away     string
}

// TestInBrowser drives the page's script: no result that is shown as current is
// another record's, another version's, or from before the server failed.
func TestInBrowser(t *testing.T) {
	tab := browser.OpenFor(t, 1280, 900)
	f := newFake(t, "diabetes")
	f.change(func() {
		for i := range 101 {
			f.model.TestOutputs = append(f.model.TestOutputs, float32(i)/100)
		}
		f.warnings = []api.Warning{{Column: "race", Kind: api.UnseenLevel, Detail: "is odd"}}
	})
	page := newServer(t, f.URL)
	mux := http.NewServeMux()
	mux.Handle("/", page)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		got := httptest.NewRecorder()
		r.Header.Del("Accept-Encoding") // what is compressed can't be added to
		page.ServeHTTP(got, r)
		for name, values := range got.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(got.Code)
		w.Write(bytes.Replace(got.Body.Bytes(), []byte("</head>"), []byte(`<script defer src="/drive.js"></script></head>`), 1))
	})
	mux.HandleFunc("GET /drive.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		w.Write(drive)
	})
	changes := map[string]func(){
		"excluded": func() { f.excluded, f.warnings = "died", nil },
		"scored":   func() { f.excluded, f.warnings = "", nil },
		"failing": func() {
			f.status, f.problem = 503, `{"title":"The server is overloaded","status":503,"detail":"try again later"}`
		},
		"invalid": func() {
			f.status, f.problem = 422, `{"title":"T","status":422,"errors":[{"record":0,"field":"race","detail":"is wrong"}]}`
		},
		"garbled": func() { f.status, f.problem = 502, `<html>` },
		"well":    func() { f.status = 0 },
		"swapped": func() {
			m := *f.model
			m.Model.Number, m.Model.RunID = "4", "r4"
			m.TestOutputs = []float32{0.3, 0.4}
			f.model = &m
		},
	}
	mux.HandleFunc("POST /change/{what}", func(_ http.ResponseWriter, r *http.Request) { f.change(changes[r.PathValue("what")]) })
	done := reported(t, mux)
	server := httptest.NewServer(mux)
	defer server.Close()

	text := browse(t, tab, server.URL, done)
	var got []step
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	const (
		changed = "The form has changed since. Predict again."
		newer   = "Version 4 is served now. Predict again."
		title   = "Readmission within 30 days"
		result  = "25.0% probability of “readmitted within 30 days” readmitted within 30 days at or above the threshold " +
			"2.2 times the average of 11.3% Of test records at or above the threshold, 19.2% were “readmitted within 30 days”."
		chance  = result + " Higher than for 24 of 100 test records."
		lowest  = result + " No higher than for any test record."
		odd     = chance + " Keep in mind Race: is odd"
		waiting = "Change any value, then predict. Fields may be left unknown."
	)
	want := []step{
		{Did: "nothing", State: "waiting", Text: waiting, Title: title},
		{Did: "edit before a prediction", State: "waiting", Text: waiting, Title: title},
		{Did: "predict", State: "predicted", Text: odd, Title: "25.0% · " + title, Odd: "race"},
		{Did: "edit another field", State: "predicted", Outdated: changed, Dimmed: true, Text: odd, Title: title, Odd: "race"},
		{Did: "edit it back", State: "predicted", Text: odd, Title: "25.0% · " + title, Odd: "race"},
		{Did: "predict an excluded record", State: "excluded", Text: "No score The model is not for this record: died.", Title: "No score · " + title},
		{Did: "edit after that", State: "excluded", Outdated: changed, Dimmed: true, Text: "No score The model is not for this record: died.", Title: title},
		{Did: "predict again", State: "predicted", Text: chance, Title: "25.0% · " + title},
		{Did: "predict on an overloaded server", State: "problem", Text: "The server is overloaded try again later", Title: "Error · " + title},
		{Did: "predict what is invalid", State: "problem", Text: "T Race: is wrong", Title: "Error · " + title},
		{Did: "predict behind a broken proxy", State: "problem", Text: "The server’s response can’t be read It has status 502. Your input is still here; please try again.", Title: "Error · " + title},
		{Did: "predict with no connection", State: "problem", Text: "The server does not respond Your input is still here; please try again.", Title: "Error · " + title},
		{Did: "predict when all is well", State: "predicted", Text: chance, Title: "25.0% · " + title},
		{Did: "type and wait", State: "predicted", Text: chance, Title: "25.0% · " + title},
		{Did: "what if", Text: "“readmitted within 30 days” goes from 25.0% (1) to 38.0% (14)."},
		{Did: "link", Text: "/?sample=1&c.number_inpatient=6"},
		{Did: "tried", Text: "Tried before, in this tab"},
		{Did: "another version is served", State: "predicted", Outdated: newer, Dimmed: true, Text: chance, Title: title},
		{Did: "predict with it", State: "predicted", Text: lowest, Title: "25.0% · " + title},
		{Did: "the server goes away", State: "predicted", Text: lowest, Title: "25.0% · " + title, Away: "This page’s server does not respond. Trying again."},
	}
	for i := range got {
		got[i].Text = strings.Join(strings.Fields(got[i].Text), " ")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the page's steps (-want +got):\n%s", diff)
	}
}

// reported receives what a page posts to /done.
func reported(t *testing.T, mux *http.ServeMux) <-chan []byte {
	done := make(chan []byte, 1)
	mux.HandleFunc("POST /done", func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		done <- body
	})
	return done
}

// browse opens an address and returns what the page reports.
func browse(t *testing.T, p *browser.Page, address string, done <-chan []byte) []byte {
	t.Helper()
	if err := p.Go(t.Context(), address); err != nil {
		t.Fatal(err)
	}
	select {
	case text := <-done:
		return text
	case <-time.After(time.Minute):
		t.Fatalf("the page did not report; the browser says %q", p.Complaints())
	}
	return nil
}
