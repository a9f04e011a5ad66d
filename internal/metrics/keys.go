package metrics

import "github.com/prometheus/client_golang/prometheus"

// Keys holds the metrics of API keys. The ids are those of the keys that are known, so
// there are never many.
type Keys struct {
	Requests     *prometheus.CounterVec // by key
	Refused      *prometheus.CounterVec // by reason and key
	Known        prometheus.Gauge
	ReloadErrors prometheus.Counter
}

func (s set) keys() *Keys {
	return &Keys{
		Requests:     s.counters("mlops_key_requests_total", "Requests let in by their API key, by the key's id.", "key"),
		Refused:      s.counters("mlops_key_refused_requests_total", "Requests refused for want of a fitting API key, by reason (missing, malformed, unknown, scope, rate) and the key's id (empty: not a known one).", "reason", "key"),
		Known:        s.gauge("mlops_keys", "API keys that are accepted."),
		ReloadErrors: s.counter("mlops_key_reload_errors_total", "Times that the file of API keys could not be read again; the keys from before stay in force."),
	}
}
