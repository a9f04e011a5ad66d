package loadtest

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mlops/internal/retry"
)

// Session is a test of a plan while it runs and after its end. It is what sends requests,
// for a plan and for each of the stages of Run.
type Session struct {
	plan     Plan
	began    time.Time
	targets  []*prepared
	order    []int // of targets: each as often as its weight says, well mixed
	rank     []int // of an entry of order among those of its target
	share    Share // whose part of the load this is
	stop     context.CancelFunc
	done     chan struct{}
	before   usage
	patience time.Duration // how late a request at a rate may begin
	missed   *Missed       // if set, counts the ones that are later; else they are failures

	turn      atomic.Int64 // the number of the next request, if users share targets
	byHand    atomic.Pointer[float64]
	now       atomic.Pointer[place]
	end       atomic.Int64 // ns after the start, when no request is due any more; 0: when it is stopped
	finishing atomic.Bool  // the end has come
	users     atomic.Int64 // of the closed model; with a rate, connections in use
	opened    atomic.Int64
	tallies   []*targetTally
	causes    causes
	versions  versions

	afterwards atomic.Int64 // requests that have succeeded after the end

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
	latency histogram  // from when requests were due
	service *histogram // from when they were sent: latency itself if that is the same
	failed  atomic.Int64

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
	s, err := ready(p)
	if err != nil {
		return nil, err
	}
	s.start(ctx)
	return s, nil
}

// ready returns the session of a plan, not yet started.
func ready(p Plan) (*Session, error) {
	p, err := p.Check()
	if err != nil {
		return nil, err
	}
	var targets []*prepared
	for i := range p.Targets {
		t, err := p.Targets[i].prepare(p.Timeout)
		if err != nil {
			return nil, err
		}
		if len(t.requests) == 0 {
			return nil, errors.New("target " + t.name + " has nothing to send")
		}
		targets = append(targets, t)
	}
	return newSession(p, targets, order(p.Targets)), nil
}

func newSession(p Plan, targets []*prepared, order []int) *Session {
	s := &Session{plan: p, targets: targets, order: order, done: make(chan struct{}), patience: time.Duration(p.Timeout)}
	seen := make([]int, len(targets))
	for _, i := range order {
		s.rank = append(s.rank, seen[i])
		seen[i]++
	}
	for range targets {
		t := &targetTally{}
		t.service = &t.latency
		if p.Model == OpenModel || p.Pacing > 0 {
			t.service = new(histogram)
		}
		s.tallies = append(s.tallies, t)
	}
	return s
}

func (s *Session) start(ctx context.Context) {
	ctx, s.stop = context.WithCancel(ctx)
	first, segment, _ := level(s.plan.Shape, 0)
	s.now.Store(&place{first, segment})
	if last := len(s.plan.Shape) - 1; s.plan.Shape[last].For > 0 {
		s.end.Store(int64(length(s.plan.Shape)))
	}
	s.before, s.began = usageNow(), time.Now()
	go s.run(ctx)
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
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.finishing.Load() {
		return errors.New("the test has ended")
	}
	s.byHand.Store(&level)
	s.end.Store(0)
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

// over reports whether a time is at or after the end.
func (s *Session) over(at time.Time) bool {
	end := time.Duration(s.end.Load())
	return end > 0 && at.Sub(s.began) >= end
}

// finish reports whether the shape is over. Then the level can't be set any more.
func (s *Session) finish() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, over := s.place(); over {
		s.finishing.Store(true)
	}
	return s.finishing.Load()
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
	if !closed {
		s.lead(working, &all)
	}
	last := s.began
	for ctx.Err() == nil {
		was := s.now.Load()
		now, over := s.place()
		if over && s.finish() {
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
				number := s.share.number(len(users))
				users = append(users, leave)
				all.Go(func() { s.user(ctx, number) })
			}
		}
		wait := tick
		if end := time.Duration(s.end.Load()); end > 0 {
			wait = min(wait, time.Until(s.began.Add(end)))
		}
		pause(ctx, wait)
	}
	if ctx.Err() == nil && !closed {
		// What fell due before the end, while all connections waited, is still sent:
		// left out, a stall at the end would look shorter than it was.
		all.Wait()
	}
	end()
	all.Wait()
	s.window(last, time.Now(), *s.now.Load())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finishing.Store(true)
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

