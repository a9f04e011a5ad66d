package page

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"mlops/internal/api"
)

func TestNew(t *testing.T) {
	for _, base := range []string{"", "localhost:8000", "/model", "ftp://host", "http://", "http://a b"} {
		if _, err := New(base, time.Second, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("New(%q) took it", base)
		}
	}
}

func TestFormOfSample(t *testing.T) {
	f := newFake(t, "diabetes")
	s := newServer(t, f.URL)
	w := get(s, "/?sample=2")
	if w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	d := parse(t, w)

	// What a browser would send at once is the sample without the target and
	// without what is missing.
	want := api.Record{}
	for name, value := range f.model.Samples[1].Record {
		if value != "?" && name != "readmitted" {
			want[name] = value
		}
	}
	if diff := cmp.Diff(want, submitted(&f.model.Dataset, d.form())); diff != "" {
		t.Errorf("the form's record (-sample +form):\n%s", diff)
	}

	for column, option := range map[string]string{"admission_type_id": "1 · Emergency", "race": "AfricanAmerican", "weight": "unknown"} {
		selected := d.field(column).all(func(n *html.Node) bool { return n.Data == "option" && has(n, "selected") })
		if len(selected) != 1 || text(selected[0]) != option {
			t.Errorf("%s: not the one option %q is selected", column, option)
		}
	}
	days := d.one("input", "name", "c.time_in_hospital")
	if got := attr(days, "type") + attr(days, "min") + attr(days, "max") + attr(days, "step"); got != "number1141" {
		t.Errorf("time_in_hospital: type, min, max and step are %q", got)
	}
	if label := d.one("label", "for", attr(days, "id")); text(label) != "Days in hospital 1 to 14" {
		t.Errorf("its label is %q", text(label))
	}
	if about := text(d.one("footer", "id", "about")); !strings.Contains(about, "readmission, version 3") || !strings.Contains(about, "AUC0.684") {
		t.Errorf("the foot does not name version and test AUC: %s", about)
	}
	if got := attr(d.one("section", "id", "panel"), "data-stored"); got != "0.0547" {
		t.Errorf("the stored probability is %s", got)
	}
}

