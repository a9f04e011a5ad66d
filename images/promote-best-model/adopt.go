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

func adopt(ctx context.Context, log *slog.Logger, args []string) error {
	var by person
	var version int
	var anyway bool
	err := program.Flags(args, func(f *flag.FlagSet) {
		f.IntVar(&version, "version", 0, "number of the version that a notebook logged (default: the newest)")
		by.flags(f)
		f.BoolVar(&anyway, "anyway", false, "even if a pipeline trained it, or requests that are answered today would be refused")
	})
	if err != nil {
		return err
	}
	if by.why == "" || version < 0 {
		return program.Inputf("say why with -why: the history keeps it; and which version with -version, or leave that out for the newest")
	}
	signer, trusted, err := keys()
	if err != nil {
		return err
	}
	return by.decide(ctx, log, func(reg *registry.Registry, events *history.Log) (history.Event, error) {
		return promote.Adopt(ctx, promote.AdoptConfig{
			Registry: reg, History: events, Signer: signer, Trusted: trusted,
			Version: version, Anyway: anyway, Why: by.why, By: by.name, Log: log,
		})
	})
}
