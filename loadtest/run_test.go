package loadtest

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var one = []Body{{[]byte(`{"size":1}`), 1}}

// start starts a server with a handler for /predict.
func start(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func run(t *testing.T, cfg Config) Report {
	t.Helper()
	r, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The report counts exactly what the server did, by kind and by version.
func TestCounts(t *testing.T) {
	var all, failed, second atomic.Int64
	target := start(t, func(w http.ResponseWriter, r *http.Request) {
		switch n := all.Add(1); {
		case n%7 == 0:
			failed.Add(1)
			http.Error(w, "no", http.StatusServiceUnavailable)
		case n%2 == 0:
			second.Add(1)
			io.WriteString(w, strings.Replace(good, `"7"`, `"8"`, 1))
		default:
			io.WriteString(w, good)
		}
	})
	r := run(t, Config{Target: target + "/", Bodies: one, Users: []int{3}, Duration: 300 * time.Millisecond, MaxErrors: 0.2})
	s := r.Stages[0]
	well := all.Load() - failed.Load()
	if r.Requests != all.Load() || r.Failed != failed.Load() || s.Requests != r.Requests || s.Failed != r.Failed {
		t.Errorf("%d requests of which %d failed, the server saw %d and %d", r.Requests, r.Failed, all.Load(), failed.Load())
	}
	if diff := cmp.Diff(map[string]int64{"status 5xx": failed.Load()}, s.Errors); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int64{"7": well - second.Load(), "8": second.Load()}, s.Versions); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}
	if s.Connections != 3 {
		t.Errorf("%d connections, want one per user", s.Connections)
	}
	// What ended after the stage is at most one request per user.
	if n := s.PerSecond * s.Seconds; n > float64(well)+0.5 || n < float64(well-3)-0.5 {
		t.Errorf("%v requests per second for %v s, of %d that succeeded", s.PerSecond, s.Seconds, well)
	}
	if s.Latency.P50 <= 0 || s.Latency.P50 > s.Latency.P95 || s.Latency.P95 > s.Latency.P99 || s.Latency.P99 > s.Latency.Max || s.Latency.Mean > s.Latency.Max {
		t.Errorf("latency %+v", s.Latency)
	}
	if len(s.Failures) != maxFailures || s.Failures[0].Kind != "status 5xx" || !strings.Contains(s.Failures[0].Text, "503") || s.Failures[0].At.Before(s.Began) {
		t.Errorf("failures %+v", s.Failures)
	}
	if !r.Passed() || !s.Sustained || r.Capacity != 3 || !r.Unlimited || r.Stopped {
		t.Errorf("a seventh failed, a fifth may: %+v", r)
	}
}

// A stage in which too much fails is the limit.
func TestLimit(t *testing.T) {
	var broken atomic.Bool
	target := start(t, func(w http.ResponseWriter, r *http.Request) {
		if broken.Load() {
			http.Error(w, "no", http.StatusInternalServerError)
			return
		}
		io.WriteString(w, good)
	})
	var seen []int
	r := run(t, Config{
		Target: target, Bodies: one, Users: []int{1, 2, 4}, Duration: 200 * time.Millisecond, MaxErrors: 0.2,
		OnStage: func(s Stage) {
			seen = append(seen, s.Users)
			broken.Store(s.Users == 2)
		},
	})
	if !slices.Equal(seen, []int{1, 2, 4}) {
		t.Errorf("stages of %v users", seen)
	}
	if r.Capacity != 2 || r.Unlimited || r.Passed() || r.Stages[2].Failed != r.Stages[2].Requests {
		t.Errorf("capacity %v (or more: %v), passed %v, with 4 users %d of %d failed", r.Capacity, r.Unlimited, r.Passed(), r.Stages[2].Failed, r.Stages[2].Requests)
	}
}

// When the context ends, open requests are waited for and counted.
func TestStop(t *testing.T) {
	arrived, release := make(chan struct{}, 10), make(chan struct{})
	target := start(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-release
		io.WriteString(w, good)
	})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		for range 5 {
			<-arrived
		}
		stop()
		close(release)
	}()
	r, err := Run(ctx, Config{Target: target, Bodies: one, Users: []int{5, 10}, Duration: time.Hour, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if r.Requests != 5 || r.Failed != 0 || len(r.Stages) != 1 || !r.Stopped || r.Passed() {
		t.Errorf("%d requests, %d failed, %d stages, stopped %v, passed %v", r.Requests, r.Failed, len(r.Stages), r.Stopped, r.Passed())
	}
	if s := r.Stages[0]; s.Seconds >= 3600 || s.PerSecond <= 0 {
		t.Errorf("%v requests per second in %v s", s.PerSecond, s.Seconds)
	}
}

// A user whose connection is refused does not fill the report.
func TestRefusedUsersPause(t *testing.T) {
	s := httptest.NewServer(nil)
	s.Close()
	r := run(t, Config{Target: s.URL, Bodies: one, Users: []int{2}, Duration: 250 * time.Millisecond})
	if r.Requests < 2 || r.Requests > 6 || r.Failed != r.Requests || r.Stages[0].Errors[NotConnected] != r.Failed {
		t.Errorf("%d requests in a quarter of a second, errors %v; want one per user every 100 ms", r.Requests, r.Stages[0].Errors)
	}
}

// Think time lies between requests; with an hour of it a user asks once.
func TestThink(t *testing.T) {
	target := start(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, good) })
	r := run(t, Config{Target: target, Bodies: one, Users: []int{1}, Duration: 300 * time.Millisecond, Think: time.Hour})
	if r.Requests != 1 || r.Failed != 0 {
		t.Errorf("%d requests, %d failed; want 1 and 0", r.Requests, r.Failed)
	}
}

