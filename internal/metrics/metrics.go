// Package metrics holds every metric of our servers, each server's in a registry
// of its own. docs/reference/metrics.md lists them; a test keeps that true.
package metrics

import (
	"net/http"
	"runtime"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"mlops/internal/versions"
)

// set is a registry and the metrics in it, apart from those of the Go runtime and of
// the process.
type set struct {
	registry *prometheus.Registry
	make     promauto.Factory
	pending  *flushes
}

// flushes pass on what was counted apart from the registry.
type flushes struct {
	mu  sync.Mutex
	all []func()
}

// onRead has a function called before metrics are read.
func (s set) onRead(flush func()) {
	s.pending.mu.Lock()
	s.pending.all = append(s.pending.all, flush)
	s.pending.mu.Unlock()
}

// Gather is prometheus.Gatherer's.
func (s set) Gather() ([]*dto.MetricFamily, error) {
	s.pending.mu.Lock()
	for _, flush := range s.pending.all {
		flush()
	}
	s.pending.mu.Unlock()
	return s.registry.Gather()
}

func newSet() set {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s := set{r, promauto.With(r), &flushes{}}
	s.make.NewGaugeVec(prometheus.GaugeOpts{Name: "mlops_build_info", Help: "1, with the platform's version and the Go version that the program was built with."},
		[]string{"version", "goversion"}).WithLabelValues(versions.Platform, runtime.Version()).Set(1)
	return s
}

// Handler serves the metrics as Prometheus reads them: as OpenMetrics, protobuf or text.
func (s set) Handler() http.Handler {
	return promhttp.HandlerFor(s, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

func (s set) counter(name, help string) prometheus.Counter {
	return s.make.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

func (s set) counters(name, help string, labels ...string) *prometheus.CounterVec {
	return s.make.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func (s set) gauge(name, help string) prometheus.Gauge {
	return s.make.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
}

func (s set) histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return s.make.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
}

// WatchConnections adds the connections that are open, and those dropped because there
// were too many: closed because they owed a request, or refused.
func (s set) WatchConnections(open, closed, refused func() int64) {
	s.make.NewGaugeFunc(prometheus.GaugeOpts{Name: "mlops_connections", Help: "Connections that are open."}, func() float64 { return float64(open()) })
	for reason, dropped := range map[string]func() int64{"waiting": closed, "refused": refused} {
		s.make.NewCounterFunc(prometheus.CounterOpts{
			Name:        "mlops_connections_dropped_total",
			Help:        "Connections dropped because too many were open: waiting, the one that had sent no whole request for longest; refused, a new one, since requests were being served on all others.",
			ConstLabels: prometheus.Labels{"reason": reason},
		}, func() float64 { return float64(dropped()) })
	}
}

// StatusWriter remembers how a request was answered.
type StatusWriter struct {
	http.ResponseWriter
	Code    int    // 0 before the response has begun
	Problem string // the type of a problem, set by the handler
}

// WriteHeader remembers the first status.
func (w *StatusWriter) WriteHeader(code int) {
	if w.Code == 0 {
		w.Code = code
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *StatusWriter) Write(b []byte) (int, error) {
	if w.Code == 0 {
		w.Code = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController and http.MaxBytesReader reach the connection.
func (w *StatusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
