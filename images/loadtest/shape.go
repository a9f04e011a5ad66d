package main

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"mlops/internal/program"
	"mlops/loadtest"
)

// shape runs what a plan of one target would say, by flags.
func shape(ctx context.Context, log *slog.Logger, args []string) error {
	p := loadtest.Plan{Targets: []loadtest.Target{{}}}
	t := &p.Targets[0]
	var to files
	var name string
	var level float64
	var whole time.Duration
	err := program.Flags(args, func(f *flag.FlagSet) {
		f.StringVar(&t.URL, "url", "http://localhost:8000/predict", "where requests go")
		f.StringVar(&t.Method, "method", "", "method (default: POST if there is a body, else GET)")
		f.Func("header", "Name: value, for each header again", func(text string) error {
			name, value, found := strings.Cut(text, ":")
			if !found {
				return errors.New("want Name: value")
			}
			if t.Headers == nil {
				t.Headers = map[string]string{}
			}
			t.Headers[strings.TrimSpace(name)] = strings.TrimSpace(value)
			return nil
		})
		f.StringVar(&t.Body, "body", "", "body; with -records, {{column}} stands for a value of the row as a JSON text, {{column|number}} as a number")
		f.StringVar(&t.Records, "records", "", "CSV file with a header, or JSON lines (default for /predict: the samples of GET /model)")
		f.StringVar(&p.Model, "model", loadtest.ClosedModel, "users (closed), or rate (open: requests per second, whatever the server does)")
		f.StringVar(&p.Arrivals, "arrivals", "", "with -model rate: constant or poisson (default constant)")
		f.IntVar(&p.Connections, "connections", 0, "with -model rate: the most connections (default 500)")
		f.StringVar(&name, "shape", "constant", "constant, steps, ramp, spike, soak, or preset: 15, 25, 35, 50 and 100")
		f.Float64Var(&level, "level", 10, "the highest number of users or requests per second")
		f.DurationVar(&whole, "duration", 30*time.Second, "how long all of it lasts")
		f.DurationVar((*time.Duration)(&p.Think), "think", 0, "a user's wait after each response")
		f.DurationVar((*time.Duration)(&p.Pacing), "pacing", 0, "at least this long from one of a user's requests to the next")
		f.DurationVar((*time.Duration)(&p.Timeout), "timeout", 0, "timeout of a request (default 10s)")
		f.Func("max-errors", "threshold: share of failed requests, at most; 0 allows none", func(text string) error {
			v, err := strconv.ParseFloat(text, 64)
			p.Thresholds.Errors = &v
			return err
		})
		f.DurationVar((*time.Duration)(&p.Thresholds.P99), "p99", 0, "threshold: 99th percentile, at most")
		f.Float64Var(&p.Thresholds.Rate, "least", 0, "threshold: successful requests per second, at least")
		to.flags(f)
	})
	if err != nil {
		return err
	}
	if whole <= 0 {
		return program.Inputf("-duration is above 0")
	}
	if p.Shape, err = loadtest.Shape(name, level, whole); err == nil {
		p, err = p.Check()
	}
	if err != nil {
		return program.Input(err)
	}
	return follow(ctx, log, p, to)
}
