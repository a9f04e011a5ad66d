package loadtest

import (
	"math"
	"testing"
	"time"
)

// dues lists when requests at a rate are due before an end.
func dues(a *arrivals, rate float64, start time.Time, end time.Duration) (list []time.Duration) {
	for {
		due, ok := a.due(rate, start)
		if !ok || due.Sub(start) >= end {
			return list
		}
		list = append(list, due.Sub(start))
		a.next()
	}
}

// Every request of a rate that does not divide evenly has its time, the last before the
// end.
func TestArrivalsOfAnyRate(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, test := range []struct {
		rate  float64
		d     time.Duration
		whole int
	}{
		{0.5, 3 * time.Second, 2}, {3, time.Second, 3}, {3, 1500 * time.Millisecond, 5}, {1e6, time.Second, 1e6}, {0.1, time.Second, 1}, {100.0 / 3, 600 * time.Millisecond, 20}, {7, 3 * time.Second, 21},
	} {
		list := dues(newArrivals(start, false, Share{}), test.rate, start, test.d)
		if len(list) != test.whole {
			t.Errorf("%v requests per second for %v are %d, want %d", test.rate, test.d, len(list), test.whole)
		}
		for i, due := range list {
			if want := time.Duration(float64(i) / test.rate * float64(time.Second)); (due - want).Abs() > time.Nanosecond {
				t.Fatalf("request %d of %v/s is due after %v, want %v", i, test.rate, due, want)
			}
		}
	}
}

// A rate that changes has the part of a gap behind it that has passed.
func TestArrivalsOfAChangingRate(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, test := range []struct {
		reason string
		change time.Duration // when the rate of 1/s, whose first request was taken, changes
		rate   float64
		due    time.Duration
	}{
		{"a quarter of the gap has passed", 250 * time.Millisecond, 10, 325 * time.Millisecond},
		{"slower", 500 * time.Millisecond, 0.1, 5500 * time.Millisecond},
		{"what was due stays due", 1500 * time.Millisecond, 10, time.Second},
		{"nothing is due without a rate", time.Second / 2, 0, -1},
	} {
		a := newArrivals(start, false, Share{})
		a.due(1, start)
		a.next()
		due, ok := a.due(test.rate, start.Add(test.change))
		if got := due.Sub(start); ok != (test.due >= 0) || ok && got != test.due {
			t.Errorf("%s: due after %v (%v), want %v", test.reason, got, ok, test.due)
		}
	}
	// While the rate is 0, nothing of the gap passes.
	a := newArrivals(start, false, Share{})
	a.due(1, start)
	a.next()
	a.due(0, start.Add(400*time.Millisecond))
	a.due(0, start.Add(time.Hour))
	if due, ok := a.due(1, start.Add(time.Hour)); !ok || due.Sub(start) != time.Hour+600*time.Millisecond {
		t.Errorf("after a pause of an hour, due after %v, want 600 ms more than the hour", due.Sub(start))
	}
}

// Random gaps have the mean and the spread of a Poisson process.
func TestPoissonArrivals(t *testing.T) {
	t.Parallel()
	list := dues(newArrivals(time.Time{}, true, Share{}), 1000, time.Time{}, 20*time.Second)
	if n := float64(len(list)); math.Abs(n-20_000) > 6*math.Sqrt(20_000) {
		t.Errorf("%v requests in 20 s at 1000/s", n)
	}
	var squares float64
	for i := 1; i < len(list); i++ {
		gap := (list[i] - list[i-1]).Seconds() * 1000
		squares += gap * gap
	}
	if mean := squares / float64(len(list)-1); mean < 1.8 || mean > 2.2 {
		t.Errorf("the mean square of a gap is %v of the mean's, want 2", mean)
	}
}
