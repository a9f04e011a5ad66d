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

func challenge(ctx context.Context, log *slog.Logger, args []string) error {
	var by person
	var version int
	var off bool
	err := program.Flags(args, func(f *flag.FlagSet) {
		f.IntVar(&version, "version", 0, "number of the version to compare with the one in production")
		by.flags(f)
		f.BoolVar(&off, "off", false, "leave the choice to the next pipeline")
	})
	if err != nil {
		return err
	}
	if off != (version == 0) || off != (by.why == "") || version < 0 {
		return program.Inputf("say which version with -version and why with -why: the history keeps it; or only -off to leave the choice to the next pipeline")
	}
	signer, trusted, err := keys()
	if err != nil {
		return err
	}
	return by.decide(ctx, log, func(reg *registry.Registry, events *history.Log) (history.Event, error) {
		return promote.Challenge(ctx, promote.ChallengeConfig{
			Registry: reg, History: events, Signer: signer, Trusted: trusted,
			Version: version, Why: by.why, By: by.name, Log: log,
		})
	})
}