// TestSafe: whatever a data set's YAML and records hold stays text, and the
// page needs nothing that its own policy forbids.
func TestSafe(t *testing.T) {
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)>`
	f := newFake(t, "penguins")
	m := f.model
	m.Model.Name, m.Model.Number, m.Model.Candidate = evil, evil, evil
	m.Dataset.Title, m.Dataset.Description, m.Dataset.Cite = evil, evil, evil
	m.Dataset.Target.Labels.Positive = evil
	m.Refused = &api.Refusal{Version: evil, Reason: evil}
	m.Metrics = map[string]float64{"test_" + evil: 1}
	m.Dataset.Columns = []api.Column{
		{Name: evil, Label: evil, Form: evil, Type: "category", Values: []string{evil}, Codes: []api.Code{{Code: evil + "1", Name: evil}}},
		{Name: "n" + evil, Form: evil, Type: "number"},
		{Name: "o" + evil, Form: evil, Type: "category"},
		{Name: "h" + evil, Type: "category"},
	}
	m.Samples = []api.Sample{{Record: api.Record{evil: evil, "n" + evil: evil, "o" + evil: evil, "h" + evil: evil}}}
	s := newServer(t, f.URL)

	// own reports whether a script or style is a file of the page's, or the form's as it is.
	own := func(n *html.Node) bool {
		if n.FirstChild == nil {
			return strings.HasPrefix(attr(n, "src"), "/assets/")
		}
		return n.FirstChild.Data == string(s.assets.script) || n.FirstChild.Data == string(s.assets.style)
	}
	first := get(s, "/")
	d := parse(t, first)
	pages := []*httptest.ResponseRecorder{first, postForm(s, d.form()), get(s, "/?sample="+"%22%3E%3Cscript%3E"), get(s, "/<script>")}
	for i, w := range pages {
		for _, n := range parse(t, w).all(func(*html.Node) bool { return true }) {
			if n.Data == "img" || (n.Data == "script" || n.Data == "style") && !own(n) {
				t.Errorf("page %d has a <%s %v>", i, n.Data, n.Attr)
			}
			for _, a := range n.Attr {
				if strings.HasPrefix(a.Key, "on") || a.Key == "style" {
					t.Errorf("page %d: <%s> has an attribute %s", i, n.Data, a.Key)
				}
				if (a.Key == "src" || a.Key == "href" || a.Key == "action") && !strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "#") {
					t.Errorf("page %d: <%s> leads to %s", i, n.Data, a.Val)
				}
			}
		}
		if policy := w.Header().Get("Content-Security-Policy"); strings.Contains(policy, "unsafe") || !strings.Contains(policy, "default-src 'none'") {
			t.Errorf("page %d: policy %q", i, policy)
		}
	}
	// The names survive the way through the form; the number is refused.
	got := submitted(&m.Dataset, d.form())
	if diff := cmp.Diff(m.Samples[0].Record, got); diff != "" {
		t.Errorf("the form's record (-sample +form):\n%s", diff)
	}
	if pages[1].Code != http.StatusUnprocessableEntity {
		t.Errorf("posting it: status %d", pages[1].Code)
	}
}

func TestPredict(t *testing.T) {
	tests := []struct {
		why         string
		probability float64
		label, side string
		positive    bool
		difference  string
	}{
		{"above the threshold", 0.25, "readmitted within 30 days", "at or above the threshold", true, "+16.9 points"},
		{"at the threshold", 0.1123, "readmitted within 30 days", "at or above the threshold", true, "+3.1 points"},
		{"below it", 0.05, "not readmitted within 30 days", "below the threshold", false, "−3.1 points"},
		{"as stored, but for float32's last digits", 0.0812001, "not readmitted within 30 days", "below the threshold", false, "none"},
	}
	f := newFake(t, "diabetes")
	s := newServer(t, f.URL)
	for _, test := range tests {
		f.change(func() { f.probability = test.probability })
		form := parse(t, get(s, "/")).form()
		form.Set("c.number_inpatient", "7")
		form.Set("c.race", "")
		w := postForm(s, form)
		if w.Code != 200 {
			t.Fatalf("%s: status %d: %s", test.why, w.Code, w.Body)
		}
		d := parse(t, w)
		panel := document{t, d.one("section", "id", "panel")}
		for name, want := range map[string]string{
			"probability": percent(test.probability), "label": test.label, "side": test.side,
			"difference": test.difference, "answered": "readmission, version 3", "threshold": "11.2%",
		} {
			if n := panel.all(func(n *html.Node) bool { return attr(n, "data-fill") == name }); len(n) != 1 || text(n[0]) != want {
				t.Errorf("%s: the panel's %s is not %q", test.why, name, want)
			}
		}
		if fill := panel.all(func(n *html.Node) bool { return n.Data == "rect" && strings.HasPrefix(attr(n, "class"), "fill") })[0]; attr(fill, "width") != fmt.Sprintf("%.2f%%", 100*test.probability) || strings.Contains(attr(fill, "class"), "positive") != test.positive {
			t.Errorf("%s: the bar is %v", test.why, fill.Attr)
		}
		records := f.records()
		last := records[len(records)-1]
		if _, race := last["race"]; race || last["number_inpatient"] != "7" || last["insulin"] != "Up" || last["encounter_id"] == "" {
			t.Errorf("%s: inference was asked %v", test.why, last)
		}
		if got := parse(t, w).form(); got.Get("c.number_inpatient") != "7" || got.Get("c.race") != "" || got.Get("sample") != "1" {
			t.Errorf("%s: the form came back with %v", test.why, got)
		}
		if class := attr(d.one("div", "data-column", "number_inpatient"), "class"); class != "field changed" {
			t.Errorf("%s: the changed field's class is %q", test.why, class)
		}
	}
}

func TestPredictErrors(t *testing.T) {
	tests := []struct {
		why     string
		column  string
		value   string
		status  int // inference's
		problem string
		want    int
		beside  string // the error beside the column's field
		panel   string // in the panel
	}{
		{"found here", "time_in_hospital", "99", 0, "", 422, "must be at most 14", "Days in hospital: must be at most 14"},
		{"found by inference", "race", "x", 422, `{"title":"A record can't be scored","status":422,"detail":"record 0","errors":[{"record":0,"field":"race","detail":"is odd"}]}`, 422, "is odd", "Race: is odd"},
		{"in a column that the form does not have", "race", "x", 422, `{"title":"T","errors":[{"field":"encounter_id","detail":"is odd"}]}`, 422, "", "encounter_id: is odd"},
		{"no model any more", "race", "x", 503, `{"title":"No model","detail":"it was withdrawn"}`, 503, "", "it was withdrawn"},
		{"an error that is no problem+json", "race", "x", 500, `<h1>oops</h1>`, 500, "", "Internal Server Error"},
	}
	f := newFake(t, "diabetes")
	s := newServer(t, f.URL)
	for _, test := range tests {
		f.change(func() { f.status, f.problem = test.status, test.problem })
		form := parse(t, get(s, "/")).form()
		form.Set("c."+test.column, test.value)
		w := postForm(s, form)
		d := parse(t, w)
		if w.Code != test.want {
			t.Errorf("%s: status %d, want %d", test.why, w.Code, test.want)
		}
		beside := d.field(test.column).all(func(n *html.Node) bool { return attr(n, "class") == "error" && !has(n, "hidden") })
		if got := strings.Join(texts(beside), "|"); got != test.beside {
			t.Errorf("%s: beside the field stands %q, want %q", test.why, got, test.beside)
		}
		if got := text(d.one("section", "id", "panel")); !strings.Contains(got, test.panel) {
			t.Errorf("%s: the panel does not say %q: %s", test.why, test.panel, got)
		}
		if got := text(d.one("section", "id", "panel")); strings.Contains(got, "record 0") {
			t.Errorf("%s: the panel says twice what is wrong: %s", test.why, got)
		}
		if got := d.form().Get("c." + test.column); got != test.value {
			t.Errorf("%s: the form came back with %q, not with what was typed", test.why, got)
		}
	}
	if n := len(f.records()); n != 0 {
		t.Errorf("%d wrong records were scored", n)
	}
}

func texts(nodes []*html.Node) []string {
	var out []string
	for _, n := range nodes {
		out = append(out, text(n))
	}
	return out
}

// TestSwap: an answer of a newer version than the form's is shown with that
// version's threshold and compared with nothing.
func TestSwap(t *testing.T) {
	for _, why := range []string{"before the form is sent", "between the page's two questions"} {
		f := newFake(t, "diabetes")
		s := newServer(t, f.URL)
		form := parse(t, get(s, "/")).form()
		swap := func() {
			m := *f.model
			m.Model.Number, m.Model.RunID, m.Threshold = "4", "r4", 0.31
			f.model = &m
		}
		if why == "before the form is sent" {
			f.change(swap)
		} else {
			f.swap = swap
		}
		panel := parse(t, postForm(s, form)).one("section", "id", "panel")
		if got := text(panel); !strings.Contains(got, "version 4") || !strings.Contains(got, "below the threshold") || !strings.Contains(got, "31.0%") {
			t.Errorf("%s: the panel is not the new version's: %s", why, got)
		}
		if has(panel, "data-stored") {
			t.Errorf("%s: the prediction is compared with another version's stored one", why)
		}
	}
}

func TestWaiting(t *testing.T) {
	f := newFake(t, "diabetes")
	model := f.model
	f.model = nil
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	odd := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"model":`) }))
	defer odd.Close()

	tests := []struct{ why, base, heading, detail string }{
		{"no model yet", f.URL, "No model is being served yet", "no version of it has the alias production"},
		{"no server", gone.URL, "The inference server does not respond", "It may be starting, restarting or busy."},
		{"somebody else there", odd.URL, "The inference server's response can't be read", "It may be of another version than this page; the page's log says more."},
	}
	for _, test := range tests {
		s := newServer(t, test.base)
		for _, w := range []*httptest.ResponseRecorder{get(s, "/"), postForm(s, map[string][]string{"c.race": {"x"}})} {
			d := parse(t, w)
			if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
				t.Errorf("%s: status %d, Retry-After %q", test.why, w.Code, w.Header().Get("Retry-After"))
			}
			if got := texts(d.all(func(n *html.Node) bool { return n.Data == "h1" || attr(n, "id") == "detail" })); !cmp.Equal(got, []string{test.heading, test.detail}) {
				t.Errorf("%s: it says %q", test.why, got)
			}
			if !strings.Contains(w.Body.String(), `http-equiv="refresh"`) {
				t.Errorf("%s: without JavaScript it does not come back", test.why)
			}
		}
		if w := get(s, "/readyz"); w.Code != 200 {
			t.Errorf("%s: the page is not ready", test.why)
		}
	}

	f.change(func() { f.model = model })
	if w := get(newServer(t, f.URL), "/"); w.Code != 200 {
		t.Errorf("once there is a model: status %d", w.Code)
	}
}

