package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"mlops/internal/program"
	"mlops/internal/step"
	"mlops/loadtest"
)

// workerOf parses 0/4.
func workerOf(share *loadtest.Share) func(string) error {
	return func(text string) error {
		index, of, found := strings.Cut(text, "/")
		i, wrongIndex := strconv.Atoi(index)
		n, wrongOf := strconv.Atoi(of)
		if !found || wrongIndex != nil || wrongOf != nil {
			return errors.New("want a number and how many workers there are, such as 0/4")
		}
		share.Index, share.Of = i, n
		return nil
	}
}

// split checks whether workers can share the stages, and stores their numbers and when
// they begin as output parameters of a workflow.
func split(_ context.Context, log *slog.Logger, args []string) error {
	var cfg loadtest.Config
	var workers int
	var delay time.Duration
	err := program.Flags(args, func(f *flag.FlagSet) {
		levels(f, &cfg)
		f.IntVar(&workers, "workers", 1, fmt.Sprintf("how many workers share the load, at most %d", loadtest.MaxWorkers))
		f.DurationVar(&delay, "delay", 0, "how long it takes until all workers have started; they begin together then")
	})
	if err != nil {
		return err
	}
	if workers < 1 || delay < 0 {
		return program.Inputf("-workers is at least 1, and -delay at least 0")
	}
	numbers := []string{}
	for i := range workers {
		cfg.Share = loadtest.Share{Index: i, Of: workers}
		if err := cfg.Check(); err != nil {
			return program.Input(err)
		}
		numbers = append(numbers, strconv.Itoa(i))
	}
	list, err := json.Marshal(numbers)
	if err != nil {
		return fmt.Errorf("listing the workers: %w", err)
	}
	if workers == 1 {
		delay = 0
	}
	begin := time.Now().UTC().Add(delay)
	log.Info("workers share the load", "workers", workers, "begin", begin)
	return errors.Join(step.Output("workers", string(list)), step.Output("begin", begin.Format(time.RFC3339Nano)))
}

// merge makes one report of those of workers.
func merge(_ context.Context, _ *slog.Logger, args []string) error {
	var cfg loadtest.Config
	var parts []string
	var file, output string
	err := program.Flags(args, func(f *flag.FlagSet) {
		limits(f, &cfg)
		f.Func("parts", "the workers' reports: a JSON array of what -part has stored", func(text string) error { return json.Unmarshal([]byte(text), &parts) })
		f.StringVar(&file, "json", "", "file to write the report to, as JSON")
		f.StringVar(&output, "output", "", "workflow output parameter to store the report in, as JSON")
	})
	if err != nil {
		return err
	}
	report, err := loadtest.Merge(parts, cfg)
	if err != nil {
		return program.Input(err)
	}
	return finish(&report, file, output)
}
