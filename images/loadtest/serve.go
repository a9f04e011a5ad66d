package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"mlops/internal/headers"
	"mlops/internal/program"
	"mlops/loadtest"
	"mlops/loadtest/live"
)

// serve shows the page until it is stopped.
func serve(ctx context.Context, log *slog.Logger, args []string) error {
	o := live.Options{Log: log}
	var target, listen, hosts string
	err := program.Flags(args, func(f *flag.FlagSet) {
		f.StringVar(&target, "target", "http://localhost:8000", "base URL of an inference server, or with -path of any server")
		f.StringVar(&o.URL, "url", "", "instead of -target: the URL of requests")
		f.StringVar(&listen, "listen", "127.0.0.1:8089", "address of the page; without MLOPS_LOADTEST_PASSWORD it asks for no login, so keep it to those who may load the server")
		f.BoolVar(&o.Any, "any-target", false, "let the page name other URLs")
		f.Float64Var(&o.Most, "most", 10000, "the most users or requests per second that the page may ask for")
		f.Float64Var(&o.Errors, "max-errors", 0.2, "threshold that the form begins with: share of failed requests")
		f.DurationVar(&o.P99, "p99", 0, "threshold that the form begins with: 99th percentile")
		f.StringVar(&hosts, "hosts", "localhost", "names, beside addresses, under which the page may be called, separated by commas; *: any")
	})
	if err != nil {
		return err
	}
	if o.URL == "" {
		o.URL = strings.TrimRight(target, "/") + "/predict"
	}
	o.Hosts = headers.Names(hosts)
	o.Key, o.Password = program.EnvOr("MLOPS_API_KEY", ""), program.EnvOr("MLOPS_LOADTEST_PASSWORD", "")
	server, err := live.New(ctx, o)
	if err != nil {
		return program.Input(err)
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	log.Info("listening", "address", l.Addr().String(), "url", o.URL)
	return server.Run(ctx, l)
}

// plan runs a plan's YAML to its end.
func plan(ctx context.Context, log *slog.Logger, args []string) error {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return program.Inputf("loadtest plan takes the plan's file, then flags")
	}
	var to files
	if err := program.Flags(args[1:], to.flags); err != nil {
		return err
	}
	p, err := readPlan(args[0])
	if err != nil {
		return err
	}
	return follow(ctx, log, p, to)
}

// readPlan reads and checks a plan's file.
func readPlan(file string) (loadtest.Plan, error) {
	f, err := os.Open(file)
	if err != nil {
		return loadtest.Plan{}, program.Input(err)
	}
	defer f.Close()
	p, err := loadtest.ReadPlan(f)
	if err == nil {
		p, err = p.Check()
	}
	if err != nil {
		return p, program.Inputf("%s: %w", file, err)
	}
	return p, nil
}

// load loads what a plan that was checked sends.
func load(ctx context.Context, log *slog.Logger, p *loadtest.Plan) error {
	if key := program.EnvOr("MLOPS_API_KEY", ""); key != "" {
		p.UseKey(key)
	}
	notes, err := p.Load(ctx)
	for _, n := range notes {
		log.Warn(n)
	}
	return err
}

// follow runs a plan that was checked to its end.
func follow(ctx context.Context, log *slog.Logger, p loadtest.Plan, to files) error {
	if err := load(ctx, log, &p); err != nil {
		return err
	}
	session, err := loadtest.Start(ctx, p)
	if err != nil {
		return program.Input(err)
	}
	ticks := time.NewTicker(10 * time.Second)
	defer ticks.Stop()
	for running := true; running; {
		select {
		case <-session.Done():
			running = false
		case <-ticks.C:
			r := session.Result()
			log.Info("progress", "done", int(r.Seconds), "unit", "seconds", "requests", r.Total.Requests, "failed", r.Total.Failed, "per_second", r.Recent.PerSecond, "p99_ms", r.Recent.Latency.P99)
		}
	}
	r := session.Result()
	if err := r.Write(os.Stdout); err != nil {
		return err
	}
	return write(&r, to)
}
