package loadtest

import (
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// invented is a result of 60 seconds with latencies around some milliseconds, which
// drift from second to second as a real server's do.
func invented(seed uint64, around float64, failing float64) *Result {
	rng := rand.New(rand.NewPCG(seed, 9))
	r := &Result{Format: resultFormat}
	for range 60 {
		var h histogram
		var before [steps]int64
		var total int64
		drift := math.Exp(0.1 * rng.NormFloat64())
		w := Window{Seconds: 1}
		for range 500 {
			if rng.Float64() < failing {
				w.Failed++
				continue
			}
			h.add(time.Duration(around * drift * math.Exp(0.5*rng.NormFloat64()) * 1e6))
		}
		w.Latency = h.since(&before, &total)
		w.Succeeded = w.Latency.total()
		r.Windows = append(r.Windows, w)
	}
	return r
}

// Two runs of the same server rarely differ, and a slower server does.
func TestCompare(t *testing.T) {
	t.Parallel()
	wrong := 0
	for seed := range uint64(10) {
		list, err := Compare(invented(seed, 5, 0.01), invented(seed+100, 5, 0.01))
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range list {
			if !d.Noise {
				wrong++
			}
		}
	}
	if wrong > 8 { // of 50, of which some 3 to 5 are to be expected
		t.Errorf("%d of 50 differences between equals are no noise", wrong)
	}
	list, err := Compare(invented(1, 5, 0.01), invented(2, 6, 0.05))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range list {
		if d.Noise {
			t.Errorf("%s: a fifth slower and four times as many failures are noise: %+v", d.Name, d)
		}
	}
	var b strings.Builder
	if err := WriteDifferences(&b, list); err != nil || strings.Count(b.String(), "changed") != len(list) {
		t.Errorf("%v: %s", err, b.String())
	}
	short := invented(1, 5, 0)
	short.Windows = short.Windows[:14]
	if _, err := Compare(short, short); err == nil || !strings.Contains(err.Error(), "needs 15") {
		t.Errorf("a short test: %v", err)
	}
	odd := invented(1, 5, 0)
	odd.Windows[3].Latency.Of[0] = steps
	if _, err := Compare(odd, short); err == nil {
		t.Error("a histogram beyond its end was accepted")
	}
}

func TestHighest(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		limit, from, most float64
		whole             bool
		low, high         float64
		unlimited         bool
	}{
		{100, 1, 10000, true, 95, 100, false},
		{3, 1, 10000, true, 3, 3, false},
		{0, 1, 10000, true, 0, 0, false},
		{1e9, 1, 50, true, 50, 50, true},
		{1234.5, 10, 1e6, false, 1170, 1234.5, false},
	} {
		got, unlimited, err := highest(func(l float64) (bool, error) {
			if tt.whole && l != math.Floor(l) {
				t.Errorf("%v users", l)
			}
			return l <= tt.limit, nil
		}, tt.from, tt.most, tt.whole)
		if err != nil || got < tt.low || got > tt.high || unlimited != tt.unlimited {
			t.Errorf("of a server for %v: %v, unlimited %v, %v", tt.limit, got, unlimited, err)
		}
	}
}

// A server that answers at most three at a time keeps three users.
func TestCapacity(t *testing.T) {
	t.Parallel()
	slots := make(chan struct{}, 3)
	target := start(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		default:
			http.Error(w, "full", http.StatusServiceUnavailable)
			return
		}
		time.Sleep(3 * time.Millisecond)
		io.WriteString(w, good)
	})
	c, err := FindCapacity(t.Context(), Config{Target: target, Bodies: one, Duration: 80 * time.Millisecond, MaxErrors: 0.2}, Search{Repeat: 3})
	if err != nil {
		t.Fatal(err)
	}
	if c.Median != 3 || c.Unlimited || len(c.Found) != 3 || c.Sure != 0.75 || !strings.Contains(c.Sum(), "up to 3 users") {
		t.Errorf("%v, %s", c.Found, c.Sum())
	}
	// The same of a plan, whatever its targets are.
	p, err := Plan{Targets: []Target{{URL: target + "/any", Method: http.MethodGet}}}.Check()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err = FindPlanCapacity(t.Context(), p, 80*time.Millisecond, Search{Repeat: 3})
	if err != nil {
		t.Fatal(err)
	}
	if c.Median != 3 || c.Unlimited || len(c.Found) != 3 || !strings.Contains(c.Sum(), "up to 3 users") {
		t.Errorf("of a plan: %v, %s", c.Found, c.Sum())
	}
}

// A server that answers one request at a time, in 10 ms, keeps no more than 125 a second if
// 20 % may fail, although it fails none: those above 100 begin too late.
func TestCapacityOfAPlanAtARate(t *testing.T) {
	t.Parallel()
	var one sync.Mutex
	target := start(t, func(w http.ResponseWriter, r *http.Request) {
		one.Lock()
		defer one.Unlock()
		time.Sleep(10 * time.Millisecond)
	})
	p, err := Plan{Model: OpenModel, Connections: 4, Targets: []Target{{URL: target + "/any", Method: http.MethodGet}}, Thresholds: Thresholds{Errors: new(0.2)}}.Check()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := FindPlanCapacity(t.Context(), p, 500*time.Millisecond, Search{Repeat: 1})
	if err != nil || c.Unit != "requests per second" || c.Median > 140 || c.Unlimited { // fewer on a busy machine
		t.Errorf("%v, %s: %v", c.Found, c.Sum(), err)
	}
}
