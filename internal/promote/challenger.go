package promote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"mlops/internal/history"
	"mlops/internal/registry"
	"mlops/internal/signature"
)

// runnerUp returns the best candidate that could be in production and is not, nil where
// there is none.
func (c *Comparison) runnerUp(production int) *Contender {
	var best *Contender
	for i := range c.Contenders {
		e := &c.Contenders[i]
		if e.Version.Number != production && c.eligible(e) && (best == nil || c.Spec.Better(e.Metric, best.Metric)) {
			best = e
		}
	}
	return best
}

// appoint gives the alias challenger to the best candidate that was not promoted, or
// takes it away where there is none. A challenger that somebody chose stays until it is
// in production.
func appoint(ctx context.Context, c Config, from *Comparison, d Decision, subjects []signature.Subject) error {
	chosen, err := c.Registry.Chosen(ctx)
	if err != nil {
		return err
	}
	if chosen != "" {
		now, err := c.Registry.Challenger(ctx)
		if err == nil && now.Number != d.Version {
			return nil
		}
		if err != nil && !errors.Is(err, registry.ErrNoChallenger) {
			return err
		}
	}
	next := from.runnerUp(d.Version)
	if next == nil {
		return c.Registry.Unchallenge(ctx)
	}
	for i := range from.Contenders {
		if from.Contenders[i].Version.Number != next.Version.Number {
			continue
		}
		if err := signChallenger(ctx, c.Registry, c.Signer, next.Version, subjects[i]); err != nil {
			return err
		}
	}
	c.Log.Info("challenger", "model", c.Spec.Model, "version", next.Version.Number)
	return c.Registry.Challenge(ctx, next.Version, "")
}

// signChallenger signs the files of a version for being compared, unless they are signed.
func signChallenger(ctx context.Context, reg *registry.Registry, signer *signature.Signer, v registry.Version, subject signature.Subject) error {
	if signer == nil || v.Comparable(signer.Trusted(), subject) == nil {
		return nil
	}
	subject.Challenger = true
	return reg.SignChallenger(ctx, v, signer.Sign(subject))
}

// ChallengeConfig is what Challenge needs.
type ChallengeConfig struct {
	Registry *registry.Registry
	History  *history.Log      // nil: nobody remembers
	Signer   *signature.Signer // nil: nothing is signed
	Trusted  signature.Trusted // keys whose signatures count besides the signer's

	Version int    // 0: the gate chooses again
	Why     string // a sentence for the history; none where Version is 0
	By      string // a workflow or a person
	Log     *slog.Logger
}

// Challenge makes a version the challenger until it is in production, or leaves the
// choice to the gate again. The error is ErrRefused where another try can't help.
func Challenge(ctx context.Context, c ChallengeConfig) (history.Event, error) {
	if err := said(&c.Why, &c.By); err != nil {
		return history.Event{}, err
	}
	model := c.Registry.Model()
	current, err := c.Registry.Production(ctx)
	if errors.Is(err, registry.ErrNoVersion) {
		return history.Event{}, refusal(fmt.Sprintf("no version of %s is in production: there is nothing to compare with", model))
	}
	if err != nil {
		return history.Event{}, err
	}
	e := history.Event{Model: model, By: c.By, From: current.Number, To: current.Number}
	if c.Version == 0 {
		now, err := c.Registry.Challenger(ctx)
		if errors.Is(err, registry.ErrNoChallenger) {
			return history.Event{}, refusal(fmt.Sprintf("%s has no challenger", model))
		}
		if err != nil {
			return history.Event{}, err
		}
		e.Kind, e.Why = history.Unchallenged, fmt.Sprintf("version %d is the challenger no more; the next pipeline chooses one", now.Number)
		if err := remembered(ctx, c.History, e, func() error { return c.Registry.Unchallenge(ctx) }); err != nil {
			return e, err
		}
		share(ctx, c.Registry, c.History, c.Log)
		return e, nil
	}
	if c.Version == current.Number {
		return history.Event{}, refusal(fmt.Sprintf("version %d of %s is in production: another one has to be compared with it", c.Version, model))
	}
	v, subject, err := rival(ctx, c, current)
	if err != nil {
		return history.Event{}, err
	}
	if err := signChallenger(ctx, c.Registry, c.Signer, v, subject); err != nil {
		return history.Event{}, err
	}
	e.Kind, e.Why = history.Challenged, fmt.Sprintf("version %d is compared with it: %s", v.Number, c.Why)
	if err := remembered(ctx, c.History, e, func() error { return c.Registry.Challenge(ctx, v, c.Why) }); err != nil {
		return e, err
	}
	share(ctx, c.Registry, c.History, c.Log)
	return e, nil
}

// rival returns the version that is to be the challenger, once it has been read.
func rival(ctx context.Context, c ChallengeConfig, current registry.Version) (registry.Version, signature.Subject, error) {
	none := func(err error) (registry.Version, signature.Subject, error) {
		return registry.Version{}, signature.Subject{}, err
	}
	all, err := c.Registry.Versions(ctx)
	if err != nil {
		return none(err)
	}
	var v registry.Version
	for _, other := range all {
		if other.Number == c.Version {
			v = other
		}
	}
	if v.Number == 0 {
		return none(refusal(fmt.Sprintf("%s has no version %d", c.Registry.Model(), c.Version)))
	}
	m, subject, err := c.Registry.Open(ctx, v)
	if errors.Is(err, registry.ErrUnusable) {
		return none(refusal(fmt.Sprintf("version %d of %s can't be served: %v", v.Number, v.Name, err)))
	}
	if err != nil {
		return none(err)
	}
	stored, err := storedSpec(ctx, c.Registry, current)
	if err != nil {
		return none(err)
	}
	if stored != nil {
		if found := differences(stored, m.Spec); len(found) > 0 {
			return none(refusal(fmt.Sprintf("version %d of %s predicts something else than version %d in production: %s", v.Number, v.Name, current.Number, strings.Join(found, "; "))))
		}
	}
	if err := genuine(ctx, Config{Registry: c.Registry, Signer: c.Signer, Trusted: c.Trusted, Spec: m.Spec, Log: c.Log}, v, subject, false); errors.Is(err, registry.ErrUnusable) {
		return none(refusal(err.Error()))
	} else if err != nil {
		return none(err)
	}
	if c.Signer == nil && len(c.Trusted) > 0 {
		if err := v.Comparable(c.Trusted, subject); err != nil {
			return none(refusal(fmt.Sprintf("version %d of %s: %v, and there is no key to sign it with: inference would not load it", v.Number, v.Name, err)))
		}
	}
	return v, subject, nil
}
