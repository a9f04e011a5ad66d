// Command bench measures the figures in docs/performance.md. `make bench` runs it
// twice: around whole demos, and with real services for the parts. It writes the
// figures to bench.json and prints them as a table.
//
// Speeds are ratios to a peer in the same run, as medians of pairs, since machines
// differ too much for absolute figures.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sort"

	"mlops/internal/figures"
	"mlops/internal/program"
)

func main() { program.Main(run) }

// figure is one line of the table.
type figure = figures.Figure

const file = "bench.json"

func run(ctx context.Context, log *slog.Logger) error {
	parts := map[string]func(context.Context, *slog.Logger) ([]figure, error){
		"demo": demos, "ingest": ingesting, "training": training, "evaluator": evaluator, "accuracy": accuracy,
		"scoring": scoring, "serving": serving, "tables": drafts, "loadtest": loadTester, "quality": quality, "earlier": earlierRows, "nodeport": nodePort, "page": webPage, "csv": csvTable, "reasons": reasons, "soak": soak,
	}
	if len(os.Args) < 2 {
		return program.Inputf("missing parts to measure: %v", keys(parts))
	}
	r, err := figures.Read(file)
	if err != nil {
		return err
	}
	var missed []error // with figures that say how far
	for _, name := range os.Args[1:] {
		part := parts[name]
		if part == nil {
			return program.Inputf("unknown part %q, want one of %v", name, keys(parts))
		}
		fmt.Fprintln(os.Stderr, "measuring", name)
		found, err := part(ctx, log)
		if err != nil {
			missed = append(missed, fmt.Errorf("measuring %s: %w", name, err))
		}
		if found == nil && err != nil {
			return errors.Join(missed...)
		}
		if found == nil {
			continue // it could not be measured here, and has said why: the old ones stay
		}
		if err := r.Replace(name, found); err != nil {
			return err
		}
	}
	return errors.Join(append(missed, r.Table(os.Stdout))...)
}

func keys[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// median of an odd number of values, or the lower of the two in the middle.
func median(values []float64) float64 {
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	return sorted[(len(sorted)-1)/2]
}
