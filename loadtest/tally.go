package loadtest

import (
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxFailures = 10  // failures per stage that are kept with their text
	maxVersions = 100 // versions counted apart; servers have no reason to name more
)

// tally counts the results of a stage, for all users.
type tally struct {
	window    time.Time // end of the stage
	inWindow  atomic.Int64
	succeeded histogram
	sent      histogram // at a fixed rate, the same requests timed from when they were sent

	mu       sync.Mutex
	errors   map[string]int64
	failures []Failure
	versions map[string]*atomic.Int64
}

// seen is one user's access to a tally. It remembers the version that answered last, so
// that counting needs no lock while that stays the same.
type seen struct {
	*tally
	version string
	count   *atomic.Int64
}

func (t *tally) seen() *seen { return &seen{tally: t} }

// add counts a request that has just ended. At a fixed rate, start is when it was due.
func (s *seen) add(start, sent time.Time, version string, err error) {
	now := time.Now()
	if err != nil {
		s.fail(start, now, err)
		return
	}
	s.succeeded.add(now.Sub(start))
	if sent != start {
		s.sent.add(now.Sub(sent))
	}
	if !now.After(s.window) {
		s.inWindow.Add(1)
	}
	if s.count == nil || version != s.version {
		s.version, s.count = version, s.counter(version)
	}
	s.count.Add(1)
}

func (t *tally) counter(version string) *atomic.Int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.versions == nil {
		t.versions = map[string]*atomic.Int64{}
	}
	if t.versions[version] == nil && len(t.versions) >= maxVersions {
		version = "other"
	}
	if t.versions[version] == nil {
		t.versions[version] = new(atomic.Int64)
	}
	return t.versions[version]
}

func (t *tally) fail(start, now time.Time, err error) {
	f := Failure{At: now.UTC(), Milliseconds: milliseconds(now.Sub(start)), Kind: Broken, Text: err.Error()}
	if known, ok := errors.AsType[*failure](err); ok {
		f.Kind, f.Text = known.kind, known.text
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.errors == nil {
		t.errors = map[string]int64{}
	}
	t.errors[f.Kind]++
	if len(t.failures) < maxFailures {
		t.failures = append(t.failures, f)
	}
}

// stage returns the counts once no user counts any more.
func (t *tally) stage(start time.Time) Stage {
	s := Stage{
		Began:    start.UTC(),
		Requests: t.succeeded.n.Load(),
		Latency:  t.succeeded.latency(),
		Errors:   maps.Clone(t.errors),
		Failures: t.failures,
		Versions: map[string]int64{},

		counted: t.succeeded.all(), sent: t.sent.all(),
	}
	if t.sent.n.Load() > 0 {
		l := t.sent.latency()
		s.Sent = &l
	}
	for _, n := range t.errors {
		s.Failed += n
	}
	s.Requests += s.Failed
	for v, n := range t.versions {
		s.Versions[v] = n.Load()
	}
	return s
}

func (h *histogram) latency() Latency {
	return Latency{
		Mean: milliseconds(h.mean()),
		P50:  milliseconds(h.quantile(0.50)),
		P95:  milliseconds(h.quantile(0.95)),
		P99:  milliseconds(h.quantile(0.99)),
		Max:  milliseconds(h.quantile(1)),
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