// TestDownWhilePosting: what somebody typed outlives the inference server.
func TestDownWhilePosting(t *testing.T) {
	f := newFake(t, "diabetes")
	s := newServer(t, f.URL)
	form := parse(t, get(s, "/?sample=3")).form()
	form.Set("c.race", "Other")
	f.Close()
	w := postForm(s, form)
	d := parse(t, w)
	if w.Code != http.StatusBadGateway || !strings.Contains(text(d.one("section", "id", "panel")), "does not respond") {
		t.Errorf("status %d; the panel says %s", w.Code, text(d.one("section", "id", "panel")))
	}
	if diff := cmp.Diff(form["c.race"], d.form()["c.race"]); diff != "" || d.form().Get("sample") != "3" {
		t.Errorf("the form came back without what was typed: %s", diff)
	}
	if about := d.one("footer", "id", "about"); attr(about, "class") != "away" || !strings.Contains(text(about), "does not respond now") {
		t.Errorf("the foot names a version as if it were served: %s", text(about))
	}
}

func TestProxy(t *testing.T) {
	f := newFake(t, "penguins")
	s := newServer(t, f.URL)

	w := post(s, "/predict", "application/json", `{"species":"Adelie"}`)
	var a api.Predictions
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != 200 || a.Model.Number != "1" || len(a.Predictions) != 1 {
		t.Errorf("/predict: status %d, %s", w.Code, w.Body)
	}
	if diff := cmp.Diff([]api.Record{{"species": "Adelie"}}, f.records()); diff != "" {
		t.Errorf("/predict handed on (-want +got):\n%s", diff)
	}

	const problem = `{"title":"T","status":422,"errors":[{"field":"x","detail":"y"}]}`
	f.change(func() { f.status, f.problem = 422, problem })
	if w := post(s, "/predict", "application/json", `{}`); w.Code != 422 || w.Body.String() != problem || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("a problem came through as %d %s %s", w.Code, w.Header(), w.Body)
	}

	w = get(s, "/model")
	var m api.Model
	if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil || m.Model.Name != "penguin-sex" {
		t.Errorf("/model: %s", w.Body)
	}
	r := httptest.NewRequest(http.MethodGet, "/model", nil)
	r.Header.Set("If-None-Match", "W/"+w.Header().Get("ETag")) // as a proxy in front has it
	again := httptest.NewRecorder()
	s.ServeHTTP(again, r)
	if again.Code != http.StatusNotModified || again.Body.Len() != 0 {
		t.Errorf("/model unchanged: status %d", again.Code)
	}
	f.change(func() { f.model.Model.Number = "2" })
	again = httptest.NewRecorder()
	if s.ServeHTTP(again, r); again.Code != 200 {
		t.Errorf("/model changed: status %d", again.Code)
	}

	f.Close()
	for _, w := range []*httptest.ResponseRecorder{get(s, "/model"), post(s, "/predict", "application/json", `{}`)} {
		var p api.Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != 502 || p.Status != 502 || p.Title == "" {
			t.Errorf("without inference: status %d, %s", w.Code, w.Body)
		}
	}
}

