package overview

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"mlops/internal/mlflow"
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
	fmt.Fprintf(w, "\nRUNS OF %s\tSTATUS\tSTARTED\tVALIDATION AUC\n", name)
	for _, r := range runs {
		auc := "-"
		if v, ok := r.Metrics["validation_auc"]; ok {
			auc = fmt.Sprintf("%.4f", v)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Name, strings.ToLower(string(r.Status)), r.Start.Local().Format("2006-01-02 15:04:05"), auc)
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
		var words []string
		for metric, value := range run.Metrics {
			if rest, ok := strings.CutPrefix(metric, "test_"); ok {
				words = append(words, fmt.Sprintf("%s %.4f", strings.ReplaceAll(rest, "_", " "), value))
			}
		}
		slices.Sort(words)
		fmt.Fprintf(out, "\n  test rows: %s", strings.Join(words, ", "))
	}
	fmt.Fprintln(out)
	return nil
}
