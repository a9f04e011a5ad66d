package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"mlops/internal/mlflow"
	"mlops/internal/prepare"
	"mlops/internal/program"
	"mlops/internal/registry"
	"mlops/internal/train"
	"mlops/loadtest"
)

// stageTime is how long one load on a fast server lasts, slowTime one on a
// server that manages a few dozen requests per second.
const (
	stageTime = 5 * time.Second
	slowTime  = 10 * time.Second
)

var connections = []int{1, 25, 100, 1000}

// site is what the measurements of servers share: the records, the versions that
// are registered, and the programs.
type site struct {
	*bench
	venv    *prepare.Venv
	client  *mlflow.Client
	records []record
	bodies  []loadtest.Body
	files   map[string][]byte // of the version in production, numeric splits
	model   string            // folder of its files
	made    string            // folder of the peers' conversions of it
	other   map[string][]byte // of another version, categorical splits

	most     float64 // requests per second that the server managed over 100 connections
	unloaded float64 // p99 (ms) of its responses at half of that
}

// serving compares servers side by side, client and server on the same
// processors: this one, a bare handler, and Python's. All serve the same trees
// and get the same records, in turn and shuffled.
func serving(ctx context.Context, log *slog.Logger) ([]figure, error) {
	s, err := newSite(ctx, log)
	if err != nil {
		return nil, err
	}
	defer s.close()
	var figures []figure
	for _, part := range []func(context.Context) ([]figure, error){s.start, s.handler, s.preset, s.sideBySide, s.plainHTTP, s.keyed, s.python, s.batches, s.thousand, s.overload, s.swaps} {
		found, err := part(ctx)
		for _, f := range found {
			fmt.Fprintf(os.Stderr, "  %s: %.4g %s (%s)\n", f.Name, f.Value, f.Unit, f.How)
		}
		if err != nil {
			return nil, err
		}
		figures = append(figures, found...)
	}
	return figures, nil
}

func newSite(ctx context.Context, log *slog.Logger) (_ *site, err error) {
	b, lib, err := openFilled(ctx, log)
	if err != nil {
		return nil, err
	}
	s := &site{bench: b}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if err := b.oneRow(); err != nil {
		return nil, err
	}
	if s.venv, err = peersVenv(ctx, log); err != nil {
		return nil, err
	}
	address, err := program.Env("MLOPS_TEST_MLFLOW")
	if err != nil {
		return nil, err
	}
	if s.client, err = mlflow.New(address, mlflow.Options{UserAgent: "mlops-bench"}); err != nil {
		return nil, err
	}
	data, err := train.Prepare(ctx, b.spec, b.rows(""))
	if err != nil {
		return nil, err
	}
	if s.records, err = b.records(ctx, data.Encoder); err != nil {
		return nil, err
	}
	s.bodies = bodies(s.records)
	if s.files, err = b.version(ctx, lib, data, s.records, false); err != nil {
		return nil, err
	}
	if s.other, err = b.version(ctx, lib, data, s.records, true); err != nil {
		return nil, err
	}
	if s.model, err = b.store("version", s.files); err != nil {
		return nil, err
	}
	s.made = filepath.Join(b.dir, "peers")
	if _, err := python(ctx, s.venv, "prepare.py", s.model, s.made); err != nil {
		return nil, err
	}
	number, err := b.register(ctx, s.client, s.files)
	if err != nil {
		return nil, err
	}
	if err := s.client.SetAlias(ctx, b.spec.Model, registry.Production, number); err != nil {
		return nil, err
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", b.dir+"/", "./images/inference", "./loadtest/peers/bare")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the servers: %w\n%s", err, out)
	}
	return s, nil
}

// ours starts the inference server, without a local copy of the version, with
// the given additions to its environment.
func (s *site) ours(ctx context.Context, env ...string) (*server, error) {
	cache, err := os.MkdirTemp(s.dir, "cache-")
	if err != nil {
		return nil, fmt.Errorf("making a folder: %w", err)
	}
	return s.serve(ctx, "inference", "/readyz", append([]string{
		"MLFLOW_TRACKING_URI=" + os.Getenv("MLOPS_TEST_MLFLOW"), "MLOPS_MODEL=" + s.spec.Model, "MLOPS_CACHE=" + cache, "MLOPS_LISTEN=127.0.0.1:" + port,
	}, env...), filepath.Join(s.dir, "inference"))
}

func (s *site) bare(ctx context.Context) (*server, error) {
	return s.serve(ctx, "bare", "/readyz", nil, filepath.Join(s.dir, "bare"), "127.0.0.1:"+port)
}

// load sends one stage of predictions to a server.
func (s *site) load(ctx context.Context, to *server, cfg loadtest.Config) (loadtest.Stage, error) {
	cfg.Target = to.base
	if cfg.Bodies == nil {
		cfg.Bodies = s.bodies
	}
	if cfg.Duration == 0 {
		cfg.Duration = stageTime
	}
	r, err := loadtest.Run(ctx, cfg)
	if err != nil {
		return loadtest.Stage{}, err
	}
	if r.Stopped {
		return loadtest.Stage{}, errors.New("stopped")
	}
	stage := r.Stages[0]
	fmt.Fprintf(os.Stderr, "  %s, %d users, rate %.0f: %.0f/s, p99 %.2f ms, %d failed %v\n", to.name, stage.Users, stage.Rate, stage.PerSecond, stage.Latency.P99, stage.Failed, stage.Errors)
	return stage, nil
}

