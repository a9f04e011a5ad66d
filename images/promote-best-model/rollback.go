package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"

	"mlops/internal/history"
	"mlops/internal/mlflow"
	"mlops/internal/postgres"
	"mlops/internal/program"
	"mlops/internal/promote"
	"mlops/internal/registry"
	"mlops/internal/step"
)

func rollback(ctx context.Context, log *slog.Logger, args []string) error {
	var to int
	var why, by string
	err := program.Flags(args, func(f *flag.FlagSet) {
		f.IntVar(&to, "to", 0, "number of the version to put back (default: the one before the one in production)")
		f.StringVar(&why, "why", "", "why, for the history")
		f.StringVar(&by, "by", "", "who asked for it (default: the workflow)")
	})
	if err != nil {
		return err
	}
	if why == "" {
		return program.Inputf("say why with -why: the history keeps it")
	}
	_, trusted, err := keys()
	if err != nil {
		return err
	}
	return person(ctx, log, by, func(reg *registry.Registry, events *history.Log, by string) (history.Event, error) {
		return promote.Rollback(ctx, promote.RollbackConfig{
			Registry: reg, History: events, Trusted: trusted,
			To: to, Why: why, By: by, Log: log,
		})
	})
}

func pin(ctx context.Context, log *slog.Logger, args []string) error {
	var why, by string
	var off bool
	err := program.Flags(args, func(f *flag.FlagSet) {
		f.StringVar(&why, "why", "", "why, for the history")
		f.StringVar(&by, "by", "", "who asked for it (default: the workflow)")
		f.BoolVar(&off, "off", false, "allow automatic promotion again")
	})
	if err != nil {
		return err
	}
	if (why == "") != off {
		return program.Inputf("say why with -why: the history keeps it; or -off to allow automatic promotion again")
	}
	return person(ctx, log, by, func(reg *registry.Registry, events *history.Log, by string) (history.Event, error) {
		return promote.Pin(ctx, reg, events, log, why, by)
	})
}

// person does what somebody asked for, under the gate's lock.
func person(ctx context.Context, log *slog.Logger, by string, do func(reg *registry.Registry, events *history.Log, by string) (history.Event, error)) error {
	spec, err := step.Spec()
	if err != nil {
		return err
	}
	client, err := step.MLflow(mlflow.Options{UserAgent: "mlops-promote-best-model"})
	if err != nil {
		return err
	}
	cfg := step.Postgres().Defaults()
	lock := postgres.NewSession(cfg, cfg.Clean, "promote "+spec.Model, log)
	defer lock.Close()
	if _, err := lock.Conn(ctx); err != nil {
		return err
	}
	events, session := step.History(log)
	defer session.Close()
	if by == "" {
		by = step.By()
	}
	e, err := do(registry.New(client, spec.Model), events, by)
	if errors.Is(err, promote.ErrRefused) {
		return program.Input(err)
	}
	if err != nil {
		return err
	}
	log.Info("done", "event", e.Kind, "model", e.Model, "from", e.From, "to", e.To, "why", e.Why)
	return step.Output("promoted", fmt.Sprint(e.To))
}
