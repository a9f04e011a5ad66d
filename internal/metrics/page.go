package metrics

import "github.com/prometheus/client_golang/prometheus"

// Page holds the web page's metrics.
type Page struct {
	set
	Requests *prometheus.CounterVec   // by handler and code
	Duration *prometheus.HistogramVec // by handler
	Keys     *Keys
}

// NewPage returns the metrics in a registry of their own.
func NewPage() *Page {
	s := newSet()
	return &Page{
		set:      s,
		Requests: s.counters("mlops_page_requests_total", "Requests answered, by the route's pattern.", "handler", "code"),
		Duration: s.histograms("mlops_page_request_duration_seconds", "Time from the start of a request's handler to its end, with the inference server's share.",
			prometheus.ExponentialBuckets(0.001, 2, 14), "handler"), // 1 ms to 8 s, close to the client's timeout
		Keys: s.keys(),
	}
}
