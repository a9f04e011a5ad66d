package main

import (
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
	stallMost  = 50 // connections
)

// costRuns are the lengths of two runs, whose difference leaves a program's start out.
var costRuns = [2]time.Duration{2 * time.Second, 5 * time.Second}

// loadTester measures the load tester itself beside others: what each reports of a
// server that stalls, and how many requests a processor second sends.
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
	others, lacking := b.rivals(ctx, log)
	note := ""
	if len(lacking) > 0 {
		note = "; not compared: " + strings.Join(lacking, ", ")
	}
	stalled, err := b.stall(ctx, others, note)
	if err != nil {
		return nil, err
	}
	for _, f := range stalled {
		fmt.Fprintf(os.Stderr, "  %s: %.4g %s (%s)\n", f.Name, f.Value, f.Unit, f.How)
	}
	cost, err := b.cost(ctx, others, note)
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
func (b *bench) stall(ctx context.Context, others []rival, note string) ([]figure, error) {
	began := time.Now()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if in := time.Since(began) % stallEvery; in >= stallEvery-stallFor {
			time.Sleep(stallEvery - in)
		}
		w.Write([]byte("{}"))
	}))
	defer server.Close()
	truth := float64((stallFor - stallEvery/100).Milliseconds())
	load := attack{url: server.URL + "/x", body: "{}", connections: stallMost, rate: stallRate, length: stallRuns * stallEvery}
	ours, err := b.ours(ctx, load)
	if err != nil {
		return nil, err
	}
	list := []figure{{Name: "p99 that the load tester reports of a server that stalls 1 s every 10 s, away from the true one", Value: math.Abs(ours.p99-truth) / truth, Reach: "at most 0.05",
		How: fmt.Sprintf("true %.0f ms, reported %.0f ms, %.0f requests at %d/s over at most %d connections%s", truth, ours.p99, ours.requests, stallRate, stallMost, note)}}
	for _, o := range others {
		load := load
		how := fmt.Sprintf("at %d/s", stallRate)
		switch {
		case o.name == "wrk":
			load.connections, how = 8, "8 connections in a closed loop"
		case !o.open:
			how = fmt.Sprintf("%d/s by %d users who wait for their responses", stallRate, stallMost)
		}
		s, err := o.run(ctx, load)
		if err != nil {
			return nil, err
		}
		list = append(list, figure{Name: "p99 that " + o.name + " reports of the same server", Value: s.p99, Unit: "ms", How: fmt.Sprintf("%s, %.0f requests", how, s.requests)})
	}
	return list, nil
}

// perCPUSecond is how many requests a processor second sends. What a program needs to
// start and end is left out: it is in the short run and in the long one.
func perCPUSecond(ctx context.Context, run func(context.Context, attack) (sent, error), a attack) (float64, error) {
	var s [2]sent
	for range rounds { // on a busy machine the longer run may have got less done
		for i, length := range costRuns {
			a.length = length
			var err error
			if s[i], err = run(ctx, a); err != nil {
				return 0, err
			}
		}
		if cpu := s[1].cpu - s[0].cpu; cpu > 0 && s[1].requests > s[0].requests {
			return (s[1].requests - s[0].requests) / cpu, nil
		}
	}
	return 0, fmt.Errorf("the machine is too busy: the longer of two runs sent no more than the shorter one: %+v", s)
}

// cost compares requests per processor second with the others', client and server on a
// processor each.
func (b *bench) cost(ctx context.Context, others []rival, note string) ([]figure, error) {
	server, err := b.serve(ctx, "bare", "/readyz", nil, pinned(1, filepath.Join(b.dir, "bare"), "127.0.0.1:"+port)...)
	if err != nil {
		return nil, err
	}
	defer server.stop()
	body, err := json.Marshal(map[string]string{"age": "[70-80)", "race": "?"})
	if err != nil {
		return nil, err
	}
	load := attack{url: server.base + "/predict", body: string(body), connections: 20}
	reach := map[string]string{"wrk": "at least 0.5", "Locust": "at least 8"}
	var list []figure
	for _, o := range others {
		var ratios, our, their []float64
		for range rounds {
			a, err := perCPUSecond(ctx, b.ours, load)
			if err != nil {
				return nil, err
			}
			c, err := perCPUSecond(ctx, o.run, load)
			if err != nil {
				return nil, err
			}
			our, their, ratios = append(our, a), append(their, c), append(ratios, a/c)
		}
		list = append(list, figure{Name: "requests per processor second of the load tester against " + o.name + "'s", Value: median(ratios), Reach: reach[o.name],
			How: fmt.Sprintf("median of %d pairs, 20 connections, client and server on a processor each, without the program's start: %.0f and %.0f%s", rounds, median(our), median(their), note)})
	}
	return list, nil
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
		figures = append(figures, userFigure("client and server on the same processors", stage))
	}
	return figures, nil
}
