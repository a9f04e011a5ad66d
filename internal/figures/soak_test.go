package figures

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSoak(t *testing.T) {
	t.Parallel()
	looks, start := 0, 1000
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		looks++
		fmt.Fprintf(w, "# HELP go_goroutines x\ngo_goroutines %d\nprocess_open_fds 7\nprocess_resident_memory_bytes %d\nprocess_start_time_seconds %d\n", 10+4*looks, looks<<20, start)
	}))
	defer server.Close()
	var s Soak
	if _, err := s.Gauges(); err == nil {
		t.Error("nothing was seen, and that is no error")
	}
	for range 12 {
		if err := s.Look(t.Context(), server.URL, 5); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Gauges()
	want := []Gauge{
		{"process_resident_memory_bytes", "MiB", 6, 10, 22.6}, {"go_goroutines", "", 34, 50, 57.4},
		{"process_open_fds", "", 7, 7, 27.7}, {"postgres_connections", "", 5, 5, 10.5},
	}
	near := cmp.Comparer(func(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 })
	if diff := cmp.Diff(want, got, near); diff != "" || err != nil {
		t.Errorf("gauges (%v, -want +got):\n%s", err, diff)
	}
	start++
	if err := s.Look(t.Context(), server.URL, 5); err == nil || !strings.Contains(err.Error(), "started again") {
		t.Errorf("a new process: %v", err)
	}
}
