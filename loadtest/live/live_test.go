package live

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mlops/internal/linechart"
	"mlops/loadtest"
)

const answer = `{"model":{"name":"m","version":"7","run_id":"r"},"predictions":[{"label":1,"probability":0.5}]}`

// pages starts a page that loads a server.
func pages(t *testing.T, o Options, h http.HandlerFunc) (page, target string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	o.Log = slog.New(slog.DiscardHandler)
	if o.URL == "" {
		o.URL = s.URL + "/predict"
	}
	if o.Most == 0 {
		o.Most = 100
	}
	p, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(p)
	t.Cleanup(web.Close)
	return web.URL, s.URL
}

func form(t *testing.T, fields map[string]string, records string) (string, io.Reader) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for k, v := range fields {
		w.WriteField(k, v)
	}
	if records != "" {
		f, err := w.CreateFormFile("records", "r.csv")
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(f, records)
	}
	w.Close()
	return w.FormDataContentType(), &b
}

func post(t *testing.T, url string, fields map[string]string, records string) (int, string) {
	t.Helper()
	kind, body := form(t, fields, records)
	res, err := http.Post(url, kind, body)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(text)
}

func get(t *testing.T, url string) (*http.Response, string) {
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
	return res, string(text)
}

// A test is started, changed, stopped and given out, as a person would do it.
func TestPage(t *testing.T) {
	t.Parallel()
	var rows atomic.Int64
	page, _ := pages(t, Options{Key: "the-key"}, func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		if strings.Contains(string(text), `"size":"x"`) && r.Header.Get("Authorization") == "Bearer the-key" {
			rows.Add(1)
		}
		if rows.Load()%5 == 0 {
			http.Error(w, "<script>no</script>", http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, answer)
	})
	if code, text := post(t, page+"/start", map[string]string{"model": "users", "level": "2", "p99": "5s"}, "size\nx\n"); code != http.StatusNoContent {
		t.Fatalf("start: %d %s", code, text)
	}
	if code, _ := post(t, page+"/start", map[string]string{"level": "2", "body": "{}"}, ""); code != http.StatusConflict {
		t.Errorf("a second test: %d", code)
	}
	if code, text := post(t, page+"/level", map[string]string{"level": "4"}, ""); code != http.StatusNoContent {
		t.Errorf("level: %d %s", code, text)
	}
	if code, _ := post(t, page+"/level", map[string]string{"level": "101"}, ""); code != http.StatusBadRequest {
		t.Errorf("more users than the page may ask for: %d", code)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		_, text := get(t, page+"/state")
		var state struct {
			Running bool
			Level   float64
			Result  string
		}
		if err := json.Unmarshal([]byte(text), &state); err != nil {
			t.Fatal(err)
		}
		if state.Running && state.Level == 4 && strings.Contains(state.Result, "status 5xx") && strings.Contains(state.Result, "<svg") {
			if strings.Contains(state.Result, "<script>no") {
				t.Error("a server's text is not escaped")
			}
			break
		}
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", text)
		}
	}
	_, exported := get(t, page+"/metrics")
	for _, want := range []string{"mlops_loadtest_running 1", "mlops_loadtest_level 4", `mlops_loadtest_latency_seconds_bucket{target="POST /predict",le="10"}`} {
		if !strings.Contains(exported, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if code, _ := post(t, page+"/stop", nil, ""); code != http.StatusNoContent {
		t.Errorf("stop: %d", code)
	}
	res, report := get(t, page+"/report.html")
	for _, want := range []string{"<svg", "p99 at most", "status 5xx", "Failures by cause", "default-src &#39;none&#39;; style-src &#39;sha256-"} {
		if !strings.Contains(report, want) && !strings.Contains(report, strings.ReplaceAll(want, "&#39;", "'")) {
			t.Errorf("the report lacks %s", want)
		}
	}
	if regexp.MustCompile(`(?i)<script|src=|href=|@import|url\(|the-key`).MatchString(report) {
		t.Error("the report needs something else, or shows the key")
	}
	if !strings.HasPrefix(res.Header.Get("Content-Disposition"), `attachment; filename="load-test-`) {
		t.Errorf("the report is %q", res.Header.Get("Content-Disposition"))
	}
	_, table := get(t, page+"/report.csv")
	if rows, err := csv.NewReader(strings.NewReader(table)).ReadAll(); err != nil || len(rows) < 2 {
		t.Errorf("CSV of %d rows: %v", len(rows), err)
	}
	_, data := get(t, page+"/report.json")
	result, err := loadtest.ReadResult(strings.NewReader(data))
	if err != nil || result.Running || result.Total.Requests == 0 || rows.Load() != result.Total.Requests {
		t.Errorf("%d requests, the server saw %d: %v", result.Total.Requests, rows.Load(), err)
	}
}

// A plan's targets get the files of the form that they name, in the proportions of their weights.
func TestPlanWithRecords(t *testing.T) {
	t.Parallel()
	var wards, others atomic.Int64
	page, target := pages(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		switch {
		case string(text) == `{"ward": 3}` && r.Header.Get("Authorization") == "Bearer t":
			wards.Add(1)
		case string(text) == "{}":
			others.Add(1)
		default:
			t.Errorf("%s is sent", text)
		}
	})
	plan := "shape: [{level: 4}]\ntargets:\n- {url: " + target + "/score, weight: 3, records: data/r.csv, body: '{\"ward\": {{ward|number}}}', headers: {Authorization: Bearer t}}\n- {url: " + target + "/other, body: '{}'}\n"
	for name, tt := range map[string]struct{ plan, records, want string }{
		"a file that nothing names": {strings.Replace(plan, "data/r.csv", "q.csv", 1), "ward\n3\n", "no target of the plan has records: r.csv"},
		"no file":                   {plan, "", "choose the file r.csv in the form too"},
		"a broken file":             {plan, "wa\n3\n", "r.csv:"},
	} {
		if code, text := post(t, page+"/start", map[string]string{"plan": tt.plan}, tt.records); code != http.StatusBadRequest || !strings.Contains(text, tt.want) {
			t.Errorf("%s: %d %q, want %q", name, code, text, tt.want)
		}
	}
	if code, text := post(t, page+"/start", map[string]string{"plan": plan}, "ward\n3\n"); code != http.StatusNoContent {
		t.Fatalf("start: %d %s", code, text)
	}
	for end := time.Now().Add(10 * time.Second); others.Load() < 50 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
	}
	post(t, page+"/stop", nil, "")
	if ratio := float64(wards.Load()) / float64(others.Load()); !(ratio > 2.7 && ratio < 3.3) {
		t.Errorf("%d requests to the one, %d to the other", wards.Load(), others.Load())
	}
}

