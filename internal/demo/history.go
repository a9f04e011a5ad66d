package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"mlops/internal/history"
	"mlops/internal/mlflow"
	"mlops/internal/overview"
	"mlops/internal/postgres"
	"mlops/internal/program"
	"mlops/internal/progress"
	"mlops/internal/promote"
	"mlops/internal/registry"
	"mlops/internal/signature"
)

// History writes what was in production of the demo's registered model, the newest
// first. An empty model is the only one that there is.
func History(ctx context.Context, c *Config, out io.Writer, model string, limit int) error {
	return withModel(ctx, c, model, func(m *servedModel) error {
		list, err := m.events.List(ctx, m.registry.Model(), limit)
		if err != nil {
			return err
		}
		return overview.WriteHistory(out, m.registry.Model(), list)
	})
}

// Rollback puts an earlier version of the demo's registered model back; see
// promote.Rollback.
func Rollback(ctx context.Context, c *Config, out io.Writer, model string, to int, why, by string) error {
	_, trusted, err := signingKeys(c)
	if err != nil {
		return err
	}
	return decide(ctx, c, out, model, func(m *servedModel) (history.Event, error) {
		return promote.Rollback(ctx, promote.RollbackConfig{
			Registry: m.registry, History: m.events, Trusted: trusted,
			To: to, Why: why, By: by, Log: slog.New(slog.DiscardHandler),
		})
	})
}

// Adopt puts a version that a notebook logged into production; see promote.Adopt.
func Adopt(ctx context.Context, c *Config, out io.Writer, model string, version int, anyway bool, why, by string) error {
	signer, _, err := signingKeys(c)
	if err != nil {
		return err
	}
	return decide(ctx, c, out, model, func(m *servedModel) (history.Event, error) {
		return promote.Adopt(ctx, promote.AdoptConfig{
			Registry: m.registry, History: m.events, Signer: signer,
			Version: version, Anyway: anyway, Why: why, By: by, Log: slog.New(slog.DiscardHandler),
		})
	})
}

// Pin stops automatic promotion of the demo's registered model, or allows it again
// where why is empty.
func Pin(ctx context.Context, c *Config, out io.Writer, model, why, by string) error {
	return decide(ctx, c, out, model, func(m *servedModel) (history.Event, error) {
		return promote.Pin(ctx, m.registry, m.events, slog.New(slog.DiscardHandler), why, by)
	})
}

// Challenge makes a version the challenger of the demo's registered model; see
// promote.Challenge.
func Challenge(ctx context.Context, c *Config, out io.Writer, model string, version int, why, by string) error {
	signer, trusted, err := signingKeys(c)
	if err != nil {
		return err
	}
	return decide(ctx, c, out, model, func(m *servedModel) (history.Event, error) {
		return promote.Challenge(ctx, promote.ChallengeConfig{
			Registry: m.registry, History: m.events, Signer: signer, Trusted: trusted,
			Version: version, Why: why, By: by, Log: slog.New(slog.DiscardHandler),
		})
	})
}

// Retain removes versions of the demo's registered model that need not stay, or says
// which those are; see promote.Retain.
func Retain(ctx context.Context, c *Config, out io.Writer, model string, keep promote.Retention, remove bool, by string) error {
	return locked(ctx, c, model, func(m *servedModel) error {
		done, err := promote.Retain(ctx, promote.RetainConfig{
			Registry: m.registry, History: m.events, Retention: keep, Remove: remove, By: by,
			Now: time.Now(), Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %s\n", done.Model, done.Words())
		for _, why := range slices.Sorted(maps.Keys(done.Kept)) {
			fmt.Fprintf(out, "  kept: %s, each %s\n", progress.Counted(int64(done.Kept[why]), "version"), why)
		}
		if !remove && len(done.Removed) > 0 {
			fmt.Fprintln(out, "Nothing was removed: -remove does it.")
		}
		return nil
	})
}

// signingKeys are the key that the demo signs versions with, and those that it trusts.
func signingKeys(c *Config) (*signature.Signer, signature.Trusted, error) {
	private, public, err := c.State.SigningKeys()
	if err != nil {
		return nil, nil, err
	}
	signer, err := signature.ReadSigner(private)
	if err != nil {
		return nil, nil, err
	}
	trusted, err := signature.ReadTrusted(public)
	return signer, trusted, err
}

// decide does what somebody asked for, under the gate's lock, and says it.
func decide(ctx context.Context, c *Config, out io.Writer, model string, do func(*servedModel) (history.Event, error)) error {
	return locked(ctx, c, model, func(m *servedModel) error {
		e, err := do(m)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(out, overview.Happened(e))
		return err
	})
}

// locked works on a model of the demo under the gate's lock.
func locked(ctx context.Context, c *Config, model string, work func(*servedModel) error) error {
	return withModel(ctx, c, model, func(m *servedModel) error {
		lock := postgres.NewSession(m.postgres, m.postgres.Clean, "promote "+m.registry.Model(), slog.New(slog.DiscardHandler))
		defer lock.Close()
		if _, err := lock.Conn(ctx); err != nil {
			return err
		}
		err := work(m)
		if errors.Is(err, promote.ErrRefused) {
			return program.Input(err)
		}
		return err
	})
}

// servedModel is a registered model of a running demo.
type servedModel struct {
	registry *registry.Registry
	events   *history.Log
	postgres postgres.Config
}

func withModel(ctx context.Context, c *Config, model string, work func(*servedModel) error) error {
	sets, err := knownSets(c.State)
	if err != nil {
		return err
	}
	var models []string
	for _, k := range sets {
		models = append(models, k.Model)
	}
	switch {
	case model == "" && len(models) == 1:
		model = models[0]
	case model == "" && len(models) > 1:
		return program.Inputf("the demo has several models: say which one with -model (MODEL= of make): %s", strings.Join(models, ", "))
	case len(models) == 0:
		return program.Inputf("no demo has run in %s; make demo starts one", c.State.Dir)
	}
	ports := map[string]int{}
	for _, name := range []string{"postgres", "mlflow"} {
		r, err := c.State.Record(name)
		if err != nil {
			return err
		}
		if r == nil || !r.Alive() {
			return program.Inputf("%s is not running; make demo starts it", name)
		}
		ports[name] = r.Port
	}
	secrets, err := c.State.Secrets()
	if err != nil {
		return err
	}
	client, err := mlflow.New(fmt.Sprintf("http://127.0.0.1:%d", ports["mlflow"]), mlflow.Options{UserAgent: "mlops"})
	if err != nil {
		return err
	}
	pg := postgres.Config{ConnString: secrets.StepsURL(ports["postgres"], "clean")}.Defaults()
	session := postgres.NewSession(pg, pg.Clean, "", slog.New(slog.DiscardHandler))
	defer session.Close()
	return work(&servedModel{registry: registry.New(client, model), events: history.New(session), postgres: pg})
}
