package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"time"

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

func challenge(ctx context.Context, log *slog.Logger, args []string) error {
	var version int
	var why, by string
	var off bool
	err := program.Flags(args, func(f *flag.FlagSet) {
		f.IntVar(&version, "version", 0, "number of the version to compare with the one in production")
		f.StringVar(&why, "why", "", "why, for the history")
		f.StringVar(&by, "by", "", "who asked for it (default: the workflow)")
		f.BoolVar(&off, "off", false, "leave the choice to the next pipeline")
	})
	if err != nil {
		return err
	}
	if off != (version == 0) || off != (why == "") || version < 0 {
		return program.Inputf("say which version with -version and why with -why: the history keeps it; or only -off to leave the choice to the next pipeline")
	}
	signer, trusted, err := keys()
	if err != nil {
		return err
	}
	return person(ctx, log, by, func(reg *registry.Registry, events *history.Log, by string) (history.Event, error) {
		return promote.Challenge(ctx, promote.ChallengeConfig{
			Registry: reg, History: events, Signer: signer, Trusted: trusted,
			Version: version, Why: why, By: by, Log: log,
		})
	})
}

func adopt(ctx context.Context, log *slog.Logger, args []string) error {
	var version int
	var why, by string
	var anyway bool
	err := program.Flags(args, func(f *flag.FlagSet) {
		f.IntVar(&version, "version", 0, "number of the version that a notebook logged (default: the newest)")
		f.StringVar(&why, "why", "", "why, for the history")
		f.StringVar(&by, "by", "", "who asked for it (default: the workflow)")
		f.BoolVar(&anyway, "anyway", false, "even if requests that are answered today would be refused")
	})
	if err != nil {
		return err
	}
	if why == "" || version < 0 {
		return program.Inputf("say why with -why: the history keeps it; and which version with -version, or leave that out for the newest")
	}
	signer, trusted, err := keys()
	if err != nil {
		return err
	}
	return person(ctx, log, by, func(reg *registry.Registry, events *history.Log, by string) (history.Event, error) {
		return promote.Adopt(ctx, promote.AdoptConfig{
			Registry: reg, History: events, Signer: signer, Trusted: trusted,
			Version: version, Anyway: anyway, Why: why, By: by, Log: log,
		})
	})
}

func retain(ctx context.Context, log *slog.Logger, args []string) error {
	var newest, days int
	var by string
	var remove bool
	err := program.Flags(args, func(f *flag.FlagSet) {
		f.IntVar(&newest, "newest", 20, "how many of the versions that could go stay")
		f.IntVar(&days, "days", 90, "and those that are younger, in days")
		f.StringVar(&by, "by", "", "who asked for it (default: the workflow)")
		f.BoolVar(&remove, "remove", false, "remove them; without it, only say which would go")
	})
	if err != nil {
		return err
	}
	return gated(ctx, log, by, func(reg *registry.Registry, events *history.Log, by string) error {
		out, err := promote.Retain(ctx, promote.RetainConfig{
			Registry: reg, History: events, By: by, Log: log, Now: time.Now(), Remove: remove,
			Retention: promote.Retention{Newest: newest, Age: time.Duration(days) * 24 * time.Hour},
		})
		if err != nil {
			return err
		}
		log.Info("retained", "model", out.Model, "removed", len(out.Removed), "bytes", out.Bytes, "done", out.Done, "said", out.Words())
		text, err := json.Marshal(out)
		if err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
		return step.Output("report", string(text))
	})
}

// person does what somebody asked for, under the gate's lock.
func person(ctx context.Context, log *slog.Logger, by string, do func(reg *registry.Registry, events *history.Log, by string) (history.Event, error)) error {
	return gated(ctx, log, by, func(reg *registry.Registry, events *history.Log, by string) error {
		e, err := do(reg, events, by)
		if err != nil {
			return err
		}
		log.Info("done", "event", e.Kind, "model", e.Model, "from", e.From, "to", e.To, "why", e.Why)
		return step.Output("promoted", fmt.Sprint(e.To))
	})
}

// gated works on the spec's registered model under the gate's lock.
func gated(ctx context.Context, log *slog.Logger, by string, work func(reg *registry.Registry, events *history.Log, by string) error) error {
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
	err = work(registry.New(client, spec.Model), events, by)
	if errors.Is(err, promote.ErrRefused) {
		return program.Input(err)
	}
	return err
}
