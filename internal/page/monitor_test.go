package page

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mlops/dashboards/board"
	"mlops/internal/browser"
	"mlops/internal/recent"
)

// fakePrometheus answers every query with one series and remembers the queries.
type fakePrometheus struct {
	*httptest.Server
	mu    sync.Mutex
	asked []url.Values
	body  string // not empty: the answer
}

func newFakePrometheus(t *testing.T) *fakePrometheus {
	t.Helper()
	f := &fakePrometheus{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/query_range" || r.ParseForm() != nil {
			http.NotFound(w, r)
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.asked = append(f.asked, r.PostForm)
		if f.body != "" {
			fmt.Fprint(w, f.body)
			return
		}
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"version":"<b>7","code":"200","name":"m","job":"j"},"values":[[%s,"0"],[%s,"3.25"]]}]}}`, r.PostForm.Get("start"), r.PostForm.Get("end"))
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *fakePrometheus) queries() map[string]bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[string]bool{}
	for _, q := range f.asked {
		all[q.Get("query")] = true
	}
	return all
}

func monitorPage(t *testing.T, f *fakePrometheus) *Server {
	t.Helper()
	s := newServer(t, "http://127.0.0.1:1")
	if err := s.UsePrometheus(f.URL + "/"); err != nil {
		t.Fatal(err)
	}
	return s
}

// Every dashboard shows every panel, from its own expressions and no others.
func TestMonitorFromPrometheus(t *testing.T) {
	t.Parallel()
	f := newFakePrometheus(t)
	s := monitorPage(t, f)
	for _, d := range board.All() {
		w := get(s, "/monitor?board="+strings.TrimSuffix(d.File(), ".json")+"&range=6h0m0s&query=up")
		body := w.Body.String()
		if w.Code != http.StatusOK || strings.Contains(body, "<b>7") || strings.Contains(body, "No data") {
			t.Fatalf("%s: %d\n%s", d.Title, w.Code, body)
		}
		for _, r := range d.Rows {
			for _, p := range r.Panels {
				if !strings.Contains(body, ">"+strings.NewReplacer("'", "&#39;").Replace(p.Title)+"<") {
					t.Errorf("%s: no panel %s", d.Title, p.Title)
				}
			}
		}
		if d.Title == "Serving" && (!strings.Contains(body, "m &lt;b&gt;7") || !strings.Contains(body, "3.25") || !strings.Contains(body, `<svg class="chart"`)) {
			t.Errorf("no values in\n%s", body)
		}
	}
	known := map[string]bool{}
	for _, e := range board.Expressions(3 * time.Minute) { // six hours in 120 points
		known[e.Query] = true
	}
	for q := range f.queries() {
		if !known[q] {
			t.Errorf("asked %s, which is none of the dashboards' expressions", q)
		}
	}
	if len(f.queries()) != len(known) {
		t.Errorf("%d expressions were asked, want %d", len(f.queries()), len(known))
	}
}

// A dashboard that was just drawn is not drawn again for the next visitor.
func TestMonitorIsShared(t *testing.T) {
	t.Parallel()
	f := newFakePrometheus(t)
	s := monitorPage(t, f)
	for range 5 {
		get(s, "/monitor")
	}
	if n, once := len(f.asked), len(f.queries()); n != once {
		t.Errorf("Prometheus was asked %d times for %d expressions", n, once)
	}
	if w := get(s, "/monitor?board=none"); w.Code != http.StatusNotFound {
		t.Errorf("an unknown dashboard: %d", w.Code)
	}
}

// What can't be shown is said, with the reason.
func TestMonitorSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	const none = `{"status":"success","data":{"result":[]}}`
	for _, tt := range []struct{ answer, want string }{
		{none, "No data: no requests for predictions."},
		{`{"status":"error","error":"parse <error>"}`, "refused by Prometheus: parse &lt;error&gt;"},
		{`<html>`, "unreadable response from Prometheus (200 OK)"},
		{`{"status":"success","data":{"result":[{"metric":{},"values":[[1,2]]}]}}`, "is not a moment and a value"},
	} {
		f := newFakePrometheus(t)
		f.body = tt.answer
		body := get(monitorPage(t, f), "/monitor").Body.String()
		if !strings.Contains(body, tt.want) {
			t.Errorf("%s: no %q in\n%s", tt.answer, tt.want, body)
		}
		// What was not answered is not said to be none.
		if known := tt.answer == none; strings.Contains(body, "<dd>no requests</dd>") != known || strings.Contains(body, "<dd>not known</dd>") == known || strings.Contains(body, "Not known.") == known {
			t.Errorf("%s: what is known in\n%s", tt.answer, body)
		}
	}
	f := newFakePrometheus(t)
	s := monitorPage(t, f)
	f.Close()
	if body := get(s, "/monitor").Body.String(); !strings.Contains(body, "no response from Prometheus") {
		t.Errorf("nothing about a Prometheus that is away in\n%s", body)
	}
	if err := s.UsePrometheus("prometheus:9090"); err == nil {
		t.Error("an address without a scheme is accepted")
	}
}

// Without a Prometheus the page shows what it has read itself, and says what that lacks.
func TestMonitorFromOwnHistory(t *testing.T) {
	t.Parallel()
	s := newServer(t, "http://127.0.0.1:1")
	if body := get(s, "/monitor").Body.String(); !strings.Contains(body, "Nothing has been read") || !strings.Contains(body, "there is no Prometheus") || strings.Contains(body, "<dd>none</dd>") || !strings.Contains(body, "<dd>not known</dd>") {
		t.Errorf("an empty history:\n%s", body)
	}
	s = newServer(t, "http://127.0.0.1:1")
	now := time.Now()
	for i := range 24 {
		text := fmt.Sprintf("# TYPE mlops_requests_total counter\nmlops_requests_total{handler=\"predict\",code=\"200\"} %d\n# TYPE mlops_model_info gauge\nmlops_model_info{name=\"m\",version=\"3\"} 1\n", 10*i)
		if err := s.monitor.own.Add(now.Add(time.Duration(5*i-5*24)*time.Second), strings.NewReader(text), recent.Labels{"job": "inference", "instance": "i"}); err != nil {
			t.Fatal(err)
		}
	}
	body := get(s, "/monitor").Body.String()
	for _, want := range []string{"<dd>m 3</dd>", "<dd>120</dd>", `<svg class="chart"`} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in\n%s", want, body)
		}
	}
	for _, b := range []string{"pipelines", "platform", "loadtest"} {
		if body := get(s, "/monitor?board="+b).Body.String(); !strings.Contains(body, "This needs Prometheus") || strings.Contains(body, "<svg") {
			t.Errorf("%s without a Prometheus:\n%s", b, body)
		}
	}
}

// Of many series those that are 0 are left out, and a chart of nothing else says so.
func TestChartOfZeros(t *testing.T) {
	t.Parallel()
	now := time.Now()
	times := []time.Time{now.Add(-time.Minute), now}
	for _, tt := range []struct {
		zeros, others       int
		lines               int
		empty, descriptions string
	}{
		{3, 0, 3, "", ""}, {3, 1, 4, "", ""}, {4, 1, 1, "", " 4 further series are 0."}, {11, 0, 0, "All 11 series are 0.", ""}, {11, 2, 2, "", " 11 further series are 0."},
		{2, 9, 8, "", " 2 further series are 0. The 8 highest of 9 series."}, {0, 0, 0, "No data: no records.", ""},
	} {
		var lines []recent.Line
		var names []string
		for i := range tt.zeros + tt.others {
			y := 0.0
			if i >= tt.zeros {
				y = float64(i)
			}
			lines, names = append(lines, recent.Line{Values: []float64{0, y}}), append(names, fmt.Sprint("n", i))
		}
		got := chartOf(&board.Panel{Title: "x", NoValue: "no records"}, lines, names, times, axisUpTo(now, time.Minute), nil, false)
		if n := strings.Count(string(got.SVG), "data-name="); n != tt.lines || got.Empty != tt.empty || got.Description != tt.descriptions {
			t.Errorf("%d zeros and %d others: %d lines, %q, %q, want %+v", tt.zeros, tt.others, n, got.Empty, got.Description, tt)
		}
	}
}

// watch is what the test does in the browser.
//
//go:embed testdata/watch.js
var watch []byte

// TestMonitorInBrowser: the page draws itself anew, fits the window, says a chart's values
// where the pointer is, and says when its server is away.
func TestMonitorInBrowser(t *testing.T) {
	tab := browser.OpenFor(t, 1400, 900)
	f := newFakePrometheus(t)
	s := monitorPage(t, f)
	var away atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if away.Load() {
			http.Error(w, "away", http.StatusBadGateway)
			return
		}
		s.monitor.mu.Lock()
		clear(s.monitor.drawn)
		s.monitor.mu.Unlock()
		got := get(s, r.URL.RequestURI())
		for name, values := range got.Header() {
			w.Header()[name] = values
		}
		body := bytes.Replace(got.Body.Bytes(), []byte("</head>"), []byte(`<script defer src="/watch.js"></script></head>`), 1)
		w.Write(bytes.Replace(body, []byte("every = 10000"), []byte("every = 100"), 1))
	})
	mux.HandleFunc("GET /watch.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		w.Write(watch)
	})
	mux.HandleFunc("POST /change", func(http.ResponseWriter, *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.body = `{"status":"success","data":{"result":[]}}`
	})
	mux.HandleFunc("POST /leave", func(http.ResponseWriter, *http.Request) { away.Store(true) })
	done := reported(t, mux)
	server := httptest.NewServer(mux)
	defer server.Close()
	type report struct {
		First, Then      string
		Charts           int
		Wide             bool
		AwayBefore, Away bool
		Pointed          []string
		Fresh            bool
	}
	var got report
	if err := json.Unmarshal(browse(t, tab, server.URL+"/monitor", done), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Pointed) < 2 || got.Pointed[0] != "now" {
		t.Errorf("the pointer at a chart's end reads %q", got.Pointed)
	}
	want := report{First: "m <b>7", Then: "none", Charts: got.Charts, Away: true, Pointed: got.Pointed, Fresh: true}
	if diff := cmp.Diff(want, got); diff != "" || got.Charts < 10 {
		t.Errorf("the page's report of %d charts (-want +got):\n%s", got.Charts, diff)
	}
}
