package loadtest

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// shares runs a load with so many workers side by side and merges their reports.
func shares(t *testing.T, cfg Config, workers int) Report {
	t.Helper()
	parts := make([]string, workers)
	begin := time.Now().Add(50 * time.Millisecond)
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() {
			cfg := cfg
			cfg.Share = Share{Index: i, Of: workers, Begin: begin}
			r, err := Run(t.Context(), cfg)
			if err != nil {
				t.Error(err)
				return
			}
			if parts[i], err = r.Encode(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	r, err := Merge(parts, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Workers that share a load report what one that sends all of it would: as many users at
// once, and every request that the server has seen.
func TestWorkersAreOne(t *testing.T) {
	t.Parallel()
	var all, open, most atomic.Int64
	target := start(t, func(w http.ResponseWriter, _ *http.Request) {
		all.Add(1)
		n := open.Add(1)
		defer open.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		time.Sleep(20 * time.Millisecond)
		io.WriteString(w, good)
	})
	users := Config{Target: target, Users: []int{7, 13}, Duration: 600 * time.Millisecond, Bodies: one, MaxErrors: 0.2}
	r := shares(t, users, 3)
	if len(r.Stages) != 2 || r.Workers != 3 || r.Capacity != 13 || r.Failed != 0 || !r.Passed() {
		t.Fatalf("got %+v", r)
	}
	if r.Requests != all.Load() || most.Load() != 13 {
		t.Errorf("%d requests, the server has seen %d, at most %d at once; want 13 at once", r.Requests, all.Load(), most.Load())
	}
	for i, s := range r.Stages {
		if want := users.Users[i]; s.Users != want || s.Connections != int64(want) {
			t.Errorf("stage %d: %d users and %d connections, want %d", i, s.Users, s.Connections, want)
		}
		if n := s.counted.total(); n != s.Requests || s.Versions["7"] != n {
			t.Errorf("stage %d: %d requests, %d latencies, versions %v", i, s.Requests, n, s.Versions)
		}
		if s.Latency.P50 < 20 || s.Latency.Max < s.Latency.P99 {
			t.Errorf("stage %d: latency %+v of a server that takes 20 ms", i, s.Latency)
		}
	}

	rate := Config{Target: target, Rates: []float64{100}, Most: 20, Duration: 600 * time.Millisecond, Bodies: one}
	shared := shares(t, rate, 3)
	if got := shared.Stages[0]; got.Rate != 100 || got.Requests+got.Missed.Busy+got.Missed.Late != 60 {
		t.Errorf("60 requests are due at a rate of 100, and the workers have %+v", got)
	}
}

// Percentiles are of all workers' requests: a mean of theirs would be wrong.
func TestMergeIsExact(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	whole := &histogram{}
	workers := make([]*histogram, 4)
	for i := range workers {
		workers[i] = &histogram{}
	}
	for i := range 20_000 {
		d := time.Duration(rng.ExpFloat64() * float64(5*time.Millisecond))
		if i%4 == 3 { // one worker has the slow path
			d *= 20
		}
		whole.add(d)
		workers[i%4].add(d)
	}
	var parts []string
	for i, h := range workers {
		r := Report{Workers: 4, Seconds: 1, Stages: []Stage{{Users: 5, Requests: h.n.Load(), Latency: h.latency(), counted: h.all(), Versions: map[string]int64{"1": h.n.Load()}, Began: time.Unix(int64(i), 0)}}}
		text, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, text)
	}
	r, err := Merge(parts, Config{MaxErrors: 0.2})
	if err != nil {
		t.Fatal(err)
	}
	s := r.Stages[0]
	if diff := cmp.Diff(whole.latency(), s.Latency); diff != "" {
		t.Errorf("latency (-of all requests +merged):\n%s", diff)
	}
	if s.Users != 20 || s.Requests != 20_000 || s.Versions["1"] != 20_000 {
		t.Errorf("got %+v", s)
	}
	if len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "up to 3s apart") {
		t.Errorf("workers that began 3 s apart: %q", s.Warnings)
	}
	if size := len(strings.Join(parts, "")); size > maxParts {
		t.Errorf("four reports take %d bytes", size)
	}

	for name, list := range map[string][]string{
		"one is missing": parts[:3],
		"none":           nil,
		"not a report":   append(slices.Clone(parts[:3]), "AAAA"),
		"cut short":      append(slices.Clone(parts[:3]), parts[3][:len(parts[3])/2]),
	} {
		if r, err := Merge(list, Config{}); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// What is shared is all there, and nothing twice.
func TestShare(t *testing.T) {
	t.Parallel()
	c := Config{Users: []int{15, 4, 9}, Most: 10}
	for workers := 1; workers <= 4; workers++ {
		var sums [3]int
		for i := range workers {
			share := Share{Index: i, Of: workers}
			if err := share.check(&c); err != nil {
				t.Error(err)
			}
			for k, n := range share.apply(c).Users {
				if n < 1 {
					t.Errorf("worker %d of %d has %d users", i, workers, n)
				}
				sums[k] += n
			}
		}
		if sums != [3]int{15, 4, 9} {
			t.Errorf("%d workers have %v users", workers, sums)
		}
	}
	for _, test := range []struct {
		share Share
		c     Config
		want  string
	}{
		{Share{Index: 0, Of: 5}, c, "5 workers can't share 4 users"},
		{Share{Index: 4, Of: 4}, c, "worker 4 of 4"},
		{Share{Index: 0, Of: 9}, c, "at most 8"},
		{Share{Index: 0, Of: 4}, Config{Rates: []float64{1}, Most: 3}, "4 workers can't share 3 connections"},
	} {
		if err := test.share.check(&test.c); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
	// The requests of three workers at a rate are due one after another.
	var due []time.Duration
	for i := range 3 {
		share := Share{Index: i, Of: 3}
		due = append(due, dues(newArrivals(time.Time{}, false, share), 10, time.Time{}, time.Second)...)
	}
	slices.Sort(due)
	if len(due) != 30 {
		t.Fatalf("%d requests, want 30", len(due))
	}
	for i, d := range due {
		if want := time.Duration(float64(i) / 30 * float64(time.Second)); (d - want).Abs() > time.Microsecond {
			t.Errorf("request %d is due after %v, want %v", i, d, want)
		}
	}
}

func ExampleMerge() {
	a := Report{Workers: 1, Stages: []Stage{{Users: 2, Requests: 10, PerSecond: 5, Sustained: true}}}
	text, err := a.Encode()
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := Merge([]string{text}, Config{MaxErrors: 0.2})
	fmt.Println(r.Sum(), err)
	// Output: sustains at least 2 users, the highest load tried, before 20 % failed <nil>
}
