package serve

import (
	"net/http"
	"path"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are what /metrics shows:
//
//	mlops_requests_total{handler,code}          requests answered
//	mlops_problems_total{handler,type}          of those, answers that were a problem
//	mlops_request_seconds{handler}              time from the handler's start to its end
//	mlops_predictions_total{label}              records scored, by the label given
//	mlops_unknown_values_total                  values that training had not seen
//	mlops_model_info{name,version,run_id}       1 for the version served
//	mlops_model_loaded_timestamp_seconds        when it was taken into service
//	mlops_model_load_seconds                    how long fetching and verifying it took
//	mlops_model_swaps_total                     versions taken into service
//	mlops_model_refused_total                   versions refused
//	mlops_registry_errors_total                 polls of the registry that failed
//
// and those of the Go runtime and of the process.
type metrics struct {
	registry *prometheus.Registry

	requests  *prometheus.CounterVec
	problems  *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	labels    [2]prometheus.Counter // by label
	unknown   prometheus.Counter
	info      *prometheus.GaugeVec
	loadedAt  prometheus.Gauge
	loadTime  prometheus.Gauge
	swaps     prometheus.Counter
	refused   prometheus.Counter
	pollFails prometheus.Counter
}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mlops_requests_total", Help: "Requests answered, by handler and status code.",
		}, []string{"handler", "code"}),
		problems: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mlops_problems_total", Help: "Requests answered with a problem, by handler and the problem's type.",
		}, []string{"handler", "type"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mlops_request_seconds", Help: "Time a request spent in its handler.",
			Buckets: []float64{25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 1, 5},
		}, []string{"handler"}),
		unknown:   counter("mlops_unknown_values_total", "Values that training had not seen."),
		info:      prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "mlops_model_info", Help: "1 for the model version that is served."}, []string{"name", "version", "run_id"}),
		loadedAt:  gauge("mlops_model_loaded_timestamp_seconds", "When the served version was taken into service."),
		loadTime:  gauge("mlops_model_load_seconds", "How long fetching and verifying the served version took."),
		swaps:     counter("mlops_model_swaps_total", "Versions taken into service since the start."),
		refused:   counter("mlops_model_refused_total", "Versions refused since the start."),
		pollFails: counter("mlops_registry_errors_total", "Polls of the registry that failed."),
	}
	// All there can be are there from the start: a counter that appears with its
	// first problem would hide it from every rate.
	for handler, types := range problemTypes {
		for _, t := range types {
			m.problems.WithLabelValues(handler, problemLabel(t))
		}
	}
	predictions := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mlops_predictions_total", Help: "Records scored, by the label given.",
	}, []string{"label"})
	m.labels = [2]prometheus.Counter{predictions.WithLabelValues("0"), predictions.WithLabelValues("1")}
	m.registry.MustRegister(m.requests, m.problems, m.seconds, predictions, m.unknown, m.info, m.loadedAt, m.loadTime,
		m.swaps, m.refused, m.pollFails,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// observe wraps a handler so that its requests are counted and timed.
func (m *metrics) observe(name string, next http.HandlerFunc) http.HandlerFunc {
	seconds := m.seconds.WithLabelValues(name)
	ok := m.requests.WithLabelValues(name, "200")
	return func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		sw := statusWriter{ResponseWriter: w}
		next(&sw, r)
		seconds.Observe(time.Since(start).Seconds())
		if sw.code == 0 || sw.code == http.StatusOK {
			ok.Inc()
			return
		}
		m.requests.WithLabelValues(name, strconv.Itoa(sw.code)).Inc()
		if sw.problem != "" {
			m.problems.WithLabelValues(name, problemLabel(sw.problem)).Inc()
		}
	}
}

// problemLabel is a problem's type as a label: its last word.
func problemLabel(t string) string {
	if t == problemBlank {
		return "internal"
	}
	return path.Base(t)
}

// statusWriter remembers the status code of an answer and, where it is a
// problem, its type.
type statusWriter struct {
	http.ResponseWriter
	code    int
	problem string
}

func (w *statusWriter) WriteHeader(code int) {
	w.code = code
	w.ResponseWriter.WriteHeader(code)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
