package loadtest

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// Every duration up to the reach lies in a step whose top is at most 1/128 above
// it, and steps follow each other without a gap.
func TestSteps(t *testing.T) {
	look := func(ns int64) {
		t.Helper()
		got := top(step(ns))
		if got < ns || float64(got-ns) > float64(ns)/128 {
			t.Fatalf("%d ns are counted up to %d ns", ns, got)
		}
	}
	for ns := range int64(100_000) {
		look(ns)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		look(random.Int64N(1 << (1 + random.IntN(reach))))
	}
	for i := 1; i < steps; i++ {
		if step(top(i-1)+1) != i || step(top(i)) != i {
			t.Fatalf("step %d holds %d to %d ns, which are counted in steps %d and %d", i, top(i-1)+1, top(i), step(top(i-1)+1), step(top(i)))
		}
	}
	for _, ns := range []int64{1 << reach, math.MaxInt64} {
		if step(ns) != steps-1 {
			t.Errorf("%d ns are counted in step %d, want the last", ns, step(ns))
		}
	}
}

func TestQuantiles(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var h histogram
	var all []time.Duration
	var sum time.Duration
	for range 20_001 {
		d := time.Duration(math.Exp(random.NormFloat64()*2) * float64(time.Millisecond))
		all = append(all, d)
		sum += d
		h.add(d)
	}
	slices.Sort(all)
	for _, q := range []float64{0, 0.001, 0.5, 0.95, 0.99, 0.999} {
		want := all[max(int(math.Ceil(q*float64(len(all)))), 1)-1]
		if got := h.quantile(q); got < want || float64(got-want) > float64(want)/128 {
			t.Errorf("quantile %v is %v, the sorted list has %v", q, got, want)
		}
	}
	if got, want := h.quantile(1), all[len(all)-1]; got != want {
		t.Errorf("the longest is %v, want %v exactly", got, want)
	}
	if got, want := h.mean(), sum/time.Duration(len(all)); got != want {
		t.Errorf("mean %v, want %v exactly", got, want)
	}
}

func TestQuantilesOfFew(t *testing.T) {
	var h histogram
	if h.quantile(0.5) != 0 || h.quantile(1) != 0 || h.mean() != 0 {
		t.Error("an empty histogram has a latency")
	}
	h.add(-time.Second) // a clock that was set back
	h.add(3 * time.Second)
	h.add(time.Hour) // beyond the reach
	if got := h.quantile(0.3); got != 0 {
		t.Errorf("the first of three is %v, want 0", got)
	}
	if got := h.quantile(0.6); got < 3*time.Second || got > 3024*time.Millisecond {
		t.Errorf("the second of three is %v, want 3s", got)
	}
	if got := h.quantile(0.99); got != time.Hour {
		t.Errorf("the third of three is %v, want 1h", got)
	}
}

func TestCountsOfManyAtOnce(t *testing.T) {
	var h histogram
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 1000 {
				h.add(time.Duration(i+1) * time.Millisecond)
			}
		})
	}
	all.Wait()
	if h.n.Load() != 8000 || h.mean() != 4500*time.Microsecond || h.quantile(1) != 8*time.Millisecond {
		t.Errorf("%d durations, mean %v, longest %v", h.n.Load(), h.mean(), h.quantile(1))
	}
}
