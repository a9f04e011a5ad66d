package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"mlops/internal/dataset"
	"mlops/internal/demo"
	"mlops/internal/figures"
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

// soak loads the server of a demo for MINUTES (30), while one batch of new rows after
// another is loaded and trained on beside it, and compares what server and Postgres
// hold in the last third of the time with the middle one. Growth and failed requests are an
// error, with the figures. It needs a home of its own (`mlops scratch`).
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
	var seen figures.Soak
	for time.Since(began) < length {
		connections, err := openConnections(ctx)
		if err == nil {
			err = seen.Look(ctx, target, connections)
		}
		if err != nil {
			return nil, fmt.Errorf("after %v: %w", time.Since(began).Round(time.Second), err)
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
	found := []figure{{Name: "soak: failed requests", Value: float64(report.Failed), Reach: "0", How: fmt.Sprintf("of %d; %s", report.Requests, how)}}
	var errs []error
	if report.Failed > 0 || report.Requests == 0 {
		errs = append(errs, fmt.Errorf("%d of %d requests failed", report.Failed, report.Requests))
	}
	gauges, err := seen.Gauges()
	errs = append(errs, err)
	for _, g := range gauges {
		if g.Last > g.Most {
			errs = append(errs, fmt.Errorf("%s grew from %.1f to %.1f %s", g.Name, g.Middle, g.Last, g.Unit))
		}
		found = append(found, figure{Name: "soak: " + g.Name + " in the last third", Value: g.Last, Unit: g.Unit,
			Reach: fmt.Sprintf("at most %.1f", g.Most), How: fmt.Sprintf("median, of the middle third %.1f; %s", g.Middle, how)})
	}
	return found, errors.Join(errs...)
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
