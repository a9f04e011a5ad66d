package serve

import (
	"errors"
	"runtime"
	"sync/atomic"
	"time"
)

// Limits bound what requests to /predict may take at once. The zero value of a
// field means its default.
type Limits struct {
	// Concurrency is how many requests of few records are scored at once; of
	// those of many, an eighth as many besides. Default: eight times GOMAXPROCS,
	// since one that was interrupted keeps its place.
	Concurrency int
	// Queue is how many requests a burst may leave waiting. A queue that does not
	// end is kept shorter, see lane. Default: 2048.
	Queue int
	// BodyMemory is how many bytes the bodies that are here at once, and the room
	// for their answers, may take. Default: 128 MiB.
	BodyMemory int64
}

func (l Limits) defaults() Limits {
	if l.Concurrency <= 0 {
		l.Concurrency = 8 * runtime.GOMAXPROCS(0)
	}
	if l.Queue <= 0 {
		l.Queue = 2048
	}
	if l.BodyMemory <= 0 {
		l.BodyMemory = 128 << 20
	}
	return l
}

// errBusy says that a request may come again later.
var errBusy = errors.New("too much is under way")

const (
	patience = 20 * time.Millisecond // how long a queue may be long: a burst, not overload
	longest  = time.Second           // that a request waits
)

// lane lets so many requests at once pass, about in the order in which they came.
//
// Who finds no place waits. A burst may queue up to a bound; but a queue that has
// not been empty for longer than patience is a sign of more load than can be
// carried. Then fewer may wait, and all others are told so at once: where these
// are a little fewer than there are places, hardly one of these stays empty, and
// nobody waits longer than about the time that a request takes.
//
// A place that is free is taken and given back by one atomic operation each.
type lane struct {
	places int64
	few    int64 // that may wait in a queue that does not end
	most   int64 // in a burst

	free  atomic.Int64  // places; below 0: requests that wait for one
	turn  chan struct{} // a token for each that waited and whose turn it is
	began atomic.Int64  // when the queue was last begun, since start
	start time.Time

	refused atomic.Int64
}

func newLane(places, few, most int) *lane {
	l := &lane{places: int64(places), few: int64(few), most: int64(most), start: time.Now()}
	l.free.Store(l.places)
	l.turn = make(chan struct{}, places) // no more tokens than places are under way
	return l
}

// enter takes a place, if need be after a wait, or reports that there is none.
// Who has entered must leave.
func (l *lane) enter() bool {
	for free := l.free.Load(); free > 0; free = l.free.Load() {
		if l.free.CompareAndSwap(free, free-1) {
			return true
		}
	}
	if l.wait() {
		return true
	}
	l.refused.Add(1)
	return false
}

// leave gives the place back, or on to who waits for it.
func (l *lane) leave() {
	if l.free.Add(1) <= 0 {
		l.turn <- struct{}{}
	}
}

func (l *lane) wait() bool {
	for {
		free := l.free.Load()
		now := int64(time.Since(l.start))
		switch waiting := -free; {
		case waiting >= l.most:
			return false
		case waiting >= l.few && now-l.began.Load() > int64(patience):
			return false
		case waiting == 0:
			l.began.Store(now)
		}
		if l.free.CompareAndSwap(free, free-1) {
			if free > 0 {
				return true
			}
			break
		}
	}
	tooLong := time.NewTimer(longest)
	defer tooLong.Stop()
	select {
	case <-l.turn:
		return true
	case <-tooLong.C:
	}
	// No longer one of those that wait, unless all of them were given a place
	// meanwhile: then one of the tokens is for this request.
	for free := l.free.Load(); free < 0; free = l.free.Load() {
		if l.free.CompareAndSwap(free, free+1) {
			return false
		}
	}
	<-l.turn
	return true
}

// inside and waiting say how many requests have a place and how many want one.
func (l *lane) inside() int64  { return l.places - max(l.free.Load(), 0) }
func (l *lane) waiting() int64 { return max(-l.free.Load(), 0) }

// memory is what the bodies under way may take together. Nobody waits for it:
// who waited would hold what he has.
type memory struct {
	most    int64
	used    atomic.Int64
	refused atomic.Int64
}

// share is the part of the memory that is open to a request that holds n bytes:
// large ones leave a quarter to the small.
func (m *memory) share(n int64) int64 {
	if n > modest {
		return m.most - m.most/4
	}
	return m.most
}

// take adds n bytes to the held ones of a request. It returns errTooLarge where
// they could never be had, errBusy where others have them now.
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
