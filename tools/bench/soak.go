package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"mlops/internal/dataset"
	"mlops/internal/demo"
	"mlops/internal/local"
	"mlops/internal/program"
	"mlops/loadtest"
)

const (
	soakFirst = 80_000 // lines of the table that are there from the start
	soakBatch = 500    // lines of each later file
	soakPause = 30 * time.Second
	soakLook  = 2 * time.Second
)

// soaked are the gauges that have to stay flat, and how much more than a tenth they
// may grow from the middle third of the time to the last one.
var soaked = []struct {
	name, unit string
	per        float64 // of the unit
	more       string
}{
	{"process_resident_memory_bytes", "MiB", 1 << 20, "16 MiB"},
	{"go_goroutines", "", 1, "20"},
	{"process_open_fds", "", 1, "20"},
	{postgresConnections, "", 1, "5"},
}

const (
	postgresConnections = "postgres_connections"
	startTime           = "process_start_time_seconds"
)

// soak loads the server of a demo for MINUTES (30), while one batch of new rows after
// another is loaded and trained on beside it, and compares what server and Postgres
// hold in the last third of the time with the middle one. It needs a home of its own
// (`mlops scratch`).
func soak(ctx context.Context, log *slog.Logger) ([]figure, error) {
	minutes, err := strconv.ParseFloat(program.EnvOr("MINUTES", "30"), 64)
	if err != nil || minutes < 1 {
		return nil, program.Inputf("MINUTES=%s: want a number of at least 1", os.Getenv("MINUTES"))
	}
	length := time.Duration(minutes * float64(time.Minute))
	batch, err := batches(log)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(filepath.Dir(batch(0)))
	if _, err := makeDemo(ctx, "DATASET="+batch(0)); err != nil {
		return nil, err
	}
	target := running("inference-", "http://127.0.0.1:8000")

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sent := make(chan loadtest.Report, 1)
	go func() {
		report, err := loadtest.Run(ctx, loadtest.Config{Target: target, Users: []int{10}, Think: 20 * time.Millisecond, Duration: length + time.Hour})
		if err != nil && len(report.Stages) == 0 {
			log.Error("load test failed", "error", err)
		}
		sent <- report
	}()
	began := time.Now()
	trained := make(chan int, 1)
	failed := make(chan error, 1)
	go func() {
		n := 0
		defer func() { trained <- n }()
		for time.Since(began) < length-time.Minute {
			if _, err := makeDemo(ctx, "DATASET="+batch(n+1)); err != nil {
				failed <- err
				return
			}
			n++
			select {
			case <-ctx.Done():
				return
			case <-time.After(soakPause):
			}
		}
	}()
	seen := map[string][]float64{}
	for time.Since(began) < length {
		now, err := gauges(ctx, target)
		if err != nil {
			return nil, err
		}
		for name, value := range now {
			seen[name] = append(seen[name], value)
		}
		if starts := seen[startTime]; starts[0] != now[startTime] {
			return nil, fmt.Errorf("the server was started again after %v", time.Since(began).Round(time.Second))
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case err := <-failed:
			return nil, fmt.Errorf("training beside the load: %w", err)
		case <-time.After(soakLook):
		}
	}
	cancel()
	report, n := <-sent, <-trained
	how := fmt.Sprintf("%v, 10 users, %d trainings beside", length, n)
	figures := []figure{{Name: "soak: failed requests", Value: float64(report.Failed), Reach: "0", How: fmt.Sprintf("of %d; %s", report.Requests, how)}}
	for _, g := range soaked {
		all := seen[g.name]
		middle, last := median(all[len(all)/3:2*len(all)/3])/g.per, median(all[2*len(all)/3:])/g.per
		figures = append(figures, figure{Name: "soak: " + g.name + " in the last third", Value: last, Unit: g.unit,
			Reach: fmt.Sprintf("at most 1.1 times the middle third (%.1f) and %s", middle, g.more), How: "medians; " + how})
	}
	return figures, nil
}

// batches cuts the table into files: the first lines, and then one batch after another. It
// returns the path of the n-th.
func batches(log *slog.Logger) (func(n int) string, error) {
	spec, err := dataset.Read(filepath.Join("workflows", "datasets", "diabetes.yaml"))
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, fmt.Errorf("creating a temporary folder: %w", err)
	}
	b := &bench{log: log, dir: dir, spec: spec, table: filepath.Join(dir, "table.csv")}
	if err := b.unpack(); err != nil {
		b.close()
		return nil, err
	}
	text, err := os.ReadFile(b.table)
	if err != nil {
		b.close()
		return nil, fmt.Errorf("reading the table: %w", err)
	}
	path := func(n int) string { return filepath.Join(dir, fmt.Sprintf("batch-%d.csv", n)) }
	header, rest, _ := bytes.Cut(text, []byte("\n"))
	lines := bytes.SplitAfter(rest, []byte("\n"))
	for n, from, to := 0, 0, soakFirst; from < len(lines); n, from, to = n+1, to, to+soakBatch {
		part := bytes.Join([][]byte{header, bytes.Join(lines[from:min(to, len(lines))], nil)}, []byte("\n"))
		if err := os.WriteFile(path(n), part, 0o644); err != nil {
			b.close()
			return nil, fmt.Errorf("cutting the table: %w", err)
		}
	}
	return path, nil
}

// gauges are those of the server's process, and how many connections Postgres has.
func gauges(ctx context.Context, target string) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target+"/metrics", nil)
	if err != nil {
		return nil, fmt.Errorf("asking for metrics: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking for metrics: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("reading metrics: %w", err)
	}
	found := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if number, err := strconv.ParseFloat(value, 64); err == nil {
			found[name] = number
		}
	}
	if found[postgresConnections], err = openConnections(ctx); err != nil {
		return nil, err
	}
	for _, g := range soaked {
		if _, ok := found[g.name]; !ok {
			return nil, fmt.Errorf("no %s among the metrics of %s", g.name, target)
		}
	}
	return found, nil
}

// openConnections counts those of the demo's Postgres, this one included.
func openConnections(ctx context.Context) (n float64, err error) {
	home, err := program.Env("MLOPS_HOME")
	if err != nil {
		return 0, err
	}
	state, err := local.OpenState(home, os.Getenv("MLOPS_CACHE_HOME"), os.Environ())
	if err != nil {
		return 0, err
	}
	conn, err := demo.Raw(ctx, state)
	if err != nil {
		return 0, err
	}
	if conn == nil {
		return 0, fmt.Errorf("no Postgres runs in %s", home)
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, "SELECT count(*) FROM pg_stat_activity WHERE datname IS NOT NULL").Scan(&n); err != nil {
		return 0, fmt.Errorf("counting Postgres' connections: %w", err)
	}
	return n, nil
}
