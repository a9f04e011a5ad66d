package workflow

import (
	"context"
	"slices"
	"sync"
)

// slots are the programs that may run at once. Whoever asked first gets the next
// free one, so that tasks start in the order in which they were begun.
type slots struct {
	mu      sync.Mutex
	free    int
	waiting []*turn
}

// turn is a place in the queue; ready is closed when a slot is its own.
type turn struct{ ready chan struct{} }

func newSlots(n int) *slots { return &slots{free: n} }

// ask takes a place in the queue.
func (s *slots) ask() *turn {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &turn{ready: make(chan struct{})}
	s.waiting = append(s.waiting, t)
	s.serve()
	return t
}

// wait waits for a turn's slot. It returns false, and holds no slot, where ctx
// has ended.
func (s *slots) wait(ctx context.Context, t *turn) bool {
	select {
	case <-t.ready:
	case <-ctx.Done():
	}
	if ctx.Err() == nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.waiting, t); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
	} else {
		s.free++
		s.serve()
	}
	return false
}

// release gives a slot back.
func (s *slots) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free++
	s.serve()
}

func (s *slots) serve() {
	for s.free > 0 && len(s.waiting) > 0 {
		s.free--
		close(s.waiting[0].ready)
		s.waiting = s.waiting[1:]
	}
}
