// Package promote is the gate before production: it scores the candidates of
// the newest training and the version in production on the same validation rows
// and moves the alias only to a candidate that is better.
package promote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"mlops/internal/dataset"
	"mlops/internal/history"
	"mlops/internal/model"
	"mlops/internal/registry"
	"mlops/internal/signature"
)

// Config is what Run needs.
type Config struct {
	Spec       *dataset.Spec
	DataDigest string
	Rows       dataset.Rows
	Registry   *registry.Registry
	Log        *slog.Logger

	Signer  *signature.Signer // signs what is in production; nil: nothing is signed
	Trusted signature.Trusted // keys whose signatures count besides the signer's

	History *history.Log // remembers the decision; nil: nobody does
	By      string       // who decides: a workflow or a person
}

// Run compares and, where a candidate is better, promotes it. The error is
// ErrRefused where no candidate may be promoted and another try can't help; the
// decision then says so too.
//
// It may be killed at any moment and run again. The alias production moves in
// one call to MLflow; what follows from it (the alias previous before it, the
// tags after it) is repaired at the start of the next run.
func Run(ctx context.Context, c Config) (Decision, error) {
	// First of all: what was rolled back is known only after it.
	champion, err := c.Registry.Repair(ctx)
	if err != nil && !errors.Is(err, registry.ErrNoVersion) {
		return Decision{}, err
	}
	candidates, err := c.Registry.Trained(ctx, registry.Training(c.Spec, c.DataDigest))
	if err != nil {
		return Decision{}, err
	}
	if len(candidates) == 0 {
		return Decision{}, fmt.Errorf("no version of %s was trained on the data as they are now with this spec: run train-model first", c.Spec.Model)
	}
	comparison := Comparison{Spec: c.Spec}
	for _, v := range candidates {
		comparison.Contenders = append(comparison.Contenders, Contender{Version: v, Candidate: true})
	}
	if err := addChampion(ctx, c.Registry, champion, &comparison); err != nil {
		return Decision{}, err
	}
	if comparison.Pinned, err = c.Registry.Pinned(ctx); err != nil {
		return Decision{}, err
	}
	if c.History != nil { // what a promotion that was killed had announced
		if _, err := c.History.Settle(ctx, c.Spec.Model, comparison.Champion.Number); err != nil {
			return Decision{}, err
		}
		if err := c.History.Found(ctx, c.Spec.Model, comparison.Champion.Number, c.By); err != nil {
			return Decision{}, err
		}
	}
	// Where Decide will refuse, nothing has to be scored.
	var subjects []signature.Subject
	if conflict(comparison.Champion, comparison.ChampionSpec, c.Spec) == nil {
		var models []*model.Model
		if models, subjects, err = load(ctx, c, comparison.Contenders, comparison.Champion); err != nil {
			return Decision{}, err
		}
		if err = score(ctx, c, &comparison, models); err != nil {
			return Decision{}, err
		}
	}
	d := Decide(comparison)
	for i, subject := range subjects {
		if e := comparison.Contenders[i]; e.Version.Number == d.Version && e.Unusable == nil {
			if err := sign(ctx, c, e.Version, subject); err != nil {
				return Decision{}, err
			}
		}
	}
	if err := remembered(ctx, c.History, event(c, comparison, d), func() error { return apply(ctx, c, comparison, d) }); err != nil {
		return Decision{}, err
	}
	if subjects != nil {
		if err := appoint(ctx, c, &comparison, d, subjects); err != nil {
			return Decision{}, err
		}
	}
	share(ctx, c.Registry, c.History, c.Log)
	c.Log.Info("decided", "model", c.Spec.Model, "version", d.Version, "promoted", d.Promoted, "reason", d.Reason)
	return d, d.Err
}

// addChampion adds the version in production, if there is one.
func addChampion(ctx context.Context, reg *registry.Registry, champion registry.Version, c *Comparison) (err error) {
	if champion.Number == 0 {
		return nil
	}
	c.Champion = champion
	if c.ChampionSpec, err = storedSpec(ctx, reg, champion); err != nil {
		return err
	}
	for _, e := range c.Contenders {
		if e.Version.Number == champion.Number {
			return nil
		}
	}
	c.Contenders = append(c.Contenders, Contender{Version: champion})
	return nil
}

// apply makes the registry what was decided.
func apply(ctx context.Context, cfg Config, c Comparison, d Decision) error {
	if d.Promoted {
		for _, e := range c.Contenders {
			if e.Version.Number != d.Version {
				continue
			}
			if err := cfg.Registry.Promote(ctx, e.Version); err != nil {
				return err
			}
		}
	}
	for _, n := range d.Notes {
		if err := note(ctx, cfg, c, n); err != nil {
			return err
		}
	}
	return nil
}

// note leaves a note, of a candidate that was scored with all that was looked at.
func note(ctx context.Context, cfg Config, c Comparison, n Note) error {
	for i := range c.Contenders {
		e := &c.Contenders[i]
		if e.Version.Number != n.Version.Number {
			continue
		}
		if e.Unusable != nil {
			// What made it unusable, such as a deleted run, may be in the way of the note too.
			if err := cfg.Registry.Note(ctx, n.Version, n.Outcome, n.Reason); err != nil {
				cfg.Log.Warn("can't note on a version why it was refused", "version", n.Version.Number, "error", err)
			}
			return ctx.Err()
		}
		if !e.Candidate || c.Rows == 0 || n.Outcome == registry.RolledBack || n.Outcome == registry.Replaced {
			continue
		}
		text, tags, err := c.record(e, n)
		if err != nil {
			return err
		}
		return cfg.Registry.NoteDecision(ctx, n.Version, n.Outcome, n.Reason, text, tags)
	}
	return cfg.Registry.Note(ctx, n.Version, n.Outcome, n.Reason)
}

// load reads the contenders' models, nil for one that is unusable, and what their
// signatures are over. The error is one that another try may fix.
func load(ctx context.Context, c Config, contenders []Contender, champion registry.Version) ([]*model.Model, []signature.Subject, error) {
	models, subjects := make([]*model.Model, len(contenders)), make([]signature.Subject, len(contenders))
	for i := range contenders {
		e := &contenders[i]
		m, subject, err := c.Registry.Open(ctx, e.Version)
		if err == nil && !e.Candidate && !m.Serving.Synthetic && !c.Spec.RealSamples() {
			err = fmt.Errorf("version %d of %s shows real rows to everyone, and the spec doesn't say samples: real: %w", e.Version.Number, c.Spec.Model, registry.ErrUnusable)
		}
		if err == nil {
			err = genuine(ctx, c, e.Version, subject, e.Version.Number == champion.Number)
		}
		if err == nil && e.Candidate {
			err = asTrained(ctx, c, e.Version, subject)
		}
		if err == nil {
			if other := comparable(m, c.Spec); other != nil {
				err = fmt.Errorf("version %d of %s: %w: %w", e.Version.Number, c.Spec.Model, other, registry.ErrUnusable)
			}
		}
		if errors.Is(err, registry.ErrUnusable) {
			c.Log.Error("version can't be served", "version", e.Version.Number, "reason", err)
			e.Unusable = err
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		models[i], subjects[i] = m, subject
	}
	return models, subjects, nil
}
