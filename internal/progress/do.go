package progress

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// Do runs work as a task. What work returns is shown beside the task's name when
// it has ended, what it logs while it runs.
func (r *Reporter) Do(name string, work func(log *slog.Logger) (string, error)) error {
	start := time.Now()
	event := Event{Task: name, Path: "own." + name, State: Running}
	r.Observe(event)
	said, err := work(slog.New(&handler{Reporter: r, event: event, start: start}))
	event.State, event.Message = Succeeded, said
	if err != nil {
		event.State, event.Message = Failed, ""
	}
	event.Elapsed = time.Since(start)
	r.Observe(event)
	return err
}

// handler shows a task's log: records with the message "progress" as its
// progress, warnings as its messages, the rest as lines of their own.
type handler struct {
	*Reporter
	event Event
	start time.Time
}

func (h *handler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }
func (h *handler) WithAttrs([]slog.Attr) slog.Handler           { return h }
func (h *handler) WithGroup(string) slog.Handler                { return h }

func (h *handler) Handle(_ context.Context, record slog.Record) error {
	e := h.event
	e.Elapsed = time.Since(h.start)
	if record.Message == "progress" {
		p := &Progress{}
		record.Attrs(func(a slog.Attr) bool {
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
	words := []string{record.Message}
	record.Attrs(func(a slog.Attr) bool {
		words = append(words, fmt.Sprintf("%s=%v", a.Key, a.Value))
		return true
	})
	if record.Level >= slog.LevelWarn {
		e.Message = strings.Join(words, " ")
		h.Observe(e)
		return nil
	}
	h.Print("  " + e.Task + ": " + strings.Join(words, " "))
	return nil
}
