package metrics

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Inference holds the inference server's metrics.
type Inference struct {
	set
	Requests      *prometheus.CounterVec   // by handler and code
	Problems      *prometheus.CounterVec   // by handler and type
	Duration      *prometheus.HistogramVec // by handler
	Records       Records                  // per request
	Excluded      *prometheus.CounterVec   // by reason
	UnknownValues prometheus.Counter
	Warnings      *prometheus.CounterVec // by column and kind
	Panics        prometheus.Counter
	Restarts      prometheus.Counter

	ModelInfo     *prometheus.GaugeVec // by name, version and run_id
	ModelLoadedAt prometheus.Gauge
	ModelLoadTime prometheus.Gauge
	ModelLoads    prometheus.Counter
	ModelRefusals prometheus.Counter
	PollErrors    prometheus.Counter

	FollowErrors prometheus.Counter
	Asked        *prometheus.CounterVec // by outcome
	Asking       prometheus.Histogram

	Keys *Keys

	scores      *scoreCollector
	predictions *prometheus.CounterVec // by label

	mu        sync.Mutex
	predicted map[string]*Counter // by label
}

// durationBuckets are the bounds of the durations of requests, in seconds.
var durationBuckets = [...]float64{25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 1, 5}

// NewInference returns the metrics in a registry of their own. What the server's
// limits count anyway is added by the Watch methods.
func NewInference() *Inference {
	s := newSet()
	scores, perRequest := &scoreCollector{}, Records{newSpread[records]()}
	s.registry.MustRegister(scores, perRequest)
	return &Inference{
		set:      s,
		scores:   scores,
		Records:  perRequest,
		Requests: s.counters("mlops_requests_total", "Requests answered.", "handler", "code"),
		Problems: s.counters("mlops_problems_total", "Requests answered with a problem, by the last part of the problem's type; internal is an error of the server.", "handler", "type"),
		// Native beside classic: a Prometheus that scrapes protobuf gets buckets 10 % apart.
		Duration: s.make.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mlops_request_duration_seconds", Help: "Time from the start of a request's handler to its end.", Buckets: durationBuckets[:],
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160,
		}, []string{"handler"}),
		predictions:   s.counters("mlops_predictions_total", "Records scored, by the predicted label: 1 is positive.", "label"),
		Excluded:      s.counters("mlops_predictions_excluded_total", "Records that got no score because the spec's cohort leaves them out, by the spec's reason.", "reason"),
		UnknownValues: s.counter("mlops_unknown_values_total", "Categorical values in scored records that a feature has no level for, counted by feature: rare ones, which it takes together, and those that training had not seen."),
		Warnings:      s.counters("mlops_prediction_warnings_total", "Warnings in predictions: values unlike those of the training rows, by column of the spec (empty: the whole record) and kind.", "column", "kind"),
		Panics:        s.counter("mlops_panics_total", "Handlers that panicked; the log has the stack."),
		Restarts:      s.counter("mlops_server_restarts_total", "Server processes that died before this one while their container went on; clients that connected meanwhile waited."),

		ModelInfo: s.make.NewGaugeVec(prometheus.GaugeOpts{Name: "mlops_model_info", Help: "1 for the model version that is served."},
			[]string{"name", "version", "run_id"}),
		ModelLoadedAt: s.gauge("mlops_model_loaded_timestamp_seconds", "Unix time at which the served version was loaded."),
		ModelLoadTime: s.gauge("mlops_model_load_duration_seconds", "Time it took to fetch and verify the served version."),
		ModelLoads:    s.counter("mlops_model_loads_total", "Model versions loaded, the first one included."),
		ModelRefusals: s.counter("mlops_model_refusals_total", "Model versions in production that the server refused to serve; GET /model says why."),
		PollErrors:    s.counter("mlops_registry_poll_errors_total", "Polls of the model registry that failed."),

		FollowErrors: s.counter("mlops_earlier_follow_errors_total", "Tries to follow the rows of Postgres, which features of earlier rows look at, that failed."),
		Asked:        s.counters("mlops_earlier_asked_total", "Requests whose earlier rows Postgres was asked for, since the server holds none: answered, or failed.", "outcome"),
		Asking: s.make.NewHistogram(prometheus.HistogramOpts{Name: "mlops_earlier_asking_duration_seconds", Help: "Time until Postgres answered for the earlier rows of a request, waiting for a connection included.",
			Buckets: durationBuckets[:]}),

		Keys: s.keys(),

		predicted: map[string]*Counter{},
	}
}

// Answered returns a new counter of a handler's requests that get a 200.
func (m *Inference) Answered(handler string) *Counter {
	return m.newCounter(m.Requests.WithLabelValues(handler, "200"))
}

// Predicted returns the counter of the records for which a label was predicted.
func (m *Inference) Predicted(label string) *Counter {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.predicted[label]
	if c == nil {
		c = m.newCounter(m.predictions.WithLabelValues(label))
		m.predicted[label] = c
	}
	return c
}

// WatchEarlier adds what the server holds of earlier rows.
func (m *Inference) WatchEarlier(rows, groups, bytes func() int64, asOf func() float64, stale func() int64) {
	m.watch("mlops_earlier_rows", "Earlier rows that the server holds to look up.", nil, rows)
	m.watch("mlops_earlier_groups", "Groups of these rows.", nil, groups)
	m.watch("mlops_earlier_memory_bytes", "Memory that these rows take.", nil, bytes)
	m.make.NewGaugeFunc(prometheus.GaugeOpts{Name: "mlops_earlier_as_of_timestamp_seconds", Help: "Unix time at which these rows were last known to be all that there are; 0 if the model looks at none."}, asOf)
	m.watch("mlops_earlier_stale", "1 while the server, which follows Postgres, has not reached it for a minute: it looks up the rows that it has.", nil, stale)
}

// WatchQueue adds the requests of one size that are being scored, and that wait for it.
func (m *Inference) WatchQueue(size string, scoring, queued func() int64) {
	labels := prometheus.Labels{"size": size}
	m.watch("mlops_predict_scoring_requests", "Prediction requests being scored; bodies above 64 KiB are large.", labels, scoring)
	m.watch("mlops_predict_queued_requests", "Prediction requests waiting to be scored.", labels, queued)
}

// WatchRejections adds the requests rejected for one reason.
func (m *Inference) WatchRejections(reason string, rejected func() int64) {
	m.make.NewCounterFunc(prometheus.CounterOpts{
		Name: "mlops_predict_rejected_requests_total", Help: "Prediction requests rejected with a 503 because the queue was full, or the memory for bodies was taken.",
		ConstLabels: prometheus.Labels{"reason": reason},
	}, func() float64 { return float64(rejected()) })
}

// WatchRefused adds whether the version in production is one that the server refuses.
func (m *Inference) WatchRefused(refused func() int64) {
	m.watch("mlops_model_refused", "1 while the version in production is one that the server refuses to serve: an earlier one is served, or none; GET /model says why.", nil, refused)
}

// WatchBodies adds the memory that requests take.
func (m *Inference) WatchBodies(bytes func() int64) {
	m.watch("mlops_predict_body_memory_bytes", "Memory held for the bodies of prediction requests and their responses.", nil, bytes)
}

func (m *Inference) watch(name, help string, labels prometheus.Labels, value func() int64) {
	m.make.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, func() float64 { return float64(value()) })
}
