package metrics

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// spread holds copies of T, of which each processor uses its own most of the time: two that
// wrote to one would wait for each other's cache. Whoever reads adds the copies up. Two may
// still use one copy at the same time, so a T guards itself; and it ends with room for a
// line of the cache, so that no two share one.
type spread[T any] struct {
	copies []T
	taken  atomic.Uint32 // copies that no processor had yet
	own    sync.Pool     // *T, of each processor
}

// line is two lines of the cache, since processors fetch pairs.
const line = 128

func newSpread[T any]() *spread[T] {
	return &spread[T]{copies: make([]T, 4*runtime.GOMAXPROCS(0))}
}

// take returns a copy for the processor that this runs on; put gives it back.
func (s *spread[T]) take() *T {
	if own := s.own.Get(); own != nil {
		return own.(*T)
	}
	return &s.copies[int(s.taken.Add(1))%len(s.copies)]
}

func (s *spread[T]) put(own *T) { s.own.Put(own) }

// Counter is a counter that every request adds to. What it counted reaches the
// library's counter when metrics are read.
type Counter struct {
	total   prometheus.Counter
	pending *spread[pending]
}

type pending struct {
	atomic.Int64
	_ [line]byte
}

func (s set) newCounter(total prometheus.Counter) *Counter {
	c := &Counter{total, newSpread[pending]()}
	s.onRead(c.flush)
	return c
}

// Add counts n.
func (c *Counter) Add(n int) {
	own := c.pending.take()
	own.Int64.Add(int64(n))
	c.pending.put(own)
}

func (c *Counter) flush() {
	n := int64(0)
	for i := range c.pending.copies {
		n += c.pending.copies[i].Swap(0)
	}
	c.total.Add(float64(n))
}
