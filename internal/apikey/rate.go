package apikey

import (
	"sync/atomic"
	"time"
)

// limiter keeps a rate: the generic cell rate algorithm, which needs one number. That
// number is when, at an even pace, the requests let through so far will be due.
type limiter struct {
	pace   int64 // ns per request; 0 for no limit
	period int64 // ns
	due    atomic.Int64
}

func newLimiter(r Rate) *limiter {
	if r.Requests == 0 {
		return &limiter{}
	}
	return &limiter{pace: max(1, int64(r.Period)/int64(r.Requests)), period: int64(r.Period)}
}

// take lets a request through, or says how long it has to wait. The time is in ns
// since any fixed moment.
func (l *limiter) take(now int64) (wait time.Duration) {
	for {
		last := l.due.Load()
		due := max(last, now)
		if early := due + l.pace - l.period - now; early > 0 {
			return time.Duration(early)
		}
		if l.due.CompareAndSwap(last, due+l.pace) {
			return 0
		}
	}
}
