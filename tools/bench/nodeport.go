package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"mlops/internal/probe"
	"mlops/internal/program"
	"mlops/loadtest"
)

// nodePort is the table by numbers of users of a platform on Kubernetes that runs
// already, through its NodePort.
func nodePort(ctx context.Context, log *slog.Logger) ([]figure, error) {
	target := program.EnvOr("MLOPS_BENCH_URL", "http://localhost:30800")
	if err := probe.HTTP(ctx, target+"/readyz"); err != nil {
		log.Warn("not measured: no platform answers; make up starts one, and MLOPS_BENCH_URL names another", "url", target, "error", err)
		return nil, nil
	}
	cfg := loadtest.Config{Target: target, Key: program.EnvOr("MLOPS_API_KEY", ""), Duration: slowTime, MaxErrors: 0.2, P99: 200 * time.Millisecond}
	report, found, err := loadtest.Ladder(ctx, cfg, loadtest.Search{From: 100, Most: 4000, Repeat: 3})
	if err != nil {
		return nil, err
	}
	if err := report.Write(os.Stderr); err != nil {
		return nil, err
	}
	var list []figure
	for _, s := range report.Stages {
		list = append(list, userFigure("through the NodePort", s))
	}
	return append(list, figure{Name: "capacity through the NodePort", Value: found.Median, Unit: "users", How: "fewer than 20 % failed and 99 % within 200 ms; " + found.Sum()}), nil
}

// userFigure is one row of a table by numbers of users.
func userFigure(where string, s loadtest.Stage) figure {
	l := s.Latency
	return figure{Name: fmt.Sprintf("requests/s with %d users, %s", s.Users, where), Value: s.PerSecond,
		How: fmt.Sprintf("mean %.2f, median %.2f, p95 %.2f, p99 %.2f ms; %d of %d failed", l.Mean, l.P50, l.P95, l.P99, s.Failed, s.Requests)}
}
