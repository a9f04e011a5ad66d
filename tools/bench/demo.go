package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"time"
)

// demos times `make demo` in a home of its own (`mlops scratch`): with warm caches
// and empty databases, then with nothing new.
func demos(ctx context.Context, _ *slog.Logger) ([]figure, error) {
	first, err := makeDemo(ctx)
	if err != nil {
		return nil, err
	}
	second, err := makeDemo(ctx)
	if err != nil {
		return nil, err
	}
	if second.trained {
		return nil, fmt.Errorf("the second demo trained again")
	}
	return []figure{
		{Name: "make demo, caches filled, databases empty", Value: first.whole.Seconds(), Unit: "s", Reach: "at most 90 s", How: "one run"},
		{Name: "pipeline from empty databases to a served model", Value: first.pipeline.Seconds(), Unit: "s", Reach: "at most 60 s", How: "one run; the whole table, 3 candidates"},
		{Name: "make demo again, nothing new", Value: second.whole.Seconds(), Unit: "s", Reach: "at most 15 s", How: "one run"},
	}, nil
}

type demoRun struct {
	whole, pipeline time.Duration
	trained         bool
}

// makeDemo runs the command with Make's variables and times its lines as they come.
func makeDemo(ctx context.Context, variables ...string) (demoRun, error) {
	cmd := exec.CommandContext(ctx, "make", append([]string{"--no-print-directory", "demo"}, variables...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return demoRun{}, err
	}
	cmd.Stderr = cmd.Stdout
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return demoRun{}, fmt.Errorf("starting make demo: %w", err)
	}
	var r demoRun
	var loading time.Time
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		fmt.Fprintln(os.Stderr, " ", line)
		switch {
		case strings.Contains(line, "load-raw-data started"):
			loading = time.Now()
		case strings.Contains(line, "✓ serving"):
			r.pipeline = time.Since(loading)
		case strings.Contains(line, "train(") && strings.Contains(line, "rounds"):
			r.trained = true
		}
	}
	if err := lines.Err(); err != nil {
		io.Copy(io.Discard, out)
		return r, fmt.Errorf("reading make demo's output: %w", err)
	}
	if err := cmd.Wait(); err != nil {
		return r, fmt.Errorf("make demo: %w", err)
	}
	r.whole = time.Since(start)
	if loading.IsZero() || r.pipeline == 0 {
		return r, fmt.Errorf("make demo did not say when the pipeline began and ended")
	}
	return r, nil
}
