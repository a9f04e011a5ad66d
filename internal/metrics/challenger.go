package metrics

import "github.com/prometheus/client_golang/prometheus"

// Challenger holds the metrics of a challenger that the inference server compares with
// what it serves.
type Challenger struct {
	Info       *prometheus.GaugeVec   // by name, version and run_id
	Records    *prometheus.CounterVec // by outcome
	Agreements *prometheus.CounterVec // by agrees
	Seconds    prometheus.Counter
	Difference prometheus.Histogram
}

// differenceBuckets are bounds of probabilities, and of half widths of an interval.
var differenceBuckets = []float64{0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5}

// NewChallenger adds the metrics of a challenger, and whether it is refused.
func (m *Inference) NewChallenger(refused func() int64) *Challenger {
	s := m.set
	m.watch("mlops_challenger_refused", "1 while the alias challenger is on a version that the server refuses to load; GET /model says why.", nil, refused)
	return &Challenger{
		Info: s.make.NewGaugeVec(prometheus.GaugeOpts{Name: "mlops_challenger_info", Help: "1 for the version that is compared with the served one."},
			[]string{"name", "version", "run_id"}),
		Records:    s.counters("mlops_challenger_records_total", "Records that were to be compared with the challenger, by outcome: compared; dropped, since the server had too much to do; skipped, since their request had too many; failed, since the challenger could not score them.", "outcome"),
		Agreements: s.counters("mlops_challenger_agreements_total", "Records compared, by whether the challenger gives the same label, or a value inside the interval of the served version.", "agrees"),
		Seconds:    s.counter("mlops_challenger_seconds_total", "Time that the challenger took for encoding and scoring."),
		Difference: s.make.NewHistogram(prometheus.HistogramOpts{
			Name: "mlops_challenger_difference", Help: "Difference between the challenger and the served version without its sign: of probabilities; of several classes, the share of probability that is elsewhere; of values, in half widths of the interval.",
			Buckets: differenceBuckets,
		}),
	}
}
