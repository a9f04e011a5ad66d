package loadtest

import (
	"math"
	"sync"
	"time"
)

// maxLateness is how long after its time a request at a fixed rate may still begin.
// Later ones are counted and left out: sent anyway, they would arrive in bursts, which
// is another load than a fixed rate.
const maxLateness = 10 * time.Millisecond

// schedule hands out requests at a fixed rate; the i-th is due i/rate seconds after the
// start. Those of workers that share a rate alternate.
type schedule struct {
	start time.Time
	rate  float64
	total int64   // requests
	shift float64 // requests, below 1, by which all are due later

	mu   sync.Mutex
	next int64
	busy int64
}

func newSchedule(start time.Time, rate float64, d time.Duration, share Share) *schedule {
	shift := float64(share.Index) / float64(max(share.Of, 1))
	return &schedule{start: start, rate: rate, total: int64(math.Ceil(rate*d.Seconds() - shift)), shift: shift}
}

func (s *schedule) due(i int64) time.Time {
	return s.start.Add(time.Duration((float64(i) + s.shift) / s.rate * float64(time.Second)))
}

// take returns the first request that is not late, and when it is due. Those before it
// found all connections busy and are counted as missed.
func (s *schedule) take(now time.Time) (i int64, due time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; s.next < s.total; s.next++ {
		if due := s.due(s.next); now.Sub(due) <= maxLateness {
			s.next++
			return s.next - 1, due, true
		}
		s.busy++
	}
	return 0, time.Time{}, false
}

// missed returns how many requests found all connections busy.
func (s *schedule) missed() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.busy
}
