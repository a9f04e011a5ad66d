package loadtest

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// arrivals says when the requests of a rate are due, while the rate may change. Evenly
// spaced ones of a rate that stays are due i/rate seconds after the start, exactly.
type arrivals struct {
	random bool      // gaps are those of a Poisson process
	from   time.Time // since when the rate has been what it is
	rate   float64   // requests per second
	gaps   float64   // from then to the next request, in units of 1/rate
}

// newArrivals begins at a time. Those of workers that share a rate alternate.
func newArrivals(start time.Time, random bool, share Share) *arrivals {
	a := &arrivals{random: random, from: start, gaps: float64(share.Index) / float64(max(share.Of, 1))}
	if random {
		a.gaps = rand.ExpFloat64()
	}
	return a
}

// due returns when the next request is due if the rate stays as it is now, and false if
// that is never.
func (a *arrivals) due(rate float64, now time.Time) (time.Time, bool) {
	if rate != a.rate && a.rate > 0 {
		if at := a.at(); now.After(at) {
			a.from, a.gaps = at, 0 // what was due at the old rate stays due
		} else {
			// What of the gap has passed at the old rate is done.
			a.gaps = max(a.gaps-now.Sub(a.from).Seconds()*a.rate, 0)
			a.from = now
		}
	}
	if a.rate = rate; rate == 0 {
		a.from = now
		return time.Time{}, false
	}
	return a.at(), true
}

func (a *arrivals) at() time.Time {
	return a.from.Add(time.Duration(math.Round(a.gaps / a.rate * float64(time.Second))))
}

// next goes on to the request after the one that was due.
func (a *arrivals) next() {
	if a.random {
		a.gaps += rand.ExpFloat64()
	} else {
		a.gaps++
	}
}

// leader hands out requests at a rate. One worker at a time holds the turn: it waits
// until the next request is due, passes the turn on and sends it.
type leader struct {
	*Session
	arrivals *arrivals
	all      *sync.WaitGroup
	turn     chan struct{}
	waiting  atomic.Int64 // workers that wait for the turn
	workers  atomic.Int64
	number   int // of the next request
}

// lead starts the first worker.
func (s *Session) lead(ctx context.Context, all *sync.WaitGroup) {
	l := &leader{Session: s, all: all, turn: make(chan struct{}, 1), arrivals: newArrivals(s.began, s.plan.Arrivals == Poisson, s.share)}
	l.turn <- struct{}{}
	l.spawn(ctx)
}

func (l *leader) spawn(ctx context.Context) {
	l.workers.Add(1)
	l.waiting.Add(1)
	l.all.Go(func() { l.worker(ctx) })
}

func (l *leader) worker(ctx context.Context) {
	u := l.sender()
	defer u.close()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.turn:
		}
		number, due, ok := l.next(ctx)
		if !ok {
			l.turn <- struct{}{}
			return
		}
		if l.waiting.Add(-1) == 0 && l.workers.Load() < int64(l.plan.Connections) {
			l.spawn(ctx)
		}
		l.turn <- struct{}{}
		l.users.Add(1)
		if err := u.send(l.share.number(number), due, time.Now()); notConnected(err) {
			pause(ctx, unreachablePause)
		}
		l.users.Add(-1)
		l.waiting.Add(1)
	}
}

// next waits until the next request is due, and returns its number and time. The rate may
// change meanwhile. A request that falls due while all connections wait for responses
// begins late, unless that is later than the session's patience allows.
func (l *leader) next(ctx context.Context) (number int, due time.Time, ok bool) {
	for ctx.Err() == nil {
		now := time.Now()
		due, ok := l.arrivals.due(l.now.Load().level, now)
		if !ok || l.over(due) { // unless the level is set by hand
			if l.finishing.Load() {
				break
			}
			pause(ctx, tick)
			continue
		}
		if wait := due.Sub(now); wait > tick { // see whether the rate has changed
			pause(ctx, tick)
			continue
		} else if wait > 0 {
			pause(ctx, wait)
			if ctx.Err() != nil {
				break
			}
		}
		l.arrivals.next()
		l.number++
		if time.Since(due) <= l.patience {
			return l.number - 1, due, true
		}
		l.leaveOut(l.number-1, now.Sub(due) > l.patience && l.workers.Load() == int64(l.plan.Connections))
	}
	return 0, time.Time{}, false
}

// leaveOut counts a request that could not begin on time: because no connection was
// free, or because this program was late.
func (l *leader) leaveOut(number int, busy bool) {
	switch target, _ := l.pick(number); {
	case l.missed == nil:
		l.tallies[target].failed.Add(1)
		now := time.Now()
		l.causes.add(l.targets[target].name, &failure{NotSent, "no connection was free within the timeout; all of them waited for responses"}, now.Add(-l.patience), now)
	case busy:
		l.missed.Busy++
	default:
		l.missed.Late++
	}
}
