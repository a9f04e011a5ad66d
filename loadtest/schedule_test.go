package loadtest

import (
	"testing"
	"time"
)

func TestSchedule(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := newSchedule(start, 100, time.Second, Share{}) // one each 10 ms
	type row struct {
		reason string
		now    time.Duration
		i      int64
		due    time.Duration
		busy   int64
	}
	for _, r := range []row{
		{"the first is due at once", 0, 0, 0, 0},
		{"one that comes early waits for its time", 0, 1, 10 * time.Millisecond, 0},
		{"another at the same time waits for the next", 0, 2, 20 * time.Millisecond, 0},
		{"as late as may be", 40 * time.Millisecond, 3, 30 * time.Millisecond, 0},
		{"the next is still on time", 40 * time.Millisecond, 4, 40 * time.Millisecond, 0},
		{"after a silence the ones that are late are left out, and not sent in a bunch", 905 * time.Millisecond, 90, 900 * time.Millisecond, 85},
		{"and the load goes on as planned", 905 * time.Millisecond, 91, 910 * time.Millisecond, 85},
	} {
		i, due, ok := s.take(start.Add(r.now))
		if !ok || i != r.i || due.Sub(start) != r.due || s.missed() != r.busy {
			t.Errorf("%s: request %d due after %v, %d missed, %v; want request %d after %v, %d missed", r.reason, i, due.Sub(start), s.missed(), ok, r.i, r.due, r.busy)
		}
	}
	if i, _, ok := s.take(start.Add(time.Hour)); ok {
		t.Errorf("after the end, request %d is sent", i)
	}
	if s.missed() != 85+8 {
		t.Errorf("%d missed in the end, want 93", s.missed())
	}
}

// Every request of a rate that does not divide evenly has its time, the last
// before the end.
func TestScheduleOfAnyRate(t *testing.T) {
	for _, test := range []struct {
		rate  float64
		d     time.Duration
		whole int64
	}{
		{0.5, 3 * time.Second, 2}, {3, time.Second, 3}, {3, 1500 * time.Millisecond, 5}, {1e6, time.Second, 1e6}, {0.1, time.Second, 1},
	} {
		s := newSchedule(time.Time{}, test.rate, test.d, Share{})
		if s.total != test.whole {
			t.Errorf("%v requests per second for %v are %d, want %d", test.rate, test.d, s.total, test.whole)
		}
		if last := s.due(s.total - 1).Sub(time.Time{}); last >= test.d {
			t.Errorf("%v requests per second for %v: the last is due after %v", test.rate, test.d, last)
		}
	}
}
