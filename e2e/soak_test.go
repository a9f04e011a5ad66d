//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mlops/loadtest"
)

// growth is how much a figure may grow from the middle third of a soak to its last
// one: by a share, and by some more of what a small number makes of it.
var growth = map[string]struct{ share, more float64 }{
	"process_resident_memory_bytes": {0.1, 16 << 20},
	"go_goroutines":                 {0.1, 20},
	"process_open_fds":              {0.1, 20},
	"postgres_connections":          {0.1, 5},
}

// TestSoak puts the server under load for MINUTES (30), while the pipeline trains on
// new rows again and again: memory, goroutines and connections stay flat.
func TestSoak(t *testing.T) {
	m := newMachine(t)
	minutes := 30.0
	if text := os.Getenv("MINUTES"); text != "" {
		var err error
		if minutes, err = strconv.ParseFloat(text, 64); err != nil || minutes < 1 {
			t.Fatalf("MINUTES=%s: want a number of at least 1", text)
		}
	}
	defer t.Run("down", func(t *testing.T) { m.must(t, []string{"PURGE=1"}, "make", "down") })
	if !t.Run("install cluster", func(t *testing.T) { testCluster(t, m) }) || !t.Run("install", func(t *testing.T) { testUp(t, m) }) {
		return
	}
	t.Run("soak", func(t *testing.T) { testSoak(t, newFaults(t, m), time.Duration(minutes*float64(time.Minute))) })
}

func testSoak(t *testing.T, f *faults, length time.Duration) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan loadtest.Report, 1)
	go func() {
		report, err := loadtest.Run(ctx, loadtest.Config{Target: inference, Users: []int{10}, Think: 20 * time.Millisecond, Duration: length + time.Hour})
		if err != nil && len(report.Stages) == 0 {
			t.Errorf("the load test: %v", err)
		}
		done <- report
	}()
	conn, err := f.admin(t, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	samples := map[string][]float64{}
	began, trained, workflow := time.Now(), 0, ""
	for time.Since(began) < length {
		if workflow == "" {
			workflow = f.anew(t, fmt.Sprintf("soak-%d", trained))
		} else if w, err := f.r.Workflow(t.Context(), workflow); err == nil && w != nil && w.Status.Fulfilled() {
			if !w.Status.Successful() {
				t.Errorf("workflow %s ended %s: %s", workflow, w.Status.Phase, w.Status.Message)
			}
			workflow, trained = "", trained+1
		}
		for name, value := range gauges(t, inference) {
			samples[name] = append(samples[name], value)
		}
		var n float64
		if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		samples["postgres_connections"] = append(samples["postgres_connections"], n)
		time.Sleep(2 * time.Second)
	}
	cancel()
	report := <-done
	t.Logf("%d of %d requests failed in %v, with %d trainings beside", report.Failed, report.Requests, length, trained)
	if report.Requests == 0 || report.Failed > 0 {
		t.Errorf("%d of %d requests failed", report.Failed, report.Requests)
	}
	for name, bound := range growth {
		all := samples[name]
		if len(all) < 9 {
			t.Errorf("%s was seen %d times", name, len(all))
			continue
		}
		middle, last := median(all[len(all)/3:2*len(all)/3]), median(all[2*len(all)/3:])
		t.Logf("%s: median of the middle third %.0f, of the last %.0f", name, middle, last)
		f.m.note(t, "soak: growth of "+name, last-middle, "", "flat")
		if last > middle*(1+bound.share)+bound.more {
			t.Errorf("%s grew from %.0f to %.0f", name, middle, last)
		}
	}
	if workflow != "" {
		f.follow(t, workflow)
	}
	f.whole(t)
}

// gauges are the figures of a server's process, from its metrics.
func gauges(t *testing.T, base string) map[string]float64 {
	t.Helper()
	resp, err := http.Get(base + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for line := range strings.Lines(body(t, resp)) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		if _, wanted := growth[name]; wanted {
			if found[name], err = strconv.ParseFloat(text, 64); err != nil {
				t.Fatal(err)
			}
		}
	}
	return found
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