// start measures the time from a server's start to its first response.
func (s *site) start(ctx context.Context) ([]figure, error) {
	var took []float64
	for range pairs {
		server, err := s.ours(ctx)
		if err != nil {
			return nil, err
		}
		server.stop()
		took = append(took, server.took.Seconds())
	}
	return []figure{{Name: "ready after start, with the model reachable", Value: median(took), Unit: "s", Reach: "at most 1", How: fmt.Sprintf("median of %d starts, without a local copy", pairs)}}, nil
}

// rounds is how often two servers take turns.
const rounds = 3

// contest is two servers that are loaded in turn.
type contest struct {
	ours, theirs *server
	cfg          loadtest.Config // what theirs is sent, apart from the load
	rounds       int
}

// turns loads both as load says and returns the stages of each.
func (s *site) turns(ctx context.Context, c contest, load loadtest.Config) (our, their []loadtest.Stage, err error) {
	theirs := c.cfg
	theirs.Users, theirs.Rates, theirs.Most = load.Users, load.Rates, load.Most
	for range c.rounds {
		b, err := s.load(ctx, c.theirs, theirs)
		if err != nil {
			return nil, nil, err
		}
		a, err := s.load(ctx, c.ours, load)
		if err != nil {
			return nil, nil, err
		}
		if a.Failed > 0 && len(load.Rates) == 0 { // above its capacity a server may refuse requests
			return nil, nil, fmt.Errorf("%d of our requests failed: %v", a.Failed, a.Failures)
		}
		our, their = append(our, a), append(their, b)
	}
	return our, their, nil
}

func perSecond(s loadtest.Stage) float64 { return s.PerSecond }
func p99(s loadtest.Stage) float64       { return s.Latency.P99 }

// sentP99 leaves out the generator's own waits; for stages of a fixed rate.
func sentP99(s loadtest.Stage) float64 { return s.Sent.P99 }

// ratio is the median of the pairs' ratios.
func ratio(a, b []loadtest.Stage, of func(loadtest.Stage) float64) float64 {
	var r []float64
	for i := range a {
		r = append(r, of(a[i])/of(b[i]))
	}
	return median(r)
}

func describe(name string, stages []loadtest.Stage) string {
	return fmt.Sprintf("%s %.0f/s, p50 %.2f, p99 %.2f ms", name, medianOf(stages, perSecond),
		medianOf(stages, func(s loadtest.Stage) float64 { return s.Latency.P50 }), medianOf(stages, p99))
}

// sideBySide compares with the bare handler: closed loops, then fixed rates.
func (s *site) sideBySide(ctx context.Context) (figures []figure, err error) {
	ours, err := s.ours(ctx)
	if err != nil {
		return nil, err
	}
	defer ours.stop()
	bare, err := s.bare(ctx)
	if err != nil {
		return nil, err
	}
	defer bare.stop()
	add := func(name, reach string, value float64, our, their []loadtest.Stage) {
		figures = append(figures, figure{Name: name, Value: value, Reach: reach,
			How: fmt.Sprintf("median of %d pairs of %v: %s; %s", rounds, stageTime, describe("ours", our), describe("bare", their))})
	}
	for _, users := range connections {
		our, their, err := s.turns(ctx, contest{ours: ours, theirs: bare, rounds: rounds}, loadtest.Config{Users: []int{users}})
		if err != nil {
			return nil, err
		}
		reach := ""
		if users == 100 {
			reach = "at least 0.8"
			s.most = medianOf(our, perSecond)
		}
		add(fmt.Sprintf("requests/s against the bare handler, %d connections", users), reach, ratio(our, their, perSecond), our, their)
	}
	for _, part := range []float64{0.25, 0.5, 0.8} {
		our, their, err := s.turns(ctx, contest{ours: ours, theirs: bare, rounds: rounds}, loadtest.Config{Rates: []float64{part * s.most}})
		if err != nil {
			return nil, err
		}
		reach := ""
		if part == 0.5 {
			reach = "at most 1.5"
			s.unloaded = medianOf(our, sentP99)
		}
		add(fmt.Sprintf("p99 against the bare handler's at a fixed rate, %.2f of the most", part), reach, ratio(our, their, p99), our, their)
	}
	figures = append(figures, figure{Name: "memory of the server under all this load", Value: ours.stop(), Unit: "MiB", Reach: "at most 64", How: "peak of its resident memory"})
	return figures, nil
}

