//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mlops/internal/figures"
	"mlops/loadtest"
)

// testUsers loads the server through its NodePort with the preset's numbers of users, and
// with as many as it sustains: the table that the class project before this platform
// published, which had 25 users and 10 to 13 requests per second.
func testUsers(t *testing.T, m *machine) {
	cfg := loadtest.Config{Target: inference, Duration: 3 * time.Second, MaxErrors: 0.2, P99: 200 * time.Millisecond}
	report, found, err := loadtest.Ladder(t.Context(), cfg, loadtest.Search{From: 200, Most: 3200, Repeat: 1})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := report.Write(&text); err != nil {
		t.Fatal(err)
	}
	t.Logf("through the NodePort, %s:\n%s", found.Sum(), text.String())
	add := func(f figures.Figure) {
		r, err := figures.Read(filepath.Join(m.root, "bench.json"))
		if err == nil {
			err = r.Add("cluster", f)
		}
		if err != nil {
			t.Error(err)
		}
	}
	for i, s := range report.Stages {
		if s.PerSecond <= 13 {
			t.Errorf("%d users get %.1f requests/s, no more than the ancestor's", s.Users, s.PerSecond)
		}
		if i < len(loadtest.Preset) && s.Failed > 0 {
			t.Errorf("%d of %d requests of %d users failed: %v", s.Failed, s.Requests, s.Users, s.Failures)
		}
		l := s.Latency
		add(figures.Figure{Name: fmt.Sprintf("requests/s through the NodePort with %d users", s.Users), Value: s.PerSecond, Reach: "above 13",
			How: fmt.Sprintf("make e2e: mean %.2f, median %.2f, p95 %.2f, p99 %.2f ms; %d of %d failed", l.Mean, l.P50, l.P95, l.P99, s.Failed, s.Requests)})
	}
	if found.Median < 25 {
		t.Errorf("it sustains %v users, fewer than the ancestor's 25", found.Median)
	}
	m.note(t, "capacity through the NodePort, fewer than 20 % failed and 99 % within 200 ms", found.Median, "users", "at least 25")
}
