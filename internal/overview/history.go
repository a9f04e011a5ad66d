package overview

import (
	"fmt"
	"io"
	"text/tabwriter"

	"mlops/internal/history"
)

// WriteHistory writes the events of a registered model, as they come.
func WriteHistory(out io.Writer, model string, events []history.Event) error {
	if len(events) == 0 {
		_, err := fmt.Fprintf(out, "%s: nothing has happened yet\n", model)
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintf(w, "WHEN\tEVENT\tVERSION\tBY\tWHY\n")
	for _, e := range events {
		wire := e.Wire()
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", e.At.Local().Format("2006-01-02 15:04:05"), e.Kind, wire.Change(), e.By, e.Why)
		if e.Figures == nil {
			continue
		}
		if figures := e.Figures.Words(e.From, e.To); figures != "" {
			fmt.Fprintf(w, "\t\t\t\t%s\n", figures)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("writing the history: %w", err)
	}
	return nil
}

// Happened is an event in one line, for whoever brought it about.
func Happened(e history.Event) string {
	switch e.Kind {
	case history.RolledBack:
		return fmt.Sprintf("version %d of %s is in production again, in the place of version %d, which no pipeline will promote again", e.To, e.Model, e.From)
	case history.Adopted:
		text := fmt.Sprintf("version %d of %s is in production", e.To, e.Model)
		if e.From != 0 && e.From != e.To {
			text += fmt.Sprintf(", in the place of version %d", e.From)
		}
		return text + "; a pipeline can't compare itself with a notebook's version and replaces it: mlops pin keeps it"
	case history.Pinned:
		return fmt.Sprintf("version %d of %s stays in production, whatever a pipeline finds, until mlops pin -off (make pin OFF=1)", e.To, e.Model)
	case history.Unpinned:
		return fmt.Sprintf("pipelines may promote a better version than %d of %s again", e.To, e.Model)
	case history.Challenged:
		return fmt.Sprintf("%s: %s. A server with MLOPS_SHADOW shows in GET /model how the two differ", e.Model, e.Why)
	}
	return fmt.Sprintf("%s: %s", e.Model, e.Why)
}