func TestLimitsAndRoutes(t *testing.T) {
	f := newFake(t, "penguins")
	s := newServer(t, f.URL)
	large := strings.Repeat("x", maxBody+1)
	tests := []struct {
		why  string
		got  *httptest.ResponseRecorder
		want int
	}{
		{"a record over the limit", post(s, "/predict", "application/json", large), 413},
		{"a form over the limit", post(s, "/", "application/x-www-form-urlencoded", "c.species="+large), 413},
		{"a broken form", post(s, "/", "application/x-www-form-urlencoded", "c.species=%zz"), 400},
		{"no such page", get(s, "/nothing"), 404},
		{"no such asset", get(s, "/assets/style.css"), 404},
		{"not a way to ask for a prediction", get(s, "/predict"), 405},
		{"alive", get(s, "/healthz"), 200},
	}
	for _, test := range tests {
		if test.got.Code != test.want {
			t.Errorf("%s: status %d, want %d", test.why, test.got.Code, test.want)
		}
	}
	if n := len(f.records()); n != 0 {
		t.Errorf("inference was asked %d times", n)
	}

	metrics := get(s, "/metrics").Body.String()
	for _, line := range []string{
		`mlops_page_requests_total{code="413",handler="/predict"} 1`,
		`mlops_page_requests_total{code="413",handler="/"} 1`,
		`mlops_page_requests_total{code="404",handler="other"} 1`,
		`mlops_page_requests_total{code="404",handler="/assets/{name}"} 1`,
		`mlops_page_requests_total{code="405",handler="other"} 1`,
		`mlops_page_request_duration_seconds_count{handler="/"} 2`,
	} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("/metrics lacks %s", line)
		}
	}
	if strings.Contains(metrics, "/nothing") {
		t.Error("/metrics has a label from a path that anybody can send")
	}
}

