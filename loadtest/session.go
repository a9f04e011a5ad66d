package loadtest

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Session is a test of a plan while it runs and after its end.
type Session struct {
	plan    Plan
	began   time.Time
	targets []*prepared
	order   []int // of targets: each as often as its weight says, well mixed
	stop    context.CancelFunc
	done    chan struct{}
	before  usage

	turn    atomic.Int64 // of order
	byHand  atomic.Pointer[float64]
	now     atomic.Pointer[place]
	users   atomic.Int64 // of the closed model; with a rate, connections in use
	opened  atomic.Int64
	tallies []*targetTally
	causes  causes

	mu      sync.Mutex
	windows []Window
	changes []Change
	ended   time.Time
	aborted bool
	own     Generator
}

// place is where a test is in its shape.
type place struct {
	level   float64
	segment int
}

// Change is a level that was set by hand.
type Change struct {
	After float64 `json:"after_s"`
	Level float64 `json:"level"`
}

// targetTally counts one target's requests.
type targetTally struct {
	latency, service histogram
	failed           atomic.Int64
	sent             atomic.Int64

	// What the last window ended with; used by the session's clock only.
	before struct {
		latency, service       [steps]int64
		latencySum, serviceSum int64
		failed                 int64
	}
}

// windowLength is how often a test closes a window.
const windowLength = time.Second

// Start begins a test, whose plan must have been checked and loaded. It ends by itself
// after its shape, or with the context, or by Stop.
func Start(ctx context.Context, p Plan) (*Session, error) {
	p, err := p.Check()
	if err != nil {
		return nil, err
	}
	s := &Session{plan: p, done: make(chan struct{}), order: order(p.Targets)}
	for i := range p.Targets {
		t, err := p.Targets[i].prepare(p.Timeout)
		if err != nil {
			return nil, err
		}
		if len(t.requests) == 0 {
			return nil, errors.New("target " + t.name + " has nothing to send")
		}
		s.targets = append(s.targets, t)
		s.tallies = append(s.tallies, &targetTally{})
	}
	ctx, s.stop = context.WithCancel(ctx)
	s.before, s.began = usageNow(), time.Now()
	first, segment, _ := level(p.Shape, 0)
	s.now.Store(&place{first, segment})
	go s.run(ctx)
	return s, nil
}

// order mixes targets by their weights, so that the proportions hold in short stretches
// too (smooth weighted round robin).
func order(targets []Target) []int {
	whole := 0
	for _, t := range targets {
		whole += t.Weight
	}
	credit := make([]int, len(targets))
	list := make([]int, whole)
	for n := range list {
		best := 0
		for i, t := range targets {
			credit[i] += t.Weight
			if credit[i] > credit[best] {
				best = i
			}
		}
		credit[best] -= whole
		list[n] = best
	}
	return list
}

// Set holds a level of users or requests per second from now on, instead of the shape.
// The test then runs until it is stopped.
func (s *Session) Set(level float64) error {
	top := maxRate
	if s.plan.Model == ClosedModel {
		top = maxUsers
	}
	if !(level >= 0 && level <= top) {
		return errors.New("the level is out of range")
	}
	s.byHand.Store(&level)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.changes) == 1000 { // shown as lines of charts
		s.changes = s.changes[1:]
	}
	s.changes = append(s.changes, Change{time.Since(s.began).Seconds(), level})
	return nil
}

// Stop sends no more requests, waits for the responses still due and ends the test.
func (s *Session) Stop() {
	s.mu.Lock()
	if s.ended.IsZero() {
		s.aborted = true
	}
	s.mu.Unlock()
	s.stop()
	<-s.done
}

// Done is closed once the test has ended and every response has been counted.
func (s *Session) Done() <-chan struct{} { return s.done }

// place returns where the test is now, and whether its shape is over.
func (s *Session) place() (place, bool) {
	if l := s.byHand.Load(); l != nil {
		return place{*l, -1}, false
	}
	l, segment, over := level(s.plan.Shape, time.Since(s.began))
	return place{l, segment}, over
}

