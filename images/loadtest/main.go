// Loadtest loads an inference server as the ancestor's preset did, or as asked,
// and reports what it holds. It exits with 2 where a threshold is not met, as
// where it was called wrongly: another try can't help.
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

	"mlops/internal/program"
	"mlops/internal/step"
	"mlops/loadtest"
)

func main() { program.Main(run) }

func run(ctx context.Context, log *slog.Logger) error {
	var cfg loadtest.Config
	var records, file, output string
	err := program.Flags(os.Args[1:], func(f *flag.FlagSet) {
		f.StringVar(&cfg.Target, "target", "http://localhost:8000", "base URL of the server")
		f.Func("users", "users of each stage, such as 15,25,35,50,100, which is the default", list(&cfg.Users, strconv.Atoi))
		f.Func("rate", "instead of users: requests a second of each stage, begun at their time whatever the server does", list(&cfg.Rates, number))
		f.IntVar(&cfg.Most, "connections", 100, "with -rate: the most connections at once")
		f.DurationVar(&cfg.Duration, "duration", 0, "of a stage (default 30s)")
		f.DurationVar(&cfg.Think, "think", 0, "what a user waits between an answer and the next request")
		f.DurationVar(&cfg.Timeout, "timeout", 0, "of a request (default 10s)")
		f.StringVar(&records, "records", "", "file of JSON lines to send in turn (default: the samples that the server shows)")
		f.Float64Var(&cfg.MaxErrors, "max-errors", 0.2, "share of failed requests from which on a stage does not pass; 0: none may fail")
		f.DurationVar(&cfg.P99, "p99", 0, "a stage whose 99th percentile is above does not pass (default: no limit)")
		f.StringVar(&file, "json", "", "file to write the report to as JSON")
		f.StringVar(&output, "output", "", "output parameter to leave the report in as JSON")
	})
	if err != nil {
		return err
	}
	if records != "" {
		if cfg.Bodies, err = read(records); err != nil {
			return program.Inputf("%s: %w", records, err)
		}
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
	if err := report.Write(os.Stdout); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if err := leave(&report, file, output); err != nil {
		return err
	}
	switch {
	case report.Stopped:
		return errors.New("the load test was stopped before its end")
	case !report.Passed():
		return program.Inputf("the load test was not passed") // an answer, which another try should not change
	}
	return nil
}

// leave writes the report as JSON where it was asked for.
func leave(report *loadtest.Report, file, output string) error {
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

// list parses a flag's values, separated by commas.
func list[T any](to *[]T, parse func(string) (T, error)) func(string) error {
	return func(text string) error {
		*to = nil
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