// plainHTTP compares our server with itself when net/http reads every request.
func (s *site) plainHTTP(ctx context.Context) ([]figure, error) {
	with, err := s.ours(ctx)
	if err != nil {
		return nil, err
	}
	defer with.stop()
	without, err := s.ours(ctx, "MLOPS_PLAIN_HTTP=off")
	if err != nil {
		return nil, err
	}
	defer without.stop()
	a, b, err := s.turns(ctx, contest{ours: with, theirs: without, rounds: rounds}, loadtest.Config{Users: []int{100}})
	if err != nil {
		return nil, err
	}
	return []figure{{Name: "requests/s against MLOPS_PLAIN_HTTP=off, 100 connections", Value: ratio(a, b, perSecond),
		How: fmt.Sprintf("median of %d pairs of %v: %s; %s", rounds, stageTime, describe("on", a), describe("off", b))}}, nil
}

// python loads the Python servers, in turn with ours.
func (s *site) python(ctx context.Context) (figures []figure, err error) {
	uvicorn := func(app string) []string {
		return []string{filepath.Join(s.venv.Bin(), "uvicorn"), "--app-dir", peers, "--workers", "2", "--loop", "uvloop", "--http", "httptools",
			"--no-access-log", "--no-proxy-headers", "--log-level", "warning", "--host", "127.0.0.1", "--port", port, app + ":app"}
	}
	env := []string{"PEER_MODEL=" + s.model, "PEER_OUT=" + s.made, "PATH=" + s.venv.Bin() + ":" + os.Getenv("PATH"),
		"OMP_NUM_THREADS=1", "UVICORN_ACCESS_LOG=false", "MLFLOW_DISABLE_TELEMETRY=true", "DO_NOT_TRACK=true"}
	ours, err := s.ours(ctx)
	if err != nil {
		return nil, err
	}
	defer ours.stop()
	for _, p := range []pythonServer{
		{name: "the strongest FastAPI", ready: "/readyz", argv: uvicorn("strong"), reach: "at least 5", rounds: rounds, time: stageTime},
		{name: "the class project's design", ready: "/readyz", argv: uvicorn("ancestor"), reach: "at least 500", rounds: 1, time: slowTime},
		{name: "mlflow models serve", ready: "/ping", rounds: 1, time: slowTime, argv: []string{filepath.Join(s.venv.Bin(), "mlflow"), "models", "serve",
			"-m", filepath.Join(s.made, "pyfunc"), "--env-manager", "local", "--workers", "2", "-h", "127.0.0.1", "-p", port},
			cfg: loadtest.Config{Path: "/invocations", Bodies: frames(s.records), Answer: invocations}},
	} {
		server, err := s.serve(ctx, p.name, p.ready, env, p.argv...)
		if err != nil {
			return figures, err
		}
		found, err := s.against(ctx, ours, server, p)
		server.stop()
		if figures = append(figures, found...); err != nil {
			return figures, err
		}
	}
	return figures, nil
}

// pythonServer is a peer and how it is loaded: with a stage of that time per
// round and number of connections.
type pythonServer struct {
	name, ready, reach string
	argv               []string
	rounds             int
	time               time.Duration
	cfg                loadtest.Config
}

// against loads ours and a peer in turn.
func (s *site) against(ctx context.Context, ours, server *server, p pythonServer) (figures []figure, err error) {
	cfg := p.cfg
	cfg.Timeout = time.Minute
	cfg.Users, cfg.Duration = []int{8}, slowTime/2
	if _, err := s.load(ctx, server, cfg); err != nil { // a server is ready with its first worker
		return nil, err
	}
	cfg.Users, cfg.Duration = nil, p.time
	c := contest{ours: ours, theirs: server, cfg: cfg, rounds: p.rounds}
	how := func(our, their []loadtest.Stage) string {
		return fmt.Sprintf("median of %d pairs, 2 workers: %s; %s, %d of %d failed", p.rounds, describe("ours", our), describe("theirs", their), their[0].Failed, their[0].Requests)
	}
	most := 0.0
	for _, users := range connections {
		our, their, err := s.turns(ctx, c, loadtest.Config{Users: []int{users}})
		if err != nil {
			return figures, err
		}
		reach := ""
		if users == 100 {
			reach = p.reach
			most = medianOf(their, perSecond)
		}
		figures = append(figures, figure{Name: fmt.Sprintf("requests/s against %s, %d connections", p.name, users), Value: ratio(our, their, perSecond), Reach: reach, How: how(our, their)})
	}
	our, their, err := s.turns(ctx, c, loadtest.Config{Rates: []float64{most / 2}})
	if err != nil {
		return figures, err
	}
	return append(figures, figure{Name: fmt.Sprintf("p99 against that of %s at a fixed rate, half of its most", p.name), Value: ratio(our, their, p99), How: how(our, their)}), nil
}

// frames are the records as MLflow's server accepts them.
func frames(records []record) []loadtest.Body {
	var list []loadtest.Body
	for _, r := range records {
		list = append(list, loadtest.Body{JSON: fmt.Appendf(nil, `{"dataframe_records":[%s]}`, r.json), Records: 1})
	}
	return list
}

// invocations checks a response of MLflow's server.
func invocations(body []byte, records int) (string, error) {
	var a struct{ Predictions []json.RawMessage }
	if err := json.Unmarshal(body, &a); err != nil {
		return "", err
	}
	if len(a.Predictions) != records {
		return "", fmt.Errorf("%d predictions for %d records", len(a.Predictions), records)
	}
	return "", nil
}
