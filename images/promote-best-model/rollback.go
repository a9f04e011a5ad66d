package main

import (
	"context"
	"flag"
	"log/slog"

	"mlops/internal/history"
	"mlops/internal/program"
	"mlops/internal/promote"
	"mlops/internal/registry"
)

func rollback(ctx context.Context, log *slog.Logger, args []string) error {
	var by person
	var to int
	err := program.Flags(args, func(f *flag.FlagSet) {
		f.IntVar(&to, "to", 0, "number of the version to put back (default: the one before the one in production)")
		by.flags(f)
	})
	if err != nil {
		return err
	}
	if by.why == "" {
		return program.Inputf("say why with -why: the history keeps it")
	}
	_, trusted, err := keys()
	if err != nil {
		return err
	}
	return by.decide(ctx, log, func(reg *registry.Registry, events *history.Log) (history.Event, error) {
		return promote.Rollback(ctx, promote.RollbackConfig{
			Registry: reg, History: events, Trusted: trusted,
			To: to, Why: by.why, By: by.name, Log: log,
		})
	})
}
