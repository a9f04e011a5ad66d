// Command bench measures the figures that the README quotes. `make bench` runs
// it: once around whole demos, once with real services for the parts. Figures
// go to bench.json and, as a table, to stdout.
//
// Speeds are ratios to a peer in the same run, as medians of pairs; machines
// differ too much for anything else.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"sort"
	"text/tabwriter"
	"time"

	"mlops/internal/program"
)

func main() { program.Main(run) }

// figure is one line of the table.
type figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit,omitempty"`
	Reach string  `json:"reach,omitempty"` // what is asked for, in words
	How   string  `json:"how,omitempty"`
}

// results is what bench.json holds.
type results struct {
	When    time.Time           `json:"when"`
	CPUs    int                 `json:"cpus"`
	Figures map[string][]figure `json:"figures"` // by part
}

const file = "bench.json"

func run(ctx context.Context, log *slog.Logger) error {
	parts := map[string]func(context.Context, *slog.Logger) ([]figure, error){
		"demo": demo, "ingest": ingesting, "training": training, "evaluator": evaluator, "accuracy": accuracy,
	}
	if len(os.Args) < 2 {
		return program.Inputf("say which parts to measure: %v", keys(parts))
	}
	r := results{Figures: map[string][]figure{}}
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading %s: %w", file, err)
	}
	for _, name := range os.Args[1:] {
		part := parts[name]
		if part == nil {
			return program.Inputf("there is no part %q; there are %v", name, keys(parts))
		}
		fmt.Fprintln(os.Stderr, "measuring", name)
		if r.Figures[name], err = part(ctx, log); err != nil {
			return fmt.Errorf("measuring %s: %w", name, err)
		}
		r.When, r.CPUs = time.Now().UTC().Truncate(time.Second), runtime.NumCPU()
		if text, err = json.MarshalIndent(r, "", "  "); err != nil {
			return fmt.Errorf("writing %s: %w", file, err)
		}
		if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
			return fmt.Errorf("writing %s: %w", file, err)
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FIGURE\tMEASURED\tASKED FOR\tHOW")
	for _, name := range keys(r.Figures) {
		for _, f := range r.Figures[name] {
			fmt.Fprintf(w, "%s\t%.4g %s\t%s\t%s\n", f.Name, f.Value, f.Unit, f.Reach, f.How)
		}
	}
	return w.Flush()
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
