package promote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"mlops/internal/dataset"
	"mlops/internal/history"
	"mlops/internal/registry"
	"mlops/internal/signature"
)

// AdoptConfig is what Adopt needs.
type AdoptConfig struct {
	Registry *registry.Registry
	History  *history.Log      // nil: nobody remembers
	Signer   *signature.Signer // nil: nothing is signed
	Trusted  signature.Trusted // keys whose signatures count besides the signer's

	Version int  // number of the version; 0: the newest one
	Anyway  bool // even if a pipeline trained it, or requests that are answered today would be refused
	Why     string
	By      string // a workflow or a person
	Log     *slog.Logger
}

// Adopt puts a version that a notebook logged into production, and returns what it
// did. Such a version was never at the gate: it is read and checked as the server reads
// it, signed, and the decision is noted. One of a pipeline's, which the gate has left out,
// is taken if its number is given and Anyway is set: a champion may have used a leak. The
// error is ErrRefused if it can't be served, with the reason.
//
// It may be killed at any moment and run again: a version that is in production
// already, because somebody moved the alias to it, gets what it lacks.
func Adopt(ctx context.Context, c AdoptConfig) (history.Event, error) {
	if err := said(&c.Why, &c.By); err != nil {
		return history.Event{}, err
	}
	name := c.Registry.Model()
	current, err := c.Registry.Repair(ctx)
	if err != nil && !errors.Is(err, registry.ErrNoVersion) {
		return history.Event{}, err
	}
	if c.History != nil {
		if _, err := c.History.Settle(ctx, name, current.Number); err != nil {
			return history.Event{}, err
		}
		if err := c.History.Found(ctx, name, current.Number, c.By); err != nil {
			return history.Event{}, err
		}
	}
	v, err := c.version(ctx)
	if err != nil {
		return history.Event{}, err
	}
	m, subject, err := c.Registry.Open(ctx, v)
	source := "adopted from a notebook: "
	if err == nil && !m.FromNotebook() {
		if !c.Anyway || c.Version == 0 {
			return history.Event{}, refusal(fmt.Sprintf("version %d of %s was trained by a pipeline: promote-best-model decides on it, unless you name the version and say anyway", v.Number, name))
		}
		source = "put into production by a person, past the gate: "
		err = asTrained(ctx, Config{History: c.History}, v, subject)
	}
	if err == nil && v.Signature != "" {
		err = genuine(ctx, Config{Registry: c.Registry, Signer: c.Signer, Trusted: c.Trusted, Spec: m.Spec, Log: c.Log}, v, subject, false)
	}
	if errors.Is(err, registry.ErrUnusable) {
		return history.Event{}, refusal(fmt.Sprintf("version %d of %s can't be served: %v", v.Number, name, err))
	}
	if err != nil {
		return history.Event{}, err
	}
	if current.Number != v.Number {
		if err := c.mayReplace(ctx, current, m.Spec); err != nil {
			return history.Event{}, err
		}
	}
	if err := sign(ctx, Config{Registry: c.Registry, Signer: c.Signer, Spec: &dataset.Spec{Model: name}, Log: c.Log}, v, subject); err != nil {
		return history.Event{}, err
	}
	e := history.Event{Model: name, Kind: history.Adopted, By: c.By, From: current.Number, To: v.Number, Why: c.Why}
	err = remembered(ctx, c.History, e, func() error {
		if err := c.Registry.Promote(ctx, v); err != nil {
			return err
		}
		return c.Registry.Note(ctx, v, registry.Promoted, source+c.Why)
	})
	if err != nil {
		return history.Event{}, err
	}
	share(ctx, c.Registry, c.History, c.Log)
	c.Log.Info("adopted", "model", name, "from", e.From, "to", e.To, "why", e.Why)
	return e, nil
}

// version returns the version to adopt.
func (c *AdoptConfig) version(ctx context.Context) (registry.Version, error) {
	all, err := c.Registry.Versions(ctx)
	if err != nil {
		return registry.Version{}, err
	}
	if len(all) == 0 {
		return registry.Version{}, refusal(fmt.Sprintf("%s has no version: register one with log_model(..., registered_model_name=%q)", c.Registry.Model(), c.Registry.Model()))
	}
	if c.Version == 0 {
		return all[len(all)-1], nil
	}
	at := slices.IndexFunc(all, func(v registry.Version) bool { return v.Number == c.Version })
	if at < 0 {
		return registry.Version{}, refusal(fmt.Sprintf("%s has no version %d; the newest is %d", c.Registry.Model(), c.Version, all[len(all)-1].Number))
	}
	return all[at], nil
}

// mayReplace returns an error if the version in production is pinned, or takes
// requests that the spec's version would refuse.
func (c *AdoptConfig) mayReplace(ctx context.Context, current registry.Version, spec *dataset.Spec) error {
	pinned, err := c.Registry.Pinned(ctx)
	if err != nil {
		return err
	}
	if pinned != "" {
		return refusal(fmt.Sprintf("%s is pinned (%s): mlops pin -off (make pin OFF=1) allows another version", c.Registry.Model(), pinned))
	}
	if current.Number == 0 || c.Anyway {
		return nil
	}
	champion, err := c.Registry.Load(ctx, current)
	if errors.Is(err, registry.ErrUnusable) {
		return nil // it answers nobody
	}
	if err != nil {
		return err
	}
	if broken := breaks(champion.Spec, spec); len(broken) > 0 {
		return refusal(fmt.Sprintf("clients of version %d would get errors: %s; register the model under another name, or say -anyway", current.Number, strings.Join(broken, "; ")))
	}
	return nil
}

// breaks lists what clients of a spec's version would miss in another's.
func breaks(before, after *dataset.Spec) []string {
	var broken []string
	if before.Task != after.Task {
		broken = append(broken, fmt.Sprintf("predictions are of task %s instead of %s", after.Task, before.Task))
	}
	var unknown []string
	for i := range before.Columns {
		name := before.Columns[i].Name
		if name != before.Target.Column && after.Column(name) < 0 {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		more := ""
		if n := len(unknown) - 5; n > 0 {
			unknown, more = unknown[:5], fmt.Sprintf(" and %d more", n)
		}
		broken = append(broken, fmt.Sprintf("it has no column %s%s", strings.Join(unknown, ", "), more))
	}
	return broken
}
