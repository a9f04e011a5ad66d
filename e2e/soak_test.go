//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"mlops/internal/figures"
	"mlops/loadtest"
)

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
	var seen figures.Soak
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
		var n float64
		if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		if err := seen.Look(t.Context(), inference, n); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
	}
	cancel()
	report := <-done
	t.Logf("%d of %d requests failed in %v, with %d trainings beside", report.Failed, report.Requests, length, trained)
	if report.Requests == 0 || report.Failed > 0 {
		t.Errorf("%d of %d requests failed", report.Failed, report.Requests)
	}
	gauges, err := seen.Gauges()
	if err != nil {
		t.Error(err)
	}
	for _, g := range gauges {
		t.Logf("%s: median of the middle third %.1f, of the last %.1f %s", g.Name, g.Middle, g.Last, g.Unit)
		f.m.note(t, "soak: growth of "+g.Name, g.Last-g.Middle, g.Unit, "flat")
		if g.Last > g.Most {
			t.Errorf("%s grew from %.1f to %.1f %s", g.Name, g.Middle, g.Last, g.Unit)
		}
	}
	if workflow != "" {
		f.follow(t, workflow)
	}
	f.whole(t)
}
