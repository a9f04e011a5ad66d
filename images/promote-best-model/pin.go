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

func pin(ctx context.Context, log *slog.Logger, args []string) error {
	var by person
	var off bool
	err := program.Flags(args, func(f *flag.FlagSet) {
		by.flags(f)
		f.BoolVar(&off, "off", false, "allow automatic promotion again")
	})
	if err != nil {
		return err
	}
	if (by.why == "") != off {
		return program.Inputf("say why with -why: the history keeps it; or -off to allow automatic promotion again")
	}
	return by.decide(ctx, log, func(reg *registry.Registry, events *history.Log) (history.Event, error) {
		return promote.Pin(ctx, reg, events, log, by.why, by.name)
	})
}
