package loadtest

import (
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
	if g.CPUs <= 0 || g.CPUs > float64(g.CPUsHere)+0.5 || g.CPUsHad < 1 {
		t.Errorf("after 50 ms of work: %+v", g)
	}
}

func TestWarnings(t *testing.T) {
	for _, test := range []struct {
		reason string
		g      Generator
		want   string
	}{
		{"idle", Generator{CPUs: 0.1, CPUsHad: 2, CPUsHere: 2, Busy: 0.1}, ""},
		{"busy with room left", Generator{CPUs: 1.5, CPUsHad: 2, CPUsHere: 2, Busy: 0.9}, ""},
		{"all it may use", Generator{CPUs: 1, CPUsHad: 1, CPUsHere: 64, Busy: 0.1}, "nearly all of the 1 processors"},
		{"a machine full of others and itself", Generator{CPUs: 0.7, CPUsHad: 2, CPUsHere: 2, Busy: 0.99}, "was full"},
		{"a machine full of others", Generator{CPUs: 0.7, CPUsHad: 64, CPUsHere: 64, Busy: 0.99}, ""},
	} {
		got := strings.Join(test.g.warnings(), "\n")
		if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, want %q", test.reason, got, test.want)
		}
	}
}
