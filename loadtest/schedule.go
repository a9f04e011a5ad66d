package loadtest

import (
	"math"
	"sync"
	"time"
)

// late is how far behind its time a request of a fixed rate may still begin.
// What is later is counted and left out: sent all the same, it would come in a
// bunch with the ones after it and be another load than the one asked for.
const late = 10 * time.Millisecond

// schedule hands out the requests of a fixed rate, the i-th of which is due i/rate
// after the start.
type schedule struct {
	start time.Time
	rate  float64
	whole int64 // requests in all

	mu   sync.Mutex
	next int64
	busy int64
}

func newSchedule(start time.Time, rate float64, d time.Duration) *schedule {
	return &schedule{start: start, rate: rate, whole: int64(math.Ceil(rate * d.Seconds()))}
}

func (s *schedule) due(i int64) time.Time {
	return s.start.Add(time.Duration(float64(i) / s.rate * float64(time.Second)))
}

// take returns the first request that at the time now is not late, and when it
// is due. Those before it found all connections busy and are counted as missed.
func (s *schedule) take(now time.Time) (i int64, due time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; s.next < s.whole; s.next++ {
		if due := s.due(s.next); now.Sub(due) <= late {
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
