package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"mlops/internal/progress"
	"mlops/internal/workflow"
)

// display shows what is being done: tasks of our own in the same way as those of
// the workflow.
type display struct{ *progress.Reporter }

// do runs work as a task. What work returns is told beside the task's name; what
// it logs is shown while it runs.
func (d *display) do(name string, work func(log *slog.Logger) (string, error)) error {
	start := time.Now()
	event := workflow.Event{Task: name, Path: "demo." + name, State: workflow.Running}
	d.Observe(event)
	said, err := work(slog.New(&handler{display: d, event: event, start: start}))
	event.State, event.Message = workflow.Succeeded, said
	if err != nil {
		event.State, event.Message = workflow.Failed, ""
	}
	event.Elapsed = time.Since(start)
	d.Observe(event)
	return err
}

// handler shows a task's log: lines "progress" as its progress, warnings as its
// messages, the rest as lines of their own.
type handler struct {
	*display
	event workflow.Event
	start time.Time
}

func (h *handler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }
func (h *handler) WithAttrs([]slog.Attr) slog.Handler           { return h }
func (h *handler) WithGroup(string) slog.Handler                { return h }

func (h *handler) Handle(_ context.Context, r slog.Record) error {
	e := h.event
	e.Elapsed = time.Since(h.start)
	if r.Message == "progress" {
		p := &workflow.Progress{}
		r.Attrs(func(a slog.Attr) bool {
			switch a.Key {
			case "done":
				p.Done = a.Value.Int64()
			case "total":
				p.Total = a.Value.Int64()
			case "unit":
				p.Unit = a.Value.String()
			}
			return true
		})
		e.Progress = p
		h.Observe(e)
		return nil
	}
	words := []string{r.Message}
	r.Attrs(func(a slog.Attr) bool {
		words = append(words, fmt.Sprintf("%s=%v", a.Key, a.Value))
		return true
	})
	if r.Level >= slog.LevelWarn {
		e.Message = strings.Join(words, " ")
		h.Observe(e)
		return nil
	}
	h.Print("  " + e.Task + ": " + strings.Join(words, " "))
	return nil
}

// parallel runs the works at the same time and returns the first error, having
// told the others to stop.
func parallel(ctx context.Context, works ...func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	for _, w := range works {
		all.Go(func() {
			if err := w(ctx); err != nil {
				cancel(err) // the first one counts
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}
