package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// attack is what a load tester is told to do: a closed loop of connections, or so many
// requests per second over at most that many.
type attack struct {
	url, body   string
	connections int
	rate        int // 0: each connection sends the next request when it has a response
	length      time.Duration
}

// sent is what it says of it, and the processor time that it took.
type sent struct {
	requests float64
	p99      float64 // ms
	cpu      float64 // seconds
}

// rival is a load tester.
type rival struct {
	name string
	open bool // it can send at a rate, whatever the server does
	run  func(context.Context, attack) (sent, error)
}

const (
	vegeta     = "github.com/tsenart/vegeta/v12@v12.13.0"
	hey        = "github.com/rakyll/hey@v0.1.4"
	autocannon = "autocannon@8.0.0"
)

// rivals returns the load testers that can be had here. Those that can't are named in
// lacking, with the reason. k6 is none of them: its licence is the AGPL.
func (b *bench) rivals(ctx context.Context, log *slog.Logger) (list []rival, lacking []string) {
	add := func(r rival, err error) {
		if err != nil {
			log.Warn("a load tester is not compared", "name", r.name, "error", err)
			lacking = append(lacking, r.name)
			return
		}
		list = append(list, r)
	}
	_, err := exec.LookPath("wrk")
	add(rival{"wrk", false, b.wrk}, err)
	_, err = exec.LookPath("oha")
	add(rival{"oha", true, b.oha}, err)
	add(rival{"vegeta", true, b.vegeta}, b.install(ctx, vegeta))
	add(rival{"hey", false, b.hey}, b.install(ctx, hey))
	npm := exec.CommandContext(ctx, "npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", b.dir, autocannon)
	add(rival{"autocannon", true, b.autocannon}, quiet(npm))
	venv, err := venvOf(ctx, log, filepath.Join(peers, "locust.txt"))
	locust := rival{name: "Locust"}
	if err == nil {
		program := filepath.Join(filepath.Dir(venv.Python()), "locust")
		locust.run = func(ctx context.Context, a attack) (sent, error) { return b.locust(ctx, program, a) }
	}
	add(locust, err)
	return list, lacking
}

// install compiles a program of a Go module into the bench's folder.
func (b *bench) install(ctx context.Context, module string) error {
	cmd := exec.CommandContext(ctx, "go", "install", "-trimpath", module)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOBIN="+b.dir)
	return quiet(cmd)
}

func quiet(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, bytes.TrimSpace(out))
	}
	return nil
}

