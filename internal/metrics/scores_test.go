package metrics

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func scrape(t *testing.T, s set, accept string) (string, string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w.Header().Get("Content-Type"), w.Body.String()
}

// Scores are in the bucket that Prometheus would put them in, and few versions are kept.
func TestScores(t *testing.T) {
	t.Parallel()
	m := NewInference()
	m.Scores("7").Add([]float32{0, 0.04, 0.25, 0.2501, 1})
	m.Scores("7").Add([]float32{0.5})
	_, text := scrape(t, m.set, "text/plain")
	for _, want := range []string{
		`mlops_prediction_score_bucket{version="7",le="0.05"} 2`, `mlops_prediction_score_bucket{version="7",le="0.25"} 3`,
		`mlops_prediction_score_bucket{version="7",le="0.3"} 4`, `mlops_prediction_score_bucket{version="7",le="0.95"} 5`,
		`mlops_prediction_score_bucket{version="7",le="+Inf"} 6`, `mlops_prediction_score_count{version="7"} 6`, `mlops_prediction_score_sum{version="7"} 2.04`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	for i := range 10 {
		m.Scores(fmt.Sprint(i))
	}
	_, text = scrape(t, m.set, "text/plain")
	if n := strings.Count(text, "mlops_prediction_score_count"); n != scoreVersions || !strings.Contains(text, `mlops_prediction_score_count{version="9"}`) {
		t.Errorf("%d versions are kept", n)
	}
}

// A Prometheus that asks for OpenMetrics gets it.
func TestNegotiation(t *testing.T) {
	t.Parallel()
	m := NewInference()
	for accept, want := range map[string]string{
		"application/openmetrics-text;version=1.0.0": "application/openmetrics-text",
		"text/plain": "text/plain", "": "text/plain",
		"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited": "application/vnd.google.protobuf", // native histograms
	} {
		kind, text := scrape(t, m.set, accept)
		if !strings.HasPrefix(kind, want) || strings.HasPrefix(want, "application/open") != strings.HasSuffix(text, "# EOF\n") {
			t.Errorf("%q: got %s", accept, kind)
		}
	}
}

// BenchmarkRequest is all that a request for one record, which is answered and brings no
// trace, takes for metrics.
func BenchmarkRequest(b *testing.B) {
	m := NewInference()
	timer, ok, scores, label := m.Timer("predict"), m.Answered("predict"), m.Scores("1"), m.Predicted("1")
	score := []float32{0.3}
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		m.Records.Add(1)
		scores.Add(score)
		label.Add(1)
		timer.Observe(start, time.Since(start), "")
		ok.Add(1)
	}
}

func BenchmarkScores(b *testing.B) {
	s := NewInference().Scores("1")
	one := []float32{0.3}
	for b.Loop() {
		s.Add(one)
	}
}

func BenchmarkDuration(b *testing.B) {
	for name, o := range map[string]prometheus.Observer{
		"classic": prometheus.NewHistogram(prometheus.HistogramOpts{Name: "x", Help: "x", Buckets: durationBuckets[:]}),
		"both":    NewInference().Duration.WithLabelValues("predict"),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				o.Observe(0.0002)
			}
		})
	}
	// What a request with a trace adds: one that is named, and others.
	traced := NewInference().Duration.WithLabelValues("predict").(prometheus.ExemplarObserver)
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	b.Run("exemplar", func(b *testing.B) {
		for b.Loop() {
			traced.ObserveWithExemplar(0.0002, prometheus.Labels{"trace_id": trace})
		}
	})
	for name, trace := range map[string]string{"traced": trace, "untraced": ""} {
		timer := NewInference().Timer("predict")
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				timer.Observe(time.Now(), 200*time.Microsecond, trace)
			}
		})
	}
}
