package metrics

import "github.com/prometheus/client_golang/prometheus"

// LoadTestStatus is what a load test has counted.
type LoadTestStatus struct {
	Running bool
	Users   int     // or connections in use
	Level   float64 // users or requests per second that are to be
	Targets []LoadTestTarget
}

// LoadTestTarget is the same of one target.
type LoadTestTarget struct {
	Name              string
	Succeeded, Failed int64
	Latency, Service  Durations
}

// Durations are counted durations: Buckets counts those up to each bound.
type Durations struct {
	Count   uint64
	Seconds float64 // the sum
	Buckets map[float64]uint64
}

// LoadTest is the load tester's metrics. They are computed when they are asked for, so
// that sending requests pays nothing for them.
type LoadTest struct{ set }

// LoadTestBounds are the bounds of the load tester's buckets, in seconds.
var LoadTestBounds = []float64{100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5, 10}

var (
	loadRunning  = prometheus.NewDesc("mlops_loadtest_running", "1 while a load test runs.", nil, nil)
	loadUsers    = prometheus.NewDesc("mlops_loadtest_users", "Users of the running test, or connections in use where it sends at a rate.", nil, nil)
	loadLevel    = prometheus.NewDesc("mlops_loadtest_level", "Users, or requests per second, that the running test is to have.", nil, nil)
	loadRequests = prometheus.NewDesc("mlops_loadtest_requests_total", "Requests of the last test that have ended, by target and outcome (succeeded, failed).", []string{"target", "outcome"}, nil)
	loadLatency  = prometheus.NewDesc("mlops_loadtest_latency_seconds", "Latency of successful requests, from when they were to begin.", []string{"target"}, nil)
	loadService  = prometheus.NewDesc("mlops_loadtest_service_seconds", "The same from when they were sent.", []string{"target"}, nil)
)

// NewLoadTest returns the metrics of the test that status describes; nil: there is none.
func NewLoadTest(status func() *LoadTestStatus) *LoadTest {
	s := newSet()
	s.registry.MustRegister(loadCollector(status))
	return &LoadTest{s}
}

type loadCollector func() *LoadTestStatus

func (c loadCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{loadRunning, loadUsers, loadLevel, loadRequests, loadLatency, loadService} {
		to <- d
	}
}

func (c loadCollector) Collect(to chan<- prometheus.Metric) {
	s := c()
	if s == nil {
		s = &LoadTestStatus{}
	}
	running := 0.0
	if s.Running {
		running = 1
	}
	to <- prometheus.MustNewConstMetric(loadRunning, prometheus.GaugeValue, running)
	to <- prometheus.MustNewConstMetric(loadUsers, prometheus.GaugeValue, float64(s.Users))
	to <- prometheus.MustNewConstMetric(loadLevel, prometheus.GaugeValue, s.Level)
	for _, t := range s.Targets {
		to <- prometheus.MustNewConstMetric(loadRequests, prometheus.CounterValue, float64(t.Succeeded), t.Name, "succeeded")
		to <- prometheus.MustNewConstMetric(loadRequests, prometheus.CounterValue, float64(t.Failed), t.Name, "failed")
		to <- prometheus.MustNewConstHistogram(loadLatency, t.Latency.Count, t.Latency.Seconds, t.Latency.Buckets, t.Name)
		to <- prometheus.MustNewConstHistogram(loadService, t.Service.Count, t.Service.Seconds, t.Service.Buckets, t.Name)
	}
}
