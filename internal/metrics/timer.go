package metrics

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Timer observes how long a handler's requests take, and names the trace of some as an
// exemplar: of each bucket at most one per second, since naming one costs more than a microsecond.
type Timer struct {
	duration prometheus.Observer
	batches  *spread[batch]
	named    [len(durationBuckets) + 1]atomic.Int64 // by bucket, the Unix time when a trace was named last
}

// batch is durations, in seconds, that the histogram doesn't have yet.
type batch struct {
	mu   sync.Mutex
	n    int
	took [32]float64
	_    [line]byte
}

// Timer returns a new timer of a handler.
func (m *Inference) Timer(handler string) *Timer {
	t := &Timer{duration: m.Duration.WithLabelValues(handler), batches: newSpread[batch]()}
	m.onRead(t.flush)
	return t
}

// Observe counts a request that started and took so long. An empty trace is not named.
func (t *Timer) Observe(start time.Time, took time.Duration, trace string) {
	seconds := took.Seconds()
	if trace == "" || !t.due(seconds, start.Unix()) {
		t.add(seconds)
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

// add keeps a duration until there are many: all processors write to the histogram.
func (t *Timer) add(seconds float64) {
	own := t.batches.take()
	own.mu.Lock()
	own.took[own.n] = seconds
	if own.n++; own.n == len(own.took) {
		t.observe(own)
	}
	own.mu.Unlock()
	t.batches.put(own)
}

// observe passes a batch on, which is locked.
func (t *Timer) observe(b *batch) {
	for _, seconds := range b.took[:b.n] {
		t.duration.Observe(seconds)
	}
	b.n = 0
}

func (t *Timer) flush() {
	for i := range t.batches.copies {
		b := &t.batches.copies[i]
		b.mu.Lock()
		t.observe(b)
		b.mu.Unlock()
	}
}
