package overview

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"mlops/internal/mlflow"
	"mlops/internal/progress"
	"mlops/internal/registry"
)

// shownRuns is how many of the last runs the screen has.
const shownRuns = 5

// WriteModel writes a registered model's last runs and its version in production.
func WriteModel(ctx context.Context, out io.Writer, client *mlflow.Client, name string) error {
	e, err := client.ExperimentByName(ctx, name)
	if errors.Is(err, mlflow.ErrNotFound) {
		fmt.Fprintf(out, "\n%s: no run yet\n", name)
		return nil
	}
	if err != nil {
		return err
	}
	runs, err := client.SearchRuns(ctx, []string{e.ID}, "", nil, shownRuns)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintf(w, "\nRUNS OF %s\tSTATUS\tSTARTED\tON THE VALIDATION ROWS\n", name)
	for _, r := range runs {
		first := splitMetrics(metricsOf(r)[:1], "validation_", r.Metrics)
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Name, strings.ToLower(string(r.Status)), r.Start.Local().Format("2006-01-02 15:04:05"), cmp.Or(first, "-"))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("writing status: %w", err)
	}
	v, err := registry.New(client, name).Production(ctx)
	if errors.Is(err, registry.ErrNoVersion) {
		fmt.Fprintf(out, "\nIN PRODUCTION: nothing of %s yet\n", name)
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nIN PRODUCTION: %s version %d (%s, %s)", name, v.Number, v.Candidate, v.Created.Local().Format("2006-01-02 15:04:05"))
	if v.Synthetic {
		fmt.Fprint(out, "\n  SYNTHETIC: trained on made-up rows; its scores say nothing about the real world")
	}
	if run, err := client.GetRun(ctx, v.RunID); err == nil {
		fmt.Fprintf(out, "\n  on the test rows, with 95 %% intervals: %s", splitMetrics(metricsOf(run), "test_", run.Metrics))
	}
	fmt.Fprintln(out)
	return nil
}

// metricsOf are the spec's metrics, the one that decides first. Runs of earlier releases
// do not say; they had two classes.
func metricsOf(r mlflow.Run) []string {
	return strings.Split(cmp.Or(r.Params["metrics"], "auc, average_precision, precision, recall, accuracy"), ", ")
}

// splitMetrics are a run's figures on the rows of one split, with their intervals.
func splitMetrics(names []string, split string, m map[string]float64) string {
	var words []string
	for _, name := range names {
		v, ok := m[split+name]
		if !ok {
			continue
		}
		text := strings.ReplaceAll(name, "_", " ") + " " + progress.Figure(v)
		low, known := m[split+name+"_low"]
		if high, ok := m[split+name+"_high"]; ok && known {
			text += fmt.Sprintf(" (%s to %s)", progress.Figure(low), progress.Figure(high))
		}
		words = append(words, text)
	}
	return strings.Join(words, ", ")
}
