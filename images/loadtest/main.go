// Command loadtest loads an inference server, or any HTTP server, and reports what it
// sustains. Without a word before its flags it goes through stages of users or rates;
//
//	loadtest serve      shows a page that starts, changes and stops tests
//	loadtest plan FILE  runs a plan's YAML
//	loadtest shape      runs a shape of one target by flags
//	loadtest capacity   looks for the most users or requests per second
//	loadtest compare A B  says what changed between two results
//	loadtest split, merge  share stages between workers in parallel, and make one
//	                       report of theirs
//
// It exits with 2 if a threshold is not met, or if it was called wrongly: in neither
// case would another try help.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"mlops/internal/program"
	"mlops/internal/step"
	"mlops/loadtest"
)

func main() { program.Main(run) }

func run(ctx context.Context, log *slog.Logger) error {
	args := os.Args[1:]
	if len(args) > 0 {
		commands := map[string]func(context.Context, *slog.Logger, []string) error{"serve": serve, "plan": plan, "shape": shape, "capacity": capacity, "compare": compare, "split": split, "merge": merge}
		if command := commands[args[0]]; command != nil {
			return command(ctx, log, args[1:])
		}
	}
	return stages(ctx, log, args)
}

// stages loads a server stage by stage.
func stages(ctx context.Context, log *slog.Logger, args []string) error {
	var cfg loadtest.Config
	var records, file, output, part string
	err := program.Flags(args, func(f *flag.FlagSet) {
		f.StringVar(&cfg.Target, "target", "http://localhost:8000", "base URL of the server")
		f.StringVar(&cfg.Key, "key", "", "API key to send, with the scope predict and, without -records, read (better: MLOPS_API_KEY, which no list of processes shows)")
		levels(f, &cfg)
		f.Func("worker", "this one's number, from 0, of how many that share the load: 0/4", workerOf(&cfg.Share))
		f.Func("begin", "with -worker: when all workers begin, in RFC 3339", func(text string) (err error) {
			cfg.Share.Begin, err = time.Parse(time.RFC3339Nano, text)
			return err
		})
		f.DurationVar(&cfg.Think, "think", 0, "a user's wait between a response and the next request")
		f.DurationVar(&cfg.Timeout, "timeout", 0, "timeout of a request (default 10s)")
		f.StringVar(&records, "records", "", "file of JSON lines to send in turn (default: the samples of the server's GET /model)")
		limits(f, &cfg)
		f.StringVar(&file, "json", "", "file to write the report to, as JSON")
		f.StringVar(&output, "output", "", "workflow output parameter to store the report in, as JSON")
		f.StringVar(&part, "part", "", "with -worker: workflow output parameter to store the report in, for loadtest merge, which also checks the limits")
	})
	if err != nil {
		return err
	}
	if records != "" {
		if cfg.Bodies, err = read(records); err != nil {
			return program.Inputf("%s: %w", records, err)
		}
	}
	if cfg.Key == "" {
		cfg.Key = program.EnvOr("MLOPS_API_KEY", "")
	}
	if err := cfg.Check(); err != nil {
		return program.Input(err)
	}
	cfg.OnStage = func(s loadtest.Stage) {
		log.Info("stage ended", "users", s.Users, "rate", s.Rate, "requests", s.Requests, "failed", s.Failed, "per_second", s.PerSecond, "p99_ms", s.Latency.P99)
	}
	report, err := loadtest.Run(ctx, cfg)
	if err != nil {
		return err
	}
	if part != "" {
		text, err := report.Encode()
		if err == nil {
			err = step.Output(part, text)
		}
		if err != nil {
			return err
		}
		if !report.Stopped {
			return report.Write(os.Stdout)
		}
	}
	return finish(&report, file, output)
}

// finish shows and stores a report, and returns the error that the test ends with.
func finish(report *loadtest.Report, file, output string) error {
	if err := report.Write(os.Stdout); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if err := store(report, file, output); err != nil {
		return err
	}
	switch {
	case report.Stopped:
		return errors.New("the load test was stopped before its end")
	case !report.Passed():
		return program.Inputf("the load test failed: a threshold was not met") // a result: another try should not change it
	}
	return nil
}

// levels are the flags of what load there is.
func levels(f *flag.FlagSet, cfg *loadtest.Config) {
	f.Func("users", "concurrent users of each stage (default 15,25,35,50,100)", list(&cfg.Users, strconv.Atoi))
	f.Func("rate", "instead of -users: requests per second of each stage, sent on time whatever the server does", list(&cfg.Rates, number))
	f.IntVar(&cfg.Most, "connections", 100, "with -rate: maximum number of connections")
	f.DurationVar(&cfg.Duration, "duration", 0, "duration of a stage (default 30s)")
}

// limits are the flags of what a stage must keep.
func limits(f *flag.FlagSet, cfg *loadtest.Config) {
	f.Float64Var(&cfg.MaxErrors, "max-errors", 0.2, "share of failed requests at which a stage fails; 0: any failed request fails it")
	f.DurationVar(&cfg.P99, "p99", 0, "99th percentile of the latency above which a stage fails (default: no limit)")
}

// store writes the report as JSON to a file and an output parameter, if they are named.
func store(report *loadtest.Report, file, output string) error {
	text, err := report.JSON()
	if err != nil {
		return err
	}
	if file != "" {
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
	}
	if output != "" {
		return step.Output(output, string(text))
	}
	return nil
}

func read(path string) ([]loadtest.Body, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return loadtest.ReadBodies(f)
}

// list parses a flag's comma-separated values.
func list[T any](to *[]T, parse func(string) (T, error)) func(string) error {
	return func(text string) error {
		*to = nil
		if text == "" {
			return nil
		}
		for word := range strings.SplitSeq(text, ",") {
			v, err := parse(strings.TrimSpace(word))
			if err != nil {
				return err
			}
			*to = append(*to, v)
		}
		return nil
	}
}

func number(text string) (float64, error) { return strconv.ParseFloat(text, 64) }
