package loadtest

import (
	"math"
	"slices"
	"time"
)

// maxWindows is how many windows a test keeps. When there are more, each two become
// one, so that memory does not grow with a test's length.
const maxWindows = 600

// Window is what happened in some seconds of a test: requests are counted in the
// window in which they ended.
type Window struct {
	After   float64 `json:"after_s"` // seconds from the test's start to the window's end
	Seconds float64 `json:"seconds"`
	Segment int     `json:"segment"` // of the shape; -1 after the level was set by hand
	Level   float64 `json:"level"`   // users, or requests per second, that were to be
	Users   int     `json:"users"`   // users there were; with a rate, connections in use
	Count
	// ByTarget has the same per target, in the order of the plan's targets.
	ByTarget []Count `json:"by_target,omitempty"`
}

// Count is a number of requests with their latencies.
type Count struct {
	Succeeded int64 `json:"succeeded"`
	Failed    int64 `json:"failed"`
	// Latency is from the intended start of the successful requests: when they were
	// due. Service is from when they were sent.
	Latency Counts `json:"latency"`
	Service Counts `json:"service"`
}

// Share is the share of failed requests, 0 if there were none.
func (c *Count) Share() float64 {
	if c.Succeeded+c.Failed == 0 {
		return 0
	}
	return float64(c.Failed) / float64(c.Succeeded+c.Failed)
}

func (c *Count) merge(o *Count) {
	c.Succeeded += o.Succeeded
	c.Failed += o.Failed
	c.Latency.merge(&o.Latency)
	c.Service.merge(&o.Service)
}

// Counts are the durations of some requests, as steps of a histogram that hold any: Of
// ascends, and N has as many elements. A step is at most 1/128 above what it counts.
type Counts struct {
	Of  []int   `json:"of,omitempty"`
	N   []int64 `json:"n,omitempty"`
	Sum int64   `json:"sum_ns,omitempty"`
}

func (c *Counts) total() (n int64) {
	for _, k := range c.N {
		n += k
	}
	return n
}

// Quantile returns the milliseconds that a share q of them does not exceed, 0 if there
// are none.
func (c *Counts) Quantile(q float64) float64 {
	n := c.total()
	if n == 0 {
		return 0
	}
	rank := min(max(int64(math.Ceil(q*float64(n))), 1), n)
	var below int64
	for i, k := range c.N {
		if below += k; below >= rank {
			return milliseconds(time.Duration(top(c.Of[i])))
		}
	}
	return 0
}

// Mean is in milliseconds.
func (c *Counts) Mean() float64 {
	if n := c.total(); n > 0 {
		return milliseconds(time.Duration(c.Sum / n))
	}
	return 0
}

func (c *Counts) merge(o *Counts) {
	merged := Counts{Of: make([]int, 0, len(c.Of)+len(o.Of)), N: make([]int64, 0, len(c.Of)+len(o.Of)), Sum: c.Sum + o.Sum}
	i, j := 0, 0
	for i < len(c.Of) || j < len(o.Of) {
		switch {
		case j == len(o.Of) || i < len(c.Of) && c.Of[i] < o.Of[j]:
			merged.Of, merged.N = append(merged.Of, c.Of[i]), append(merged.N, c.N[i])
			i++
		case i == len(c.Of) || o.Of[j] < c.Of[i]:
			merged.Of, merged.N = append(merged.Of, o.Of[j]), append(merged.N, o.N[j])
			j++
		default:
			merged.Of, merged.N = append(merged.Of, c.Of[i]), append(merged.N, c.N[i]+o.N[j])
			i++
			j++
		}
	}
	*c = merged
}

// since returns what was added to a histogram since the last call, whose counts are in
// before.
func (h *histogram) since(before *[steps]int64, sum *int64) Counts {
	var c Counts
	for i := range h.counts {
		now := h.counts[i].Load()
		if n := now - before[i]; n > 0 {
			c.Of, c.N = append(c.Of, i), append(c.N, n)
			before[i] = now
		}
	}
	now := h.sum.Load()
	c.Sum, *sum = now-*sum, now
	return c
}

// all returns everything that was added.
func (h *histogram) all() Counts {
	var before [steps]int64
	var sum int64
	return h.since(&before, &sum)
}

// add appends a window and halves the list if it has become too long. Windows of
// different segments are not merged, since each segment is summed up apart.
func addWindow(list []Window, w Window) []Window {
	list = append(list, w)
	if len(list) <= maxWindows {
		return list
	}
	merged := list[:0:0]
	for i := 0; i < len(list); i++ {
		w := list[i]
		if i+1 < len(list) && list[i+1].Segment == w.Segment {
			i++
			w = join(w, list[i])
		}
		merged = append(merged, w)
	}
	return merged
}

// join is two neighbouring windows as one.
func join(a, b Window) Window {
	b.merge(&a.Count)
	b.Seconds += a.Seconds
	b.Level = max(a.Level, b.Level)
	b.Users = max(a.Users, b.Users)
	b.ByTarget = slices.Clone(b.ByTarget)
	for i := range b.ByTarget {
		if i < len(a.ByTarget) {
			b.ByTarget[i].merge(&a.ByTarget[i])
		}
	}
	return b
}
