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

// person is who gave a command, and why, for the history.
type person struct{ name, why string }

func (p *person) flags(f *flag.FlagSet) {
	p.nameFlag(f)
	f.StringVar(&p.why, "why", "", "why, for the history")
}

func (p *person) nameFlag(f *flag.FlagSet) {
	p.name = step.By()
	f.Func("by", "who asked for it (default: the workflow)", func(name string) error {
		if name != "" { // the workflows' parameter is empty by default
			p.name = name
		}
		return nil
	})
}

// decide does what the person asked for, under the gate's lock.
func (p *person) decide(ctx context.Context, log *slog.Logger, do func(reg *registry.Registry, events *history.Log) (history.Event, error)) error {
	return locked(ctx, log, func(reg *registry.Registry, events *history.Log) error {
		e, err := do(reg, events)
		if err != nil {
			return err
		}
		log.Info("done", "event", e.Kind, "model", e.Model, "from", e.From, "to", e.To, "why", e.Why)
		return step.Output("promoted", fmt.Sprint(e.To))
	})
}

// locked works on the spec's registered model under the gate's lock.
func locked(ctx context.Context, log *slog.Logger, work func(reg *registry.Registry, events *history.Log) error) error {
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
	err = work(registry.New(client, spec.Model), events)
	if errors.Is(err, promote.ErrRefused) {
		return program.Input(err)
	}
	return err
}
