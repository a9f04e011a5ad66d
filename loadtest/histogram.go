package loadtest

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	// Each power of two is divided into 2^fineness steps of equal width, so that what
	// is read from a histogram is at most 1/128 above what was added.
	fineness = 7
	// Durations of 2^reach ns (18 minutes) and more count as that long; the sum and the
	// maximum are exact.
	reach = 40

	steps = (reach - fineness + 1) << fineness
)

// histogram counts durations in steps whose width grows with them, in 35 kB however
// many there are. Its methods may be called concurrently, but several readings are
// consistent only while nothing is added.
type histogram struct {
	counts  [steps]atomic.Int64
	n       atomic.Int64
	sum     atomic.Int64 // ns; 292 years
	longest atomic.Int64
}

// step returns the step that counts a number of nanoseconds.
func step(ns int64) int {
	v := uint64(min(max(ns, 0), 1<<reach-1))
	shift := max(bits.Len64(v)-fineness-1, 0)
	return shift<<fineness + int(v>>shift)
}

// top returns the largest number of nanoseconds in a step.
func top(step int) int64 {
	shift := max(step>>fineness-1, 0)
	return (int64(step-shift<<fineness)+1)<<shift - 1
}

func (h *histogram) add(d time.Duration) {
	ns := max(int64(d), 0)
	h.counts[step(ns)].Add(1)
	h.n.Add(1)
	h.sum.Add(ns)
	for {
		old := h.longest.Load()
		if ns <= old || h.longest.CompareAndSwap(old, ns) {
			return
		}
	}
}

// quantile returns the duration that a share q of them does not exceed; 0 if there are
// none.
func (h *histogram) quantile(q float64) time.Duration {
	n := h.n.Load()
	rank := min(max(int64(math.Ceil(q*float64(n))), 1), n)
	var below int64
	for i := range h.counts {
		if below += h.counts[i].Load(); below >= rank && rank > 0 {
			if i == steps-1 {
				break
			}
			return time.Duration(min(top(i), h.longest.Load()))
		}
	}
	return time.Duration(h.longest.Load())
}

func (h *histogram) mean() time.Duration {
	n := h.n.Load()
	if n == 0 {
		return 0
	}
	return time.Duration(h.sum.Load() / n)
}
