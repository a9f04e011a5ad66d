package serve

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// The latency of a request that brought a recorded trace along names it; others name none.
func TestExemplar(t *testing.T) {
	t.Parallel()
	s, _ := serving(t, 1)
	h := s.Handler()
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	send := func(parent string) {
		t.Helper()
		r := httptest.NewRequest(http.MethodPost, "/predict", strings.NewReader(`[{"size":1.5,"count":3,"kind":"2"},{"size":1.5}]`))
		r.Header.Set("Traceparent", parent)
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != 200 {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
	}
	metrics := func() string {
		t.Helper()
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.Header.Set("Accept", "application/openmetrics-text;version=1.0.0")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Body.String()
	}
	for _, parent := range []string{
		"", "x", "00-" + trace + "-00f067aa0ba902b7-00", "00-" + trace + "-00f067aa0ba902b7-fe", "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
		"ff-" + trace + "-00f067aa0ba902b7-01", "00-" + strings.ToUpper(trace) + "-00f067aa0ba902b7-01", "00-" + trace + "-00f067aa0ba902b7-01-more", "00_" + trace + "_00f067aa0ba902b7_01",
	} {
		if send(parent); strings.Contains(metrics(), "trace_id") {
			t.Fatalf("%q left an exemplar", parent)
		}
	}
	send("00-" + trace + "-00f067aa0ba902b7-01")
	text := metrics()
	for _, want := range []string{`# {trace_id="` + trace + `"}`, `mlops_predict_records_bucket{le="4.0"} 10`, "mlops_predict_records_sum 20"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}
