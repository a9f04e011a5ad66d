package serve

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Every type of problem is counted under its own name, and is there with 0
// before the first.
func TestProblemsAreCounted(t *testing.T) {
	s, _ := serving(t, 1)
	none := newServer(t, newShelf(t), t.TempDir())
	tests := []struct {
		reason              string
		server              *Server
		method, path, media string
		body                string
		handler, label      string
	}{
		{"no JSON", s, "POST", "/predict", "application/json", "size=1", "predict", "invalid-json"},
		{"an unknown column", s, "POST", "/predict", "application/json", `{"sise":1}`, "predict", "invalid-record"},
		{"too large", s, "POST", "/predict", "application/json", strings.Repeat(" ", maxBody+1), "predict", "too-large"},
		{"another media type", s, "POST", "/predict", "text/plain", "1", "predict", "unsupported-media-type"},
		{"a body cut short", s, "POST", "/predict", "application/json", "", "predict", "incomplete-body"},
		{"no model to predict with", none, "POST", "/predict", "application/json", "{}", "predict", "no-model"},
		{"no model to describe", none, "GET", "/model", "", "", "model", "no-model"},
		{"nothing there", s, "GET", "/elsewhere", "", "", "other", "not-found"},
		{"GET of predict", s, "GET", "/predict", "", "", "other", "method-not-allowed"},
	}
	name := func(handler, label string) string {
		return fmt.Sprintf(`mlops_problems_total{handler="%s",type="%s"}`, handler, label)
	}
	for handler, types := range problemTypes {
		for _, kind := range types {
			if got := metric(t, s, name(handler, problemLabel(kind))); got != "0" {
				t.Errorf("%s is %q at the start, want 0", name(handler, problemLabel(kind)), got)
			}
		}
	}
	for _, test := range tests {
		r := httptest.NewRequest(test.method, test.path, strings.NewReader(test.body))
		if test.label == "incomplete-body" {
			r.Body, r.ContentLength = brokenBody{}, 10
		}
		r.Header.Set("Content-Type", test.media)
		test.server.Handler().ServeHTTP(httptest.NewRecorder(), r)
		if got := metric(t, test.server, name(test.handler, test.label)); got != "1" {
			t.Errorf("%s: %s is %q, want 1", test.reason, name(test.handler, test.label), got)
		}
	}
	// Whatever was refused is in both counts, and nothing else is.
	for _, server := range []*Server{s, none} {
		var refused, problems int
		for line := range strings.Lines(ask(server, http.MethodGet, "/metrics", "").Body.String()) {
			var n int
			switch {
			case strings.HasPrefix(line, "mlops_requests_total") && !strings.Contains(line, `code="200"`):
				fmt.Sscanf(line[strings.Index(line, "}")+1:], "%d", &n)
				refused += n
			case strings.HasPrefix(line, "mlops_problems_total"):
				fmt.Sscanf(line[strings.Index(line, "}")+1:], "%d", &n)
				problems += n
			}
		}
		if refused != problems || refused == 0 {
			t.Errorf("%d requests were refused, %d problems counted", refused, problems)
		}
	}
}

// brokenBody is a body whose sender goes away.
type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, http.ErrBodyReadAfterClose }
func (brokenBody) Close() error             { return nil }