// What a browser may not ask for.
func TestPageRefuses(t *testing.T) {
	t.Parallel()
	page, target := pages(t, Options{Hosts: []string{"localhost"}}, func(w http.ResponseWriter, r *http.Request) { t.Error("a request was sent") })
	for _, tt := range []struct {
		reason string
		fields map[string]string
		want   string
	}{
		{"a file of the machine", map[string]string{"plan": "targets: [{url: " + target + "/predict, records: /etc/passwd}]"}, "reads none of its own machine"},
		{"another server", map[string]string{"plan": `targets: [{url: "http://169.254.169.254/"}]`}, "this page loads"},
		{"too many", map[string]string{"plan": "shape: [{level: 101}]\ntargets: [{url: " + target + "/predict}]"}, "more than the 100"},
		{"too many in the form", map[string]string{"level": "1000", "body": "{}"}, "more than the 100"},
		{"a shape without an end", map[string]string{"level": "10", "shape": "ramp"}, "needs one"},
		{"several mistakes", map[string]string{"level": "x", "p99": "y"}, "p99"},
	} {
		if code, text := post(t, page+"/start", tt.fields, ""); code != http.StatusBadRequest || !strings.Contains(text, tt.want) {
			t.Errorf("%s: %d %q, want %q", tt.reason, code, text, tt.want)
		}
	}
	for _, tt := range []struct {
		reason, method, path string
		header               [2]string
		host                 string
		want                 int
	}{
		{"another site's form", "POST", "/stop", [2]string{"Sec-Fetch-Site", "cross-site"}, "", 403},
		{"another origin", "POST", "/start", [2]string{"Origin", "https://evil.example"}, "", 403},
		{"a name that was made to lead here", "GET", "/", [2]string{}, "evil.example", 421},
		{"its own name", "GET", "/", [2]string{}, "localhost:8089", 200},
		{"an address", "GET", "/", [2]string{}, "[::1]:8089", 200},
		{"no test yet", "GET", "/report.html", [2]string{}, "", 404},
		{"nothing there", "GET", "/x", [2]string{}, "", 404},
	} {
		req, err := http.NewRequest(tt.method, page+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if tt.header[0] != "" {
			req.Header.Set(tt.header[0], tt.header[1])
		}
		req.Host = tt.host
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != tt.want {
			t.Errorf("%s: %d, want %d", tt.reason, res.StatusCode, tt.want)
		}
		if res.Header.Get("Content-Security-Policy") != contentSecurity || res.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", tt.reason, res.Header)
		}
	}
}

