package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"mlops/loadtest"
)

const (
	stallEvery = 10 * time.Second
	stallFor   = time.Second
	stallRuns  = 2 // periods
	stallRate  = 200
)

// loadTester measures the load tester itself: what it reports of a server that stalls,
// and how many requests a processor second sends, beside wrk where that is installed.
func loadTester(ctx context.Context, log *slog.Logger) ([]figure, error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, fmt.Errorf("making a folder: %w", err)
	}
	defer os.RemoveAll(dir)
	b := &bench{dir: dir}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", dir+"/", "./images/loadtest", "./loadtest/peers/bare")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the load tester: %w\n%s", err, out)
	}
	stalled, err := b.stall(ctx)
	if err != nil {
		return nil, err
	}
	cost, err := b.cost(ctx, log)
	return append(stalled, cost...), err
}

// pinned puts a command on a processor of its own, where taskset is there.
func pinned(cpu int, argv ...string) []string {
	if _, err := exec.LookPath("taskset"); err != nil {
		return argv
	}
	return append([]string{"taskset", "-c", strconv.Itoa(cpu)}, argv...)
}

// plan runs a plan with the load tester, and returns its result and processor time.
func (b *bench) plan(ctx context.Context, text string) (r loadtest.Result, cpu time.Duration, err error) {
	path, out := filepath.Join(b.dir, "plan.yaml"), filepath.Join(b.dir, "result.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return r, 0, err
	}
	argv := pinned(0, filepath.Join(b.dir, "loadtest"), "plan", path, "-json", out)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	if said, err := cmd.CombinedOutput(); err != nil {
		return r, 0, fmt.Errorf("the load tester: %w\n%s", err, said)
	}
	f, err := os.Open(out)
	if err != nil {
		return r, 0, err
	}
	defer f.Close()
	r, err = loadtest.ReadResult(f)
	return r, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), err
}

// stall lets a server stop for a second every ten. A tenth of the clients who come at a
// steady rate waits, evenly up to a second, so the true p99 is 0.9 s.
func (b *bench) stall(ctx context.Context) ([]figure, error) {
	began := time.Now()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if in := time.Since(began) % stallEvery; in >= stallEvery-stallFor {
			time.Sleep(stallEvery - in)
		}
		w.Write([]byte("{}"))
	}))
	defer server.Close()
	whole := stallRuns * stallEvery
	ours, _, err := b.plan(ctx, fmt.Sprintf("model: rate\nconnections: 50\nshape: [{level: %d, for: %v}]\ntargets: [{url: %q}]\n", stallRate, whole, server.URL+"/x"))
	if err != nil {
		return nil, err
	}
	truth := float64((stallFor - stallEvery/100).Milliseconds())
	how := fmt.Sprintf("true %.0f ms, reported %.0f ms (service time %.0f ms), %d requests at %d/s over at most 50 connections", truth, ours.Total.Latency.P99, ours.Total.Service.P99, ours.Total.Requests, stallRate)
	if _, err := exec.LookPath("wrk"); err == nil {
		out, err := exec.CommandContext(ctx, "wrk", "-t1", "-c8", "--latency", "-d"+strconv.Itoa(int(whole.Seconds())), server.URL+"/x").CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("wrk: %w\n%s", err, out)
		}
		if m := regexp.MustCompile(`99%\s+(\S+)`).FindSubmatch(out); m != nil {
			how += fmt.Sprintf("; wrk, 8 connections in a closed loop: %s", m[1])
		}
	}
	return []figure{{Name: "p99 that the load tester reports of a server that stalls 1 s every 10 s, away from the true one", Value: math.Abs(ours.Total.Latency.P99-truth) / truth, Reach: "at most 0.05", How: how}}, nil
}

// cost compares requests per processor second with wrk's, client and server on a
// processor each.
func (b *bench) cost(ctx context.Context, log *slog.Logger) ([]figure, error) {
	if _, err := exec.LookPath("wrk"); err != nil {
		log.Warn("wrk is not installed (apt-get install wrk): not compared")
		return nil, nil
	}
	server, err := b.serve(ctx, "bare", "/readyz", nil, pinned(1, filepath.Join(b.dir, "bare"), "127.0.0.1:"+port)...)
	if err != nil {
		return nil, err
	}
	defer server.stop()
	body, err := json.Marshal(map[string]string{"age": "[70-80)", "race": "?"})
	if err != nil {
		return nil, err
	}
	script := filepath.Join(b.dir, "post.lua")
	if err := os.WriteFile(script, fmt.Appendf(nil, "wrk.method = \"POST\"\nwrk.body = %q\nwrk.headers[\"Content-Type\"] = \"application/json\"\n", body), 0o600); err != nil {
		return nil, err
	}
	var ratios, our, their []float64
	for range rounds {
		r, cpu, err := b.plan(ctx, fmt.Sprintf("shape: [{level: 20, for: 3s}]\ntargets: [{url: %q, body: %q}]\n", server.base+"/predict", body))
		if err != nil {
			return nil, err
		}
		if r.Total.Failed > 0 {
			return nil, fmt.Errorf("%d requests failed: %v", r.Total.Failed, r.Causes)
		}
		argv := pinned(0, "wrk", "-t1", "-c20", "-d3", "-s", script, server.base+"/predict")
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("wrk: %w\n%s", err, out)
		}
		n := 0.0
		for lines := bufio.NewScanner(strings.NewReader(string(out))); lines.Scan(); {
			if _, err := fmt.Sscanf(strings.TrimSpace(lines.Text()), "%f requests in", &n); err == nil {
				break
			}
		}
		used := (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
		if n == 0 || used == 0 {
			return nil, fmt.Errorf("wrk said nothing of its requests:\n%s", out)
		}
		our, their = append(our, float64(r.Total.Requests)/cpu.Seconds()), append(their, n/used)
		ratios = append(ratios, our[len(our)-1]/their[len(their)-1])
	}
	return []figure{{Name: "requests per processor second of the load tester against wrk's", Value: median(ratios), Reach: "at least 0.5",
		How: fmt.Sprintf("median of %d pairs of 3 s, 20 connections, client and server on a processor each: %.0f and %.0f", rounds, median(our), median(their))}}, nil
}

// preset is a table by numbers of users: requests per second, latency and errors.
func (s *site) preset(ctx context.Context) ([]figure, error) {
	server, err := s.ours(ctx)
	if err != nil {
		return nil, err
	}
	defer server.stop()
	var figures []figure
	for _, users := range loadtest.Preset {
		stage, err := s.load(ctx, server, loadtest.Config{Users: []int{users}})
		if err != nil {
			return nil, err
		}
		l := stage.Latency
		figures = append(figures, figure{Name: fmt.Sprintf("requests/s with %d users", users), Value: stage.PerSecond,
			How: fmt.Sprintf("mean %.2f, median %.2f, p95 %.2f, p99 %.2f ms; %d of %d failed", l.Mean, l.P50, l.P95, l.P99, stage.Failed, stage.Requests)})
	}
	return figures, nil
}