// client runs a load tester on a processor of its own, and returns what it prints.
func (b *bench) client(ctx context.Context, env []string, argv ...string) (out []byte, cpu float64, err error) {
	argv = pinned(0, argv...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	if out, err = cmd.Output(); err != nil {
		return nil, 0, fmt.Errorf("%s: %w\n%s%s", strings.Join(argv, " "), err, out, problems.Bytes())
	}
	return out, (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), nil
}

func whole(d time.Duration) string { return strconv.Itoa(int(d.Seconds())) }

// found returns the number behind a pattern's first group.
func found(out []byte, pattern string) (float64, error) {
	m := regexp.MustCompile(pattern).FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("no %s in:\n%s", pattern, out)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}

// ours runs the load tester itself.
func (b *bench) ours(ctx context.Context, a attack) (sent, error) {
	plan := fmt.Sprintf("shape: [{level: %d, for: %v}]\ntargets: [{url: %q, method: POST, body: %q}]\n", a.connections, a.length, a.url, a.body)
	if a.rate > 0 {
		plan = fmt.Sprintf("model: rate\nconnections: %d\nshape: [{level: %d, for: %v}]\ntargets: [{url: %q, method: POST, body: %q}]\n", a.connections, a.rate, a.length, a.url, a.body)
	}
	r, cpu, err := b.plan(ctx, plan)
	if err != nil {
		return sent{}, err
	}
	if r.Total.Failed > 0 {
		return sent{}, fmt.Errorf("%d requests failed: %v", r.Total.Failed, r.Causes)
	}
	return sent{float64(r.Total.Requests), r.Total.Latency.P99, cpu.Seconds()}, nil
}

// wrk has no rates: it always is a closed loop.
func (b *bench) wrk(ctx context.Context, a attack) (s sent, err error) {
	script := filepath.Join(b.dir, "post.lua")
	if err := os.WriteFile(script, fmt.Appendf(nil, "wrk.method = \"POST\"\nwrk.body = %q\nwrk.headers[\"Content-Type\"] = \"application/json\"\n", a.body), 0o600); err != nil {
		return s, err
	}
	out, cpu, err := b.client(ctx, nil, "wrk", "-t1", "-c"+strconv.Itoa(a.connections), "--latency", "-d"+whole(a.length), "-s", script, a.url)
	if err != nil {
		return s, err
	}
	requests, err := found(out, `(\d+) requests in`)
	m := regexp.MustCompile(`(?m)^\s+99%\s+(\S+)`).FindSubmatch(out)
	if err != nil || m == nil {
		return s, errors.Join(err, fmt.Errorf("wrk said:\n%s", out))
	}
	p99, err := time.ParseDuration(string(m[1]))
	return sent{requests, float64(p99.Microseconds()) / 1000, cpu}, err
}

func (b *bench) oha(ctx context.Context, a attack) (s sent, err error) {
	argv := []string{"oha", "--no-tui", "--output-format", "json", "-z", whole(a.length) + "s", "-c", strconv.Itoa(a.connections), "-m", "POST", "-T", "application/json", "-d", a.body}
	if a.rate > 0 {
		argv = append(argv, "-q", strconv.Itoa(a.rate), "--latency-correction")
	}
	out, cpu, err := b.client(ctx, nil, append(argv, a.url)...)
	if err != nil {
		return s, err
	}
	var r struct {
		StatusCodeDistribution map[string]float64
		LatencyPercentiles     struct{ P99 float64 }
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return s, fmt.Errorf("reading oha's result: %w", err)
	}
	return sent{r.StatusCodeDistribution["200"], r.LatencyPercentiles.P99 * 1000, cpu}, nil
}

// vegeta's report is read by a second process, whose time is not counted.
func (b *bench) vegeta(ctx context.Context, a attack) (s sent, err error) {
	targets, body, results := filepath.Join(b.dir, "targets"), filepath.Join(b.dir, "body"), filepath.Join(b.dir, "results")
	if err := errors.Join(os.WriteFile(body, []byte(a.body), 0o600), os.WriteFile(targets, fmt.Appendf(nil, "POST %s\nContent-Type: application/json\n@%s\n", a.url, body), 0o600)); err != nil {
		return s, err
	}
	workers := strconv.Itoa(a.connections)
	_, cpu, err := b.client(ctx, nil, filepath.Join(b.dir, "vegeta"), "attack", "-targets", targets, "-rate", strconv.Itoa(a.rate), "-duration", a.length.String(),
		"-workers", workers, "-max-workers", workers, "-connections", workers, "-output", results)
	if err != nil {
		return s, err
	}
	out, err := exec.CommandContext(ctx, filepath.Join(b.dir, "vegeta"), "report", "-type=json", results).Output()
	if err != nil {
		return s, fmt.Errorf("vegeta report: %w", err)
	}
	var r struct {
		Requests  float64
		Latencies struct {
			P99 float64 `json:"99th"` // ns
		}
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return s, fmt.Errorf("reading vegeta's result: %w", err)
	}
	return sent{r.Requests, r.Latencies.P99 / 1e6, cpu}, nil
}

// hey's rate is one of each connection, which waits for responses all the same.
func (b *bench) hey(ctx context.Context, a attack) (s sent, err error) {
	argv := []string{filepath.Join(b.dir, "hey"), "-z", a.length.String(), "-c", strconv.Itoa(a.connections), "-m", "POST", "-T", "application/json", "-d", a.body}
	if a.rate > 0 {
		argv = append(argv, "-q", strconv.FormatFloat(float64(a.rate)/float64(a.connections), 'f', -1, 64))
	}
	out, cpu, err := b.client(ctx, nil, append(argv, a.url)...)
	if err != nil {
		return s, err
	}
	requests, err := found(out, `\[200\]\s+(\d+) responses`)
	if err != nil {
		return s, err
	}
	p99, err := found(out, `99% in ([0-9.]+) secs`)
	return sent{requests, p99 * 1000, cpu}, err
}

func (b *bench) autocannon(ctx context.Context, a attack) (s sent, err error) {
	argv := []string{filepath.Join(b.dir, "node_modules", ".bin", "autocannon"), "-j", "-n", "-c", strconv.Itoa(a.connections), "-d", whole(a.length), "-m", "POST", "-H", "content-type=application/json", "-b", a.body}
	if a.rate > 0 {
		argv = append(argv, "-R", strconv.Itoa(a.rate))
	}
	out, cpu, err := b.client(ctx, nil, append(argv, a.url)...)
	if err != nil {
		return s, err
	}
	var r struct {
		Requests struct{ Total float64 }
		Latency  struct{ P99 float64 }
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return s, fmt.Errorf("reading autocannon's result: %w", err)
	}
	return sent{r.Requests.Total, r.Latency.P99, cpu}, nil
}

// locust's users each wait for their response before they send again.
func (b *bench) locust(ctx context.Context, program string, a attack) (s sent, err error) {
	pace := 0.0
	if a.rate > 0 {
		pace = float64(a.rate) / float64(a.connections)
	}
	users := strconv.Itoa(a.connections)
	out, cpu, err := b.client(ctx, []string{"URL=" + a.url, "BODY=" + a.body, fmt.Sprintf("PACE=%v", pace)}, program, "-f", filepath.Join(peers, "locustfile.py"),
		"--headless", "--json", "--skip-log", "-u", users, "-r", users, "-t", whole(a.length)+"s")
	if err != nil {
		return s, err
	}
	start := bytes.IndexByte(out, '[')
	var list []struct {
		Requests float64            `json:"num_requests"`
		Failures float64            `json:"num_failures"`
		Times    map[string]float64 `json:"response_times"` // requests by milliseconds, rounded
	}
	if start < 0 {
		return s, fmt.Errorf("locust printed no result:\n%s", out)
	}
	if err := json.NewDecoder(bytes.NewReader(out[start:])).Decode(&list); err != nil {
		return s, fmt.Errorf("reading Locust's result: %w", err)
	}
	if len(list) != 1 || list[0].Failures > 0 {
		return s, fmt.Errorf("locust's result is %+v", list)
	}
	times := map[float64]float64{}
	for ms, n := range list[0].Times {
		v, err := strconv.ParseFloat(ms, 64)
		if err != nil {
			return s, fmt.Errorf("reading Locust's result: %w", err)
		}
		times[v] += n
	}
	return sent{list[0].Requests, weighted(times, 0.99), cpu}, nil
}

// weighted is a quantile of values that occur so often each.
func weighted(counts map[float64]float64, q float64) float64 {
	all := 0.0
	values := make([]float64, 0, len(counts))
	for v, n := range counts {
		values = append(values, v)
		all += n
	}
	slices.Sort(values)
	below := 0.0
	for _, v := range values {
		if below += counts[v]; below >= q*all {
			return v
		}
	}
	return 0
}