const tick = 20 * time.Millisecond // how often the number of users follows the shape

// run follows the shape and closes windows until the end.
func (s *Session) run(ctx context.Context) {
	defer close(s.done)
	var all sync.WaitGroup
	closed := s.plan.Model == ClosedModel
	working, end := context.WithCancel(ctx)
	defer end()
	var users []context.CancelFunc
	lead := &leader{Session: s, all: &all, turn: make(chan struct{}, 1)}
	if !closed {
		lead.turn <- struct{}{}
		lead.spawn(working)
	}
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	last := s.began
	for ctx.Err() == nil {
		was := s.now.Load()
		now, over := s.place()
		if over {
			break
		}
		moment := time.Now()
		// A window ends with its segment, so that segments can be summed up.
		if was.segment != now.segment || moment.Sub(last) >= windowLength {
			s.window(last, moment, *was)
			last = moment
		}
		s.now.Store(&now)
		if closed {
			for n := int(now.level + 0.5); len(users) != n; {
				if len(users) > n {
					users[len(users)-1]()
					users = users[:len(users)-1]
					continue
				}
				ctx, leave := context.WithCancel(working)
				number := len(users)
				users = append(users, leave)
				all.Go(func() { s.user(ctx, number) })
			}
		}
		select {
		case <-ctx.Done():
		case <-ticks.C:
		}
	}
	if ctx.Err() == nil && !closed {
		// What fell due before the end, while all connections waited, is still sent:
		// left out, a stall at the end would look shorter than it was.
		lead.end.Store(int64(length(s.plan.Shape)))
		all.Wait()
	}
	end()
	all.Wait()
	s.window(last, time.Now(), *s.now.Load())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = time.Now()
	s.own = s.before.since()
	if ctx.Err() != nil {
		s.aborted = true
	}
	s.stop()
}