// pick returns the target of the n-th request, and which of the target's bodies it has:
// the requests of one target are spread over its bodies, whatever the other targets are.
func (s *Session) pick(n int) (target, body int) {
	round, place := n/len(s.order), n%len(s.order)
	target = s.order[place]
	body = round*s.targets[target].perRound + s.rank[place]
	return target, body % len(s.targets[target].requests)
}

// sender is one user or worker with a connection per target.
type sender struct {
	*Session
	clients []*client
	version string // that answered last, and how often since then
	count   int64
}

func (s *Session) sender() *sender {
	return &sender{Session: s, clients: make([]*client, len(s.targets))}
}

func (u *sender) close() {
	u.versions.add(u.version, u.count)
	for _, c := range u.clients {
		if c != nil {
			c.close()
		}
	}
}

// send sends the n-th request, due at a time, now, and counts it.
func (u *sender) send(n int, due, now time.Time) error {
	i, body := u.pick(n)
	t, count := u.targets[i], u.tallies[i]
	c := u.clients[i]
	if c == nil {
		c = &client{endpoint: t.endpoint, opened: func() { u.opened.Add(1) }}
		u.clients[i] = c
	}
	version, err := c.send(&t.requests[body])
	end := time.Now()
	if err != nil {
		count.failed.Add(1)
		u.causes.add(t.name, err, due, end)
		return err
	}
	count.latency.add(end.Sub(due))
	if count.service != &count.latency {
		count.service.add(end.Sub(now))
	}
	if u.over(end) {
		u.afterwards.Add(1)
	}
	if version != u.version {
		u.versions.add(u.version, u.count)
		u.version, u.count = version, 0
	}
	u.count++
	return nil
}

// unreachablePause is how long a user that could not connect waits before its next
// request. Without it, one that is refused at once would fill the report with failures
// while the others wait for responses.
const unreachablePause = 100 * time.Millisecond

func notConnected(err error) bool {
	f, ok := errors.AsType[*failure](err)
	return ok && f.kind == NotConnected
}

// user is a closed loop. It leaves when its context ends, once its request is answered.
func (s *Session) user(ctx context.Context, number int) {
	s.users.Add(1)
	defer s.users.Add(-1)
	u := s.sender()
	defer u.close()
	wait := time.Duration(max(s.plan.Think, s.plan.Pacing))
	if wait > 0 { // so that users don't all send at once: by the golden ratio, any number of them is spread
		_, part := math.Modf(float64(number) * (math.Phi - 1))
		pause(ctx, time.Duration(part*float64(wait)))
	}
	now := time.Now()
	due := now
	for n := number; ctx.Err() == nil && !s.over(now); n++ {
		if len(s.order) > 1 {
			n = int(s.turn.Add(1) - 1) // so that the weights hold for all users together
		}
		err := u.send(n, due, now)
		lost := notConnected(err)
		if wait == 0 && !lost {
			now = time.Now()
			due = now
			continue
		}
		next := time.Now().Add(time.Duration(s.plan.Think))
		paced := s.plan.Pacing > 0
		if paced {
			// A user that is late sends at once, and its latency counts from when it
			// should have; it does not make up for the requests that it could not send.
			next = now.Add(time.Duration(s.plan.Pacing))
		}
		if lost {
			if later := time.Now().Add(unreachablePause); later.After(next) {
				next, paced = later, false
			}
		}
		pause(ctx, time.Until(next))
		now = time.Now()
		if due = now; paced {
			due = next
		}
	}
}

// pause waits for d, or until the context ends.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	retry.Sleep(ctx, d)
}

// Windows returns the windows that have been closed.
func (s *Session) Windows() []Window {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.windows)
}
