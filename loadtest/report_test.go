package loadtest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func sample() Report {
	r := newReport(Config{Target: "http://x:8000", Path: "/predict", Duration: 30 * time.Second, MaxErrors: 0.2, P99: 50 * time.Millisecond, Bodies: make([]Body, 32)})
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	r.Stages = []Stage{
		{Users: 15, Requests: 1234567, PerSecond: 41152.24, Latency: Latency{0.3644, 0.25, 0.9, 2.345, 12.3456}, Versions: map[string]int64{"1": 34567, "2": 1200000},
			Sustained: true, Generator: Generator{CPUs: 0.76, CPUsHad: 2}, Warnings: []string{"full", "busy"}},
		{Users: 100, Requests: 1000, Failed: 999, PerSecond: 0.03, Latency: Latency{1234.5, 1234.5, 1234.5, 1234.5, 1234.5}, Versions: map[string]int64{"2": 1},
			Errors:    map[string]int64{"status 5xx": 997, TimedOut: 2},
			Failures:  []Failure{{at, 10000, TimedOut, "i/o timeout"}, {at, 1, "status 5xx", "503 Service Unavailable: no"}, {at, 1, "status 5xx", "503"}, {at, 1, "status 5xx", "503"}},
			Generator: Generator{CPUs: 1.9, CPUsHad: 2}, Warnings: []string{"busy"}},
	}
	r.sumUp()
	return r
}

func TestWrite(t *testing.T) {
	var got strings.Builder
	r := sample()
	if err := r.Write(&got); err != nil {
		t.Fatal(err)
	}
	const want = `POST http://x:8000/predict, 30 s per stage: each user sends its next request after each response; 32 different bodies

  USERS  REQUESTS    REQ/S      MEAN      P50     P95      P99      MAX  FAILED   SHARE   OWN CPU
     15   1234567  41152.2  0.364 ms  0.25 ms  0.9 ms  2.35 ms  12.3 ms       0     0 %  0.8 of 2
    100      1000      0.0    1.23 s   1.23 s  1.23 s   1.23 s   1.23 s     999  99.9 %  1.9 of 2

failed, with 100 users: status 5xx 997, timed out 2
  03:04:05.006 after 10 s: timed out: i/o timeout
  03:04:05.006 after 1 ms: status 5xx: 503 Service Unavailable: no
  03:04:05.006 after 1 ms: status 5xx: 503
  and 996 more
warning, with 15 users: full
warning, with 15 users, 100 users: busy
responses by model version: 2 1200001, 1 34567
fewer than 20 % failed requests: FAILED (at most 99.9 %, with 100 users)
99 % of the responses within 50ms: FAILED (at most 1.23 s, with 100 users)
sustains 15 users before 20 % failed
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
}

func TestJSON(t *testing.T) {
	r := sample()
	text, err := r.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Target     string
		Capacity   float64
		Unlimited  bool `json:"capacity_may_be_higher"`
		Requests   int64
		Failed     int64
		Thresholds []struct{ Passed bool }
		Stages     []struct {
			Users   int
			Latency map[string]float64
			Errors  map[string]int64
		}
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.Target != "http://x:8000" || got.Capacity != 15 || got.Unlimited || got.Requests != 1235567 || got.Failed != 999 || len(got.Thresholds) != 2 || got.Thresholds[0].Passed {
		t.Errorf("report %+v", got)
	}
	if diff := cmp.Diff(map[string]float64{"mean_ms": 0.3644, "p50_ms": 0.25, "p95_ms": 0.9, "p99_ms": 2.345, "max_ms": 12.3456}, got.Stages[0].Latency); diff != "" {
		t.Errorf("latency (-want +got):\n%s", diff)
	}
}

func TestSumUp(t *testing.T) {
	stage := func(users, failed int) Stage {
		return Stage{Users: users, Requests: 100, Failed: int64(failed), Latency: Latency{P99: float64(users)}}
	}
	for _, test := range []struct {
		reason    string
		maxErrors float64
		p99       time.Duration
		stages    []Stage
		holds     float64
		more      bool
		passed    bool
	}{
		{"all hold", 0.2, 0, []Stage{stage(15, 0), stage(25, 19)}, 25, true, true},
		{"the last fails", 0.2, 0, []Stage{stage(15, 19), stage(25, 20)}, 15, false, false},
		{"one above the first failure does not count", 0.2, 0, []Stage{stage(15, 0), stage(25, 20), stage(50, 0)}, 15, false, false},
		{"in any order", 0.2, 0, []Stage{stage(50, 100), stage(15, 0), stage(25, 0)}, 25, false, false},
		{"none holds", 0.2, 0, []Stage{stage(15, 20)}, 0, false, false},
		{"none may fail", 0, 0, []Stage{stage(15, 0), stage(25, 1)}, 15, false, false},
		{"none may fail, and none does", 0, 0, []Stage{stage(15, 0)}, 15, true, true},
		{"nothing was sent", 0.2, 0, nil, 0, false, false},
		{"a stage without a request", 0.2, 0, []Stage{{Users: 15}}, 0, false, false},
		{"fast enough", 0.2, 25 * time.Millisecond, []Stage{stage(15, 0), stage(25, 0)}, 25, true, true},
		{"too slow holds all the same but does not pass", 0.2, 24 * time.Millisecond, []Stage{stage(15, 0), stage(25, 0)}, 25, true, false},
		{"no answer is not fast", 1, time.Hour, []Stage{stage(15, 100)}, 0, false, false},
		{"a rate counts what it missed", 0.2, 0, []Stage{{Rate: 50, Requests: 80, Missed: &Missed{Busy: 10, Late: 10}}}, 0, false, false},
	} {
		r := newReport(Config{MaxErrors: test.maxErrors, P99: test.p99})
		r.Stages = test.stages
		for i := range r.Stages {
			r.Stages[i].Sustained = r.Stages[i].sustained(test.maxErrors)
		}
		r.sumUp()
		if r.Capacity != test.holds || r.Unlimited != test.more || r.Passed() != test.passed {
			t.Errorf("%s: capacity %v (or more: %v), passed %v; want %v, %v, %v", test.reason, r.Capacity, r.Unlimited, r.Passed(), test.holds, test.more, test.passed)
		}
	}
}

func TestDigits(t *testing.T) {
	for _, test := range []struct {
		ms   float64
		want string
	}{{0, "-"}, {0.0521, "0.052 ms"}, {0.5, "0.5 ms"}, {9.994, "9.99 ms"}, {12.34, "12.3 ms"}, {120, "120 ms"}, {999.6, "1000 ms"}, {1234, "1.23 s"}, {60000, "60 s"}} {
		if got := duration(test.ms); got != test.want {
			t.Errorf("%v ms are written %q, want %q", test.ms, got, test.want)
		}
	}
	for _, test := range []struct {
		share float64
		want  string
	}{{0, "0 %"}, {1e-9, "<0.01 %"}, {0.0007, "0.07 %"}, {0.2, "20 %"}, {0.125, "12.5 %"}, {1, "100 %"}} {
		if got := percent(test.share); got != test.want {
			t.Errorf("%v is written %q, want %q", test.share, got, test.want)
		}
	}
}