// With a password, only probes and metrics are there without it.
func TestPassword(t *testing.T) {
	t.Parallel()
	page, _ := pages(t, Options{Password: "s3cret"}, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, answer) })
	for _, test := range []struct {
		method, path, user, password string
		want                         int
	}{
		{"GET", "/", "", "", http.StatusUnauthorized},
		{"GET", "/", "admin", "", http.StatusUnauthorized},
		{"GET", "/", "admin", "s3cre", http.StatusUnauthorized},
		{"GET", "/", "root", "s3cret", http.StatusUnauthorized},
		{"GET", "/", "admin", "s3cret", http.StatusOK},
		{"GET", "/state", "", "", http.StatusUnauthorized},
		{"GET", "/report.json", "", "", http.StatusUnauthorized},
		{"GET", "/assets/page.js", "", "", http.StatusUnauthorized},
		{"POST", "/stop", "", "", http.StatusUnauthorized},
		{"POST", "/stop", "admin", "s3cret", http.StatusNoContent},
		{"GET", "/healthz", "", "", http.StatusOK},
		{"GET", "/metrics", "", "", http.StatusOK},
	} {
		req, err := http.NewRequestWithContext(t.Context(), test.method, page+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if test.user != "" {
			req.SetBasicAuth(test.user, test.password)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != test.want {
			t.Errorf("%s %s as %q: %s, want %d", test.method, test.path, test.user, res.Status, test.want)
		}
		if asked := res.Header.Get("WWW-Authenticate") != ""; asked != (test.want == http.StatusUnauthorized) {
			t.Errorf("%s %s as %q asks for a login: %t", test.method, test.path, test.user, asked)
		}
	}
}

// Places of the axis of time are round to somebody who reads a clock.
func TestClockTicks(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		low, high float64
		want      string
	}{
		{1, 9, "0:02 0:04 0:06 0:08"}, {1, 30, "0:10 0:20 0:30"}, {1, 300, "2:00 4:00"}, {1, 600, "5:00 10:00"}, {0, 7200, "0:00 30:00 1:00:00 1:30:00 2:00:00"}, {1, 2, "0:01 0:02"},
	} {
		var got []string
		for _, at := range linechart.ClockTicks(test.low, test.high) {
			got = append(got, clock(at))
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("from %v to %v: %q, want %q", test.low, test.high, got, test.want)
		}
	}
}

// A second in which no request ended is a gap, not one without failures.
func TestNoRequestIsAGap(t *testing.T) {
	t.Parallel()
	window := func(after float64, failed int64) loadtest.Window {
		return loadtest.Window{After: after, Seconds: 1, Count: loadtest.Count{Succeeded: 4 * failed, Failed: failed}}
	}
	r := &loadtest.Result{Windows: []loadtest.Window{window(1, 1), window(2, 1), window(3, 0), window(4, 1), window(5, 1)}}
	if got, want := string(charts(r, true)[2]), `data-values="20 %|20 %||20 %|20 %"`; !strings.Contains(got, want) {
		t.Errorf("no %s in the share of failures: %s", want, got)
	}
}