func TestAssets(t *testing.T) {
	f := newFake(t, "penguins")
	s := newServer(t, f.URL)
	d := parse(t, get(s, "/batch")) // the form has its style and script in the page
	types := map[string]string{}
	for _, n := range d.all(func(n *html.Node) bool { return n.Data == "link" || n.Data == "script" }) {
		address := attr(n, "href") + attr(n, "src")
		w := get(s, address)
		if w.Code != 200 || w.Body.Len() == 0 || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
			t.Errorf("%s: status %d, %d bytes, Cache-Control %q", address, w.Code, w.Body.Len(), w.Header().Get("Cache-Control"))
		}
		types[address[strings.LastIndexByte(address, '.'):]] = strings.Split(w.Header().Get("Content-Type"), ";")[0]
	}
	want := map[string]string{".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
	if diff := cmp.Diff(want, types); diff != "" {
		t.Errorf("types of the page's assets (-want +got):\n%s", diff)
	}
}

// TestRunDrains: a prediction that is being served when the server is told to end
// is answered, and Run returns after it.
func TestRunDrains(t *testing.T) {
	f := newFake(t, "penguins")
	f.hold = make(chan struct{})
	s := newServer(t, f.URL)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, l, 0) }()

	answered := make(chan error, 1)
	go func() {
		resp, err := http.Post("http://"+l.Addr().String()+"/predict", "application/json", strings.NewReader(`{}`))
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode != 200 {
				err = fmt.Errorf("status %d", resp.StatusCode)
			}
		}
		answered <- err
	}()
	<-f.held
	cancel()
	for get(s, "/readyz").Code == 200 { // until Run has seen it
		select {
		case err := <-ended:
			t.Fatalf("Run ended while a request was being served: %v", err)
		default:
		}
	}
	close(f.hold)
	if err := <-answered; err != nil {
		t.Errorf("the request being served: %v", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("it still listens")
	}
}
