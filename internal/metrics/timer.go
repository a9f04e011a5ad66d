package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Timer observes how long a handler's requests take, and names the trace of some as an
// exemplar: of each bucket at most one per second, since naming one costs more than a microsecond.
type Timer struct {
	duration prometheus.Observer
	named    [len(durationBuckets) + 1]atomic.Int64 // by bucket, the Unix time when a trace was named last
}

// Timer returns the timer of a handler.
func (m *Inference) Timer(handler string) *Timer {
	return &Timer{duration: m.Duration.WithLabelValues(handler)}
}

// Observe counts a request that started and took so long. An empty trace is not named.
func (t *Timer) Observe(start time.Time, took time.Duration, trace string) {
	seconds := took.Seconds()
	if trace == "" || !t.due(seconds, start.Unix()) {
		t.duration.Observe(seconds)
		return
	}
	t.duration.(prometheus.ExemplarObserver).ObserveWithExemplar(seconds, prometheus.Labels{"trace_id": trace})
}

// due reports, once per second and bucket, that a trace may be named.
func (t *Timer) due(seconds float64, now int64) bool {
	bucket := 0
	for bucket < len(durationBuckets) && seconds > durationBuckets[bucket] {
		bucket++
	}
	last := t.named[bucket].Load()
	return last < now && t.named[bucket].CompareAndSwap(last, now)
}