// At a fixed rate each request that is due is either sent or counted as missed.
func TestRate(t *testing.T) {
	var arrived atomic.Int64
	target := start(t, func(w http.ResponseWriter, r *http.Request) {
		arrived.Add(1)
		io.WriteString(w, good)
	})
	r := run(t, Config{Target: target, Bodies: one, Rates: []float64{200}, Duration: 500 * time.Millisecond, MaxErrors: 1})
	s := r.Stages[0]
	if s.Requests != arrived.Load() || s.Requests+s.Missed.Busy+s.Missed.Late != 100 || s.Failed != 0 || s.Requests == 0 {
		t.Errorf("%d requests, %+v missed, the server saw %d; want 100 in all", s.Requests, *s.Missed, arrived.Load())
	}
}

// A server that does not answer is not sent a bunch when it wakes up, and what
// waited is counted against it.
func TestRateOfABusyServer(t *testing.T) {
	release := make(chan struct{})
	target := start(t, func(w http.ResponseWriter, r *http.Request) {
		<-release
		io.WriteString(w, good)
	})
	time.AfterFunc(700*time.Millisecond, func() { close(release) })
	r := run(t, Config{Target: target, Bodies: one, Rates: []float64{200}, Most: 2, Duration: 500 * time.Millisecond, MaxErrors: 0.2})
	s := r.Stages[0]
	if s.Requests != 2 || s.Missed.Busy+s.Missed.Late != 98 || s.Failed != 0 {
		t.Errorf("%d requests, %+v missed; want 2 and 98", s.Requests, *s.Missed)
	}
	if s.Sustained || r.Passed() || r.Capacity != 0 {
		t.Errorf("a server that missed 98 of 100 requests has a capacity of %v", r.Capacity)
	}
	if s.PerSecond != 0 {
		t.Errorf("%v requests per second within the stage, want none", s.PerSecond)
	}
}

// What waits for the only connection is late by that, but not from when it was sent.
func TestRateTellsWaitsApart(t *testing.T) {
	const takes = 20 * time.Millisecond
	target := start(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(takes)
		io.WriteString(w, good)
	})
	r := run(t, Config{Target: target, Bodies: one, Rates: []float64{60}, Most: 1, Duration: time.Second, MaxErrors: 1})
	if s := r.Stages[0]; s.Sent == nil || s.Sent.P50 < milliseconds(takes) || s.Sent.Mean >= s.Latency.Mean {
		t.Errorf("%+v from when they were sent, %+v from when they were due", s.Sent, s.Latency)
	}
	if s := run(t, Config{Target: target, Bodies: one, Users: []int{1}, Duration: 2 * takes}).Stages[0]; s.Sent != nil {
		t.Errorf("users send when they are due: %+v", s.Sent)
	}
}

func TestConfigRefuses(t *testing.T) {
	for _, test := range []struct {
		reason string
		cfg    Config
		want   string
	}{
		{"no scheme", Config{Target: "localhost:8000"}, "is not the base URL"},
		{"another scheme", Config{Target: "ftp://x"}, "is not the base URL"},
		{"no host", Config{Target: "http:///predict"}, "is not the base URL"},
		{"users and rates", Config{Users: []int{1}, Rates: []float64{1}}, "not both"},
		{"no user", Config{Users: []int{5, 0}}, "at least one user"},
		{"very many users", Config{Users: []int{1e6}}, "are more than the maximum of 10000"},
		{"no rate", Config{Rates: []float64{0}}, "is not between 0 and a million"},
		{"think time at a rate", Config{Rates: []float64{1}, Think: 1}, "no think time"},
		{"a negative duration", Config{Duration: -1}, "can't be negative"},
		{"days", Config{Duration: 5 * time.Hour}, "may last at most 24h"},
		{"a share in per cent", Config{MaxErrors: 20}, "must be between 0 and 1"},
	} {
		_, err := Run(t.Context(), test.cfg)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", test.reason, err, test.want)
		}
		if check := test.cfg.Check(); check == nil || err == nil || check.Error() != err.Error() {
			t.Errorf("%s: Check says %v, Run %v", test.reason, check, err)
		}
	}
	if err := (Config{}).Check(); err != nil {
		t.Errorf("the zero value: %v", err)
	}
}
