package serve

import (
	"errors"
	"runtime"
	"sync/atomic"
	"time"
)

// Limits bound what requests for predictions may take at the same time. The zero
// value of a field means its default.
type Limits struct {
	// Concurrency is how many small requests are scored at a time; a thirty-second
	// as many large ones are scored besides. Default: 32 times GOMAXPROCS, since a
	// request keeps its slot while it is preempted or waits for the garbage
	// collector, both of which can hold up many at once.
	Concurrency int
	// Queue is how many requests may wait in a burst. A queue that persists is kept
	// shorter, see slots. Default: 2048.
	Queue int
	// BodyMemory is how many bytes all bodies being served, and their responses,
	// may take together. Default: 128 MiB.
	BodyMemory int64
	// Connections is how many connections may be open; see plainhttp.Limiter.
	// Default: 4096.
	Connections int
	// ConnectionRequests is after how many requests, on average, a connection is closed
	// with a response that says so, so that busy clients come to servers that were added
	// since. 0: never.
	ConnectionRequests uint32
}

func (l Limits) defaults() Limits {
	if l.Concurrency <= 0 {
		l.Concurrency = 32 * runtime.GOMAXPROCS(0)
	}
	if l.Queue <= 0 {
		l.Queue = 2048
	}
	if l.BodyMemory <= 0 {
		l.BodyMemory = 128 << 20
	}
	if l.Connections <= 0 {
		l.Connections = 4096
	}
	return l
}

// errBusy means that the request may succeed later.
var errBusy = errors.New("too many requests")

const (
	queueGrace = 50 * time.Millisecond // how long a queue may be long: a burst, not overload
	maxWait    = time.Second           // of a request in the queue
)

// slots allows a number of requests at a time, roughly in the order in which they
// arrive.
//
// A request that gets no slot waits. A burst may queue up to a bound. A queue that
// has not been empty for longer than queueGrace is a sign of overload: then only
// fewer may wait, and further requests are refused at once. With a queue a little
// shorter than the number of slots, hardly a slot stays idle, and no request waits
// much longer than one takes to be scored.
//
// Taking a free slot and returning it cost one atomic operation each.
type slots struct {
	total     int64
	maxSteady int64 // requests that may wait in a queue that persists
	maxBurst  int64 // requests that may wait in a burst

	free   atomic.Int64  // free slots; below 0: requests that wait for one
	turn   chan struct{} // a token for each waiting request that is granted a slot
	queued atomic.Int64  // when the queue last ceased to be empty, in ns since start
	start  time.Time

	refused atomic.Int64
}

func newSlots(total, maxSteady, maxBurst int) *slots {
	s := &slots{total: int64(total), maxSteady: int64(maxSteady), maxBurst: int64(maxBurst), start: time.Now()}
	s.free.Store(s.total)
	s.turn = make(chan struct{}, total) // there are never more tokens than slots
	return s
}

// acquire takes a slot, waiting for one if need be, or reports that there is none.
// A slot that was acquired must be released.
func (s *slots) acquire() bool {
	for free := s.free.Load(); free > 0; free = s.free.Load() {
		if s.free.CompareAndSwap(free, free-1) {
			return true
		}
	}
	if s.wait() {
		return true
	}
	s.refused.Add(1)
	return false
}

// release returns a slot, or passes it on to a request that waits for one.
func (s *slots) release() {
	if s.free.Add(1) <= 0 {
		s.turn <- struct{}{}
	}
}

func (s *slots) wait() bool {
	for {
		free := s.free.Load()
		now := int64(time.Since(s.start))
		switch waiting := -free; {
		case waiting >= s.maxBurst:
			return false
		case waiting >= s.maxSteady && now-s.queued.Load() > int64(queueGrace):
			return false
		case waiting == 0:
			s.queued.Store(now)
		}
		if s.free.CompareAndSwap(free, free-1) {
			if free > 0 {
				return true
			}
			break
		}
	}
	timeout := time.NewTimer(maxWait)
	defer timeout.Stop()
	select {
	case <-s.turn:
		return true
	case <-timeout.C:
	}
	// Leave the queue, unless every request in it has been granted a slot meanwhile:
	// then one of the tokens is for this one.
	for free := s.free.Load(); free < 0; free = s.free.Load() {
		if s.free.CompareAndSwap(free, free+1) {
			return false
		}
	}
	<-s.turn
	return true
}

func (s *slots) busy() int64    { return s.total - max(s.free.Load(), 0) }
func (s *slots) waiting() int64 { return max(-s.free.Load(), 0) }

// memory bounds what all bodies being served may take together. A request never
// waits for memory: it would hold on to what it has meanwhile.
type memory struct {
	total   int64
	used    atomic.Int64
	refused atomic.Int64
}

// share is the part of the memory open to a request that holds n bytes: large ones
// leave a quarter to small ones.
func (m *memory) share(n int64) int64 {
	if n > maxPooled {
		return m.total - m.total/4
	}
	return m.total
}

// take adds n bytes to the held ones of a request. It returns errTooLarge if the
// request could never have them, errBusy if others have them now.
func (m *memory) take(held, n int64) error {
	share := m.share(held + n)
	if held+n > share {
		return errTooLarge
	}
	if m.used.Add(n) > share {
		m.used.Add(-n)
		return errBusy
	}
	return nil
}

func (m *memory) give(n int64) { m.used.Add(-n) }
