package loadtest

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestTicks(t *testing.T) {
	busy, idle := ticks([]byte("cpu  10 1 20 100 5 2 3 4 50 60\ncpu0 1 1 1 1 1 1 1 1 1 1\n"))
	if busy != 40 || idle != 105 {
		t.Errorf("%v ticks busy, %v idle; want 40 and 105", busy, idle)
	}
	if busy, idle := ticks([]byte("something else")); busy != 0 || idle != 0 {
		t.Errorf("%v and %v ticks from a file that is none", busy, idle)
	}
}

func TestUsageCountsOwnTime(t *testing.T) {
	before := usageNow()
	for end := before.own + 50*time.Millisecond; usageNow().own < end; {
	}
	g := before.since()
	if g.CPUs <= 0 || g.CPUs > float64(runtime.NumCPU())+0.5 || g.CPUsHad < 1 {
		t.Errorf("after 50 ms of work: %+v", g)
	}
}

func TestWarnings(t *testing.T) {
	for _, test := range []struct {
		reason string
		g      Generator
		want   string
	}{
		{"idle", Generator{CPUs: 0.1, CPUsHad: 2, Busy: 0.1}, ""},
		{"busy with room left", Generator{CPUs: 1.5, CPUsHad: 2, Busy: 0.9}, ""},
		{"all it may use", Generator{CPUs: 1, CPUsHad: 1, Busy: 0.1}, "nearly all of its 1 processors"},
		{"a full machine", Generator{CPUs: 0.2, CPUsHad: 2, Busy: 0.99}, "was saturated"},
		{"a full machine, all of which it may use", Generator{CPUs: 1.9, CPUsHad: 2, Busy: 0.99}, "nearly all of its 2"},
	} {
		got := strings.Join(test.g.warnings(), "\n")
		if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, want %q", test.reason, got, test.want)
		}
	}
}