// window closes a window.
func (s *Session) window(from, to time.Time, at place) {
	w := Window{After: to.Sub(s.began).Seconds(), Seconds: to.Sub(from).Seconds(), Segment: at.segment, Level: at.level, Users: int(s.users.Load())}
	for _, t := range s.tallies {
		c := Count{Latency: t.latency.since(&t.before.latency, &t.before.latencySum), Service: t.service.since(&t.before.service, &t.before.serviceSum)}
		failed := t.failed.Load()
		c.Failed, t.before.failed = failed-t.before.failed, failed
		c.Succeeded = c.Latency.total()
		w.merge(&c)
		if len(s.tallies) > 1 {
			w.ByTarget = append(w.ByTarget, c)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.windows = addWindow(s.windows, w)
}

// sender is one user or worker with a connection per target.
type sender struct {
	*Session
	clients []*client
}

func (s *Session) sender() *sender { return &sender{s, make([]*client, len(s.targets))} }

func (u *sender) close() {
	for _, c := range u.clients {
		if c != nil {
			c.close()
		}
	}
}

// send sends the next request, due at a time, and counts it.
func (u *sender) send(due time.Time) error {
	n := int(u.turn.Add(1) - 1)
	i := u.order[n%len(u.order)]
	t, count := u.targets[i], u.tallies[i]
	c := u.clients[i]
	if c == nil {
		c = &client{endpoint: t.endpoint, opened: func() { u.opened.Add(1) }}
		u.clients[i] = c
	}
	sent := time.Now()
	// Turns of one target are spread over its bodies, whatever the other targets are.
	body := int(count.sent.Add(1)-1) % len(t.requests)
	_, err := c.send(&t.requests[body])
	end := time.Now()
	if err != nil {
		count.failed.Add(1)
		u.causes.add(t.name, err, end)
		return err
	}
	count.latency.add(end.Sub(due))
	count.service.add(end.Sub(sent))
	return nil
}

// user is a closed loop. It leaves when its context ends, once its request is answered.
func (s *Session) user(ctx context.Context, number int) {
	s.users.Add(1)
	defer s.users.Add(-1)
	u := s.sender()
	defer u.close()
	wait := max(s.plan.Think, s.plan.Pacing)
	if wait > 0 { // so that users don't all send at once
		pause(ctx, time.Duration(rand.Int64N(int64(wait))))
	}
	due := time.Now()
	for ctx.Err() == nil {
		sent := time.Now()
		err := u.send(due)
		next := time.Now().Add(time.Duration(s.plan.Think))
		paced := s.plan.Pacing > 0
		if paced {
			// A user that is late sends at once, and its latency counts from when it
			// should have; it does not make up for the requests that it could not send.
			next = sent.Add(time.Duration(s.plan.Pacing))
		}
		if f, ok := errors.AsType[*failure](err); ok && f.kind == NotConnected {
			if later := time.Now().Add(unreachablePause); later.After(next) {
				next, paced = later, false
			}
		}
		pause(ctx, time.Until(next))
		if due = time.Now(); paced {
			due = next
		}
	}
}

// leader hands out requests at a rate. One worker at a time holds the turn: it waits
// until the next request is due, passes the turn on and sends it. A request that falls
// due while all connections wait for responses begins late, but its latency counts from
// when it was due.
type leader struct {
	*Session
	all     *sync.WaitGroup
	turn    chan struct{}
	waiting atomic.Int64 // workers that wait for the turn
	workers atomic.Int64
	last    time.Time    // when the last request was due; of whoever has the turn
	end     atomic.Int64 // of the shape, ns after the start, once it is over: nothing is due after it
}

// over reports whether a time is after the shape's end.
func (l *leader) over(due time.Time) bool {
	end := time.Duration(l.end.Load())
	return end > 0 && due.After(l.began.Add(end))
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
		due, ok := l.next(ctx)
		if !ok {
			l.turn <- struct{}{}
			return
		}
		if l.waiting.Add(-1) == 0 && l.workers.Load() < int64(l.plan.Connections) {
			l.spawn(ctx)
		}
		l.turn <- struct{}{}
		l.users.Add(1)
		if late := time.Since(due); late > time.Duration(l.plan.Timeout) {
			i := l.order[int(l.Session.turn.Add(1)-1)%len(l.order)]
			l.tallies[i].failed.Add(1)
			l.causes.add(l.targets[i].name, &failure{NotSent, "no connection was free within the timeout; all of them waited for responses"}, time.Now())
		} else if f, ok := errors.AsType[*failure](u.send(due)); ok && f.kind == NotConnected {
			pause(ctx, unreachablePause)
		}
		l.users.Add(-1)
		l.waiting.Add(1)
	}
}

// next waits until the next request is due. The rate may change meanwhile.
func (l *leader) next(ctx context.Context) (due time.Time, ok bool) {
	if l.last.IsZero() {
		l.last = l.began
	}
	gap := 1.0
	if l.plan.Arrivals == Poisson {
		gap = rand.ExpFloat64()
	}
	for ctx.Err() == nil {
		rate := l.now.Load().level
		if rate == 0 {
			if l.over(time.Now()) {
				break
			}
			pause(ctx, tick)
			l.last = time.Now()
			continue
		}
		due := l.last.Add(time.Duration(gap / rate * float64(time.Second)))
		if l.over(due) {
			break
		}
		wait := time.Until(due)
		if wait > tick { // see whether the rate has changed
			pause(ctx, tick)
			// What of the gap has passed at this rate is done.
			passed := min(max(time.Since(l.last), 0), due.Sub(l.last))
			gap -= passed.Seconds() * rate
			l.last = l.last.Add(passed)
			continue
		}
		pause(ctx, wait)
		l.last = due
		return due, ctx.Err() == nil && !l.over(due)
	}
	return time.Time{}, false
}

// Windows returns the windows that have been closed.
func (s *Session) Windows() []Window {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.windows)
}
