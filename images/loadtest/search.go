package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"mlops/internal/program"
	"mlops/loadtest"
)

// capacity looks for the most users or requests per second.
func capacity(ctx context.Context, log *slog.Logger, args []string) error {
	var cfg loadtest.Config
	var search loadtest.Search
	var of, records, file string
	var set *flag.FlagSet
	err := program.Flags(args, func(f *flag.FlagSet) {
		set = f
		f.StringVar(&of, "plan", "", "file of a plan whose model, targets and thresholds are tried, whatever server they name; its shape is left out")
		f.StringVar(&cfg.Target, "target", "http://localhost:8000", "base URL of the server")
		f.BoolVar(&search.Rate, "rate", false, "look for requests per second instead of users")
		f.Float64Var(&search.From, "from", 0, "the first level (default 1 user, 10 requests per second)")
		f.Float64Var(&search.Most, "most", 0, "the highest level (default 10000 users, a million requests per second)")
		f.IntVar(&search.Repeat, "repeat", 5, "how often to search; the interval is of these")
		f.DurationVar(&cfg.Duration, "duration", 10*time.Second, "duration of each try")
		f.IntVar(&cfg.Most, "connections", 100, "with -rate: maximum number of connections")
		f.Float64Var(&cfg.MaxErrors, "max-errors", 0.2, "objective: fewer failed requests than this share; 0: none")
		f.DurationVar(&cfg.P99, "p99", 0, "objective: 99th percentile of the latency (default: no limit)")
		f.StringVar(&records, "records", "", "file of JSON lines to send in turn (default: the samples of the server's GET /model)")
		f.StringVar(&file, "json", "", "file to write what was found to, as JSON")
	})
	if err != nil {
		return err
	}
	search.OnTry = func(s loadtest.Stage) {
		log.Info("tried", "users", s.Users, "rate", s.Rate, "per_second", s.PerSecond, "failed", s.Failed, "p99_ms", s.Latency.P99)
	}
	if of != "" {
		var both []string
		set.Visit(func(f *flag.Flag) {
			if slices.Contains([]string{"target", "rate", "connections", "max-errors", "p99", "records"}, f.Name) {
				both = append(both, "-"+f.Name)
			}
		})
		if len(both) > 0 {
			return program.Inputf("with -plan, what %s says stands in the plan", strings.Join(both, ", "))
		}
		p, err := readPlan(of)
		if err == nil {
			err = load(ctx, log, &p)
		}
		if err != nil {
			return err
		}
		found, err := loadtest.FindPlanCapacity(ctx, p, cfg.Duration, search)
		if err != nil {
			return err
		}
		return told(&found, file)
	}
	if records != "" {
		if cfg.Bodies, err = read(records); err != nil {
			return program.Inputf("%s: %w", records, err)
		}
	}
	cfg.Key = program.EnvOr("MLOPS_API_KEY", "")
	if err := cfg.Check(); err != nil {
		return program.Input(err)
	}
	found, err := loadtest.FindCapacity(ctx, cfg, search)
	if err != nil {
		return err
	}
	return told(&found, file)
}

// told prints what was found, and writes it to a file if one is named.
func told(found *loadtest.Capacity, file string) error {
	fmt.Println(found.Sum())
	if file == "" {
		return nil
	}
	return writeFile(file, func(w io.Writer) error { return json.NewEncoder(w).Encode(found) })
}

// compare says what changed between two results of loadtest plan or of the page.
func compare(_ context.Context, _ *slog.Logger, args []string) error {
	if len(args) != 2 {
		return program.Inputf("loadtest compare takes two results: the JSON of loadtest plan -json or of the page")
	}
	var results [2]loadtest.Result
	for i, path := range args {
		f, err := os.Open(path)
		if err != nil {
			return program.Input(err)
		}
		results[i], err = loadtest.ReadResult(f)
		f.Close()
		if err != nil {
			return program.Inputf("%s: %w", path, err)
		}
	}
	list, err := loadtest.Compare(&results[0], &results[1])
	if err != nil {
		return program.Input(err)
	}
	return loadtest.WriteDifferences(os.Stdout, list)
}
