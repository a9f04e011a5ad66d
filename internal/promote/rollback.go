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

// RollbackConfig is what Rollback needs.
type RollbackConfig struct {
	Registry *registry.Registry
	History  *history.Log      // nil: nobody remembers
	Trusted  signature.Trusted // keys whose signatures count; none: nothing is verified

	To  int    // number of the version to put back; 0: the one before the one in production
	Why string // a sentence for the history
	By  string // a workflow or a person
	Log *slog.Logger
}

// Rollback puts a version that was in production back, and returns what it did.
// The version that it takes out isn't promoted again by the gate; a new training
// may be. The error is ErrRefused where another try can't help.
//
// It may be killed at any moment and run again: where the alias had moved already,
// it ends what was begun.
func Rollback(ctx context.Context, c RollbackConfig) (history.Event, error) {
	if err := said(&c.Why, &c.By); err != nil {
		return history.Event{}, err
	}
	current, err := c.Registry.Repair(ctx)
	if errors.Is(err, registry.ErrNoVersion) {
		return history.Event{}, refusal(fmt.Sprintf("no version of %s is in production: there is nothing to roll back", c.Registry.Model()))
	}
	if err != nil {
		return history.Event{}, err
	}
	if c.History != nil {
		begun, err := c.History.Settle(ctx, c.Registry.Model(), current.Number)
		if err != nil {
			return history.Event{}, err
		}
		if begun != nil && begun.Kind == history.RolledBack && (c.To == 0 || c.To == begun.To) {
			err := c.Registry.Note(ctx, current, registry.Promoted, registry.Restored(begun.From, begun.Why))
			if err == nil {
				share(ctx, c.Registry, c.History, c.Log)
			}
			return *begun, err
		}
	}
	if c.History != nil {
		if err := c.History.Found(ctx, c.Registry.Model(), current.Number, c.By); err != nil {
			return history.Event{}, err
		}
	}
	all, err := c.Registry.Versions(ctx)
	if err != nil {
		return history.Event{}, err
	}
	back, err := target(all, current, c.To)
	if err != nil {
		return history.Event{}, err
	}
	m, subject, err := c.Registry.Open(ctx, back)
	if err == nil {
		err = genuine(ctx, Config{Registry: c.Registry, Trusted: c.Trusted, Spec: m.Spec, Log: c.Log}, back, subject, true)
	}
	if errors.Is(err, registry.ErrUnusable) {
		return history.Event{}, refusal(fmt.Sprintf("version %d of %s can't be served any more: %v", back.Number, back.Name, err))
	}
	if err != nil {
		return history.Event{}, err
	}
	e := history.Event{Model: back.Name, Kind: history.RolledBack, By: c.By, From: current.Number, To: back.Number, Why: c.Why}
	err = remembered(ctx, c.History, e, func() error { return c.Registry.Restore(ctx, back, current, c.Why) })
	if err != nil {
		return history.Event{}, err
	}
	share(ctx, c.Registry, c.History, c.Log)
	c.Log.Info("rolled back", "model", e.Model, "from", e.From, "to", e.To, "why", e.Why)
	return e, nil
}

// target returns the version to roll back to: that of the number, or the one
// that the version in production replaced.
func target(all []registry.Version, current registry.Version, number int) (registry.Version, error) {
	var earlier []string
	for _, v := range all {
		if v.Number != current.Number && v.WasProduction() {
			earlier = append(earlier, fmt.Sprint(v.Number))
		}
	}
	choice := "no other version was ever in production"
	if len(earlier) > 0 {
		choice = "earlier in production were " + strings.Join(earlier, ", ")
	}
	said := number
	if number == 0 {
		number = current.Replaces
	}
	for _, v := range all {
		switch {
		case v.Number != number:
			continue
		case v.Number == current.Number:
			return v, refusal(fmt.Sprintf("version %d of %s is in production already; %s", number, v.Name, choice))
		case !v.WasProduction():
			return v, refusal(fmt.Sprintf("version %d of %s was never in production (%s); %s", number, v.Name, reason(v), choice))
		case said == 0 && v.Outcome == registry.RolledBack:
			return v, refusal(fmt.Sprintf("version %d of %s, which version %d replaced, was rolled back itself: say which one with -to (TO= of make); %s", number, v.Name, current.Number, choice))
		}
		return v, nil
	}
	if said == 0 {
		return registry.Version{}, refusal(fmt.Sprintf("version %d of %s is the first in production: there is none to roll back to; %s", current.Number, current.Name, choice))
	}
	return registry.Version{}, refusal(fmt.Sprintf("%s has no version %d; %s", current.Name, number, choice))
}

func reason(v registry.Version) string {
	if v.Reason == "" {
		return "the gate has not decided on it"
	}
	return v.Reason
}

// Pin stops automatic promotion of a registered model, or allows it again where
// why is empty, and returns what it did.
func Pin(ctx context.Context, reg *registry.Registry, events *history.Log, log *slog.Logger, why, by string) (history.Event, error) {
	if err := said(&why, &by); err != nil {
		return history.Event{}, err
	}
	current, err := reg.Production(ctx)
	if errors.Is(err, registry.ErrNoVersion) {
		return history.Event{}, refusal(fmt.Sprintf("no version of %s is in production: there is nothing to pin", reg.Model()))
	}
	if err != nil {
		return history.Event{}, err
	}
	before, err := reg.Pinned(ctx)
	if err != nil {
		return history.Event{}, err
	}
	e := history.Event{Model: reg.Model(), Kind: history.Pinned, By: by, From: current.Number, To: current.Number, Why: why}
	change := func() error { return reg.Pin(ctx, why) }
	if why == "" {
		if before == "" {
			return history.Event{}, refusal(fmt.Sprintf("%s is not pinned", reg.Model()))
		}
		e.Kind, e.Why = history.Unpinned, "was pinned: "+before
		change = func() error { return reg.Unpin(ctx) }
	}
	if err := remembered(ctx, events, e, change); err != nil {
		return e, err
	}
	share(ctx, reg, events, log)
	return e, nil
}
