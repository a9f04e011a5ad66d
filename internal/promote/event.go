package promote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"unicode/utf8"

	"mlops/internal/history"
	"mlops/internal/progress"
	"mlops/internal/registry"
)

// A reason that a person gives is bounded: it becomes a tag in MLflow, which keeps 5,000
// characters of one, and a line of the history.
const (
	maxWhy = 1000 // characters
	maxBy  = 200
)

// said puts the words of a person who gives a command into one line that does nothing to
// whoever reads it.
func said(why, by *string) error {
	none := *why == ""
	if *why, *by = progress.OneLine(*why), progress.OneLine(*by); *why == "" && !none { // none means something else
		return refusal("say why: the history keeps it")
	}
	for _, w := range []struct {
		what, text string
		most       int
	}{{"why", *why, maxWhy}, {"who asked for it", *by, maxBy}} {
		if n := utf8.RuneCountInString(w.text); n > w.most {
			return refusal(fmt.Sprintf("%s has %s characters; the history keeps %s", w.what, progress.Count(int64(n)), progress.Count(int64(w.most))))
		}
	}
	return nil
}

// event is a decision as the history remembers it.
func event(c Config, from Comparison, d Decision) history.Event {
	e := history.Event{
		Model: c.Spec.Model, Kind: history.Kept, By: c.By,
		From: from.Champion.Number, To: d.Version, Why: d.Reason,
	}
	switch {
	case d.Promoted:
		e.Kind = history.Promoted
	case d.Err != nil:
		e.Kind = history.Refused
	}
	if from.Rows == 0 {
		return e
	}
	e.Figures = &history.Figures{Metric: from.Spec.Metrics[0], Rows: from.Rows}
	for i := range from.Contenders {
		contender := &from.Contenders[i]
		if contender.Unusable != nil {
			continue
		}
		if contender.Version.Number == e.From {
			e.Figures.From, e.Figures.FromInterval = &contender.Metric, contender.Interval
		}
		if contender.Version.Number == e.To {
			e.Figures.To, e.Figures.ToInterval = &contender.Metric, contender.Interval
		}
	}
	if r := from.runnerUp(d.Version); r != nil && r.Version.Number != e.From {
		e.Figures.Rival = &history.Rival{Version: r.Version.Number, Value: r.Metric, Interval: r.Interval}
	}
	return e
}

// remembered does what the event is about, and notes it. Where the alias
// production moves, the event is announced before, so that a run that is killed
// leaves no promotion without its line.
func remembered(ctx context.Context, log *history.Log, e history.Event, do func() error) error {
	if log == nil {
		return do()
	}
	if e.From == e.To {
		if err := do(); err != nil {
			return err
		}
		return log.Add(ctx, e)
	}
	if err := log.Announce(ctx, e); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	_, err := log.Settle(ctx, e.Model, e.To)
	return err
}

// share leaves the history with the version in production, for the server and its page,
// which may not read the table. The table is the record, and the next decision leaves it
// again: a failure is logged and undoes nothing.
func share(ctx context.Context, reg *registry.Registry, events *history.Log, log *slog.Logger) {
	if events == nil {
		return
	}
	recent, err := events.Recent(ctx, reg.Model(), registry.MostEvents)
	if err == nil && recent.Total > 0 {
		var current registry.Version
		current, err = reg.Production(ctx)
		if errors.Is(err, registry.ErrNoVersion) {
			return
		}
		if err == nil {
			err = reg.ShareEvents(ctx, current, recent)
		}
	}
	if err != nil {
		log.Warn("the history could not be left with the version in production; GET /model/history stays as it was", "error", err)
	}
}
