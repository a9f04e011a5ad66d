package serve

import (
	"net/http"
	"path"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"mlops/internal/api"
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
//	mlops_predict_scoring{records}              requests that have a place, of few records and of many
//	mlops_predict_waiting{records}              requests that wait for one
//	mlops_predict_refused_total{lack}           requests sent away for lack of a place or of memory
//	mlops_predict_body_bytes                    taken by bodies and for their answers
//	mlops_panics_total                          handlers that panicked
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
	panics    prometheus.Counter
}

func newMetrics(s *Server) *metrics {
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
		panics:    counter("mlops_panics_total", "Handlers that panicked."),
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
		m.swaps, m.refused, m.pollFails, m.panics,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.watchLimits(s)
	return m
}

// watchLimits registers what the limits count anyway.
func (m *metrics) watchLimits(s *Server) {
	gauge := func(name, help, label, value string, f func() int64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: constLabel(label, value)},
			func() float64 { return float64(f()) }))
	}
	for records, l := range map[string]*lane{"few": s.few, "many": s.many} {
		gauge("mlops_predict_scoring", "Requests that are being scored.", "records", records, l.inside)
		gauge("mlops_predict_waiting", "Requests that wait to be scored.", "records", records, l.waiting)
	}
	gauge("mlops_predict_body_bytes", "Bytes taken by bodies and for their answers.", "", "", s.memory.used.Load)
	for lack, f := range map[string]func() int64{
		"place":  func() int64 { return s.few.refused.Load() + s.many.refused.Load() },
		"memory": s.memory.refused.Load,
	} {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "mlops_predict_refused_total", Help: "Requests sent away, by what was lacking.", ConstLabels: constLabel("lack", lack),
		}, func() float64 { return float64(f()) }))
	}
}

func constLabel(name, value string) prometheus.Labels {
	if name == "" {
		return nil
	}
	return prometheus.Labels{name: value}
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// problemLabel is a problem's type as a label: its last word.
func problemLabel(t string) string {
	if t == api.Untyped {
		return "internal"
	}
	return path.Base(t)
}
