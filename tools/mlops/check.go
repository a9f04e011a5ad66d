package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"mlops/internal/dataset"
	"mlops/internal/demo"
	"mlops/internal/draft"
	"mlops/internal/ingest"
	"mlops/internal/local"
	"mlops/internal/parquet"
	"mlops/internal/prepare"
	"mlops/internal/program"
	"mlops/internal/source"
)

// rawRows connects to the rows that were loaded before; nil where nothing runs that has
// them.
type rawRows func(ctx context.Context) (*pgx.Conn, error)

// demoRows are those of the demo.
func demoRows(ctx context.Context) (*pgx.Conn, error) {
	home, err := prepare.Home(os.Getenv("MLOPS_HOME"))
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(home); err != nil {
		return nil, nil // no demo ever ran, and checking makes no folder
	}
	state, err := local.OpenState(home, os.Getenv("MLOPS_CACHE_HOME"), os.Environ())
	if err != nil {
		return nil, err
	}
	return demo.Raw(ctx, state)
}

// check reports on a data set's YAML, and on its table if one is named or found. Mistakes
// in the YAML don't hide what can be said of the table.
func check(ctx context.Context, out io.Writer, specPath, table string, loaded rawRows) error {
	text, err := dataset.ReadFile(specPath)
	if err != nil {
		return program.Input(err)
	}
	spec, err := dataset.Parse(text)
	var mistakes *dataset.Error
	switch {
	case errors.As(err, &mistakes):
		for _, p := range mistakes.Problems {
			fmt.Fprintf(out, "STOP %s: line %d: %s\n", specPath, p.Line, p.Reason)
		}
		if spec = dataset.Readable(text); spec == nil || len(spec.Columns) == 0 {
			return wrong(specPath, mistakes, 0, table)
		}
	case err != nil:
		return program.Input(fmt.Errorf("%s:\n%w", specPath, err))
	default:
		fmt.Fprintf(out, "ok   %s: data set %s, %d columns, %d features, %d candidates\n", specPath, spec.Name, len(spec.Columns), len(spec.Features), len(spec.Names()))
	}
	if table == "" {
		if table = localTable(spec); table == "" {
			fmt.Fprintln(out, "-    no table was checked: the YAML names no file that exists here, and no FILE was given")
			return wrong(specPath, mistakes, 0, table)
		}
	}
	var row func([][]byte)
	related := draft.NewRelated(spec)
	if mistakes == nil {
		row = related.Add
	}
	cfg := ingest.Config{Spec: spec, Source: table, Logger: slog.New(slog.DiscardHandler), Open: source.Options{Parquet: parquet.Open}}
	p, err := ingest.Try(ctx, cfg, row)
	if err != nil {
		if ingest.ExitCode(err) != program.BadInput {
			return err
		}
		if mistakes == nil {
			return program.Input(err)
		}
		fmt.Fprintf(out, "STOP %v\n", err)
		return wrong(specPath, mistakes, 1, table)
	}
	if mistakes != nil {
		fmt.Fprintln(out, "-    the table by what can be read of the YAML:")
	}
	besides := func() int { return 0 }
	if mistakes == nil {
		if besides, err = tellEarlier(ctx, out, cfg, loaded, p, related); err != nil {
			return err
		}
	}
	found := tell(out, spec, p) + besides()
	if found == 0 {
		warnings, err := related.Warnings()
		if err != nil {
			return err
		}
		for _, w := range warnings {
			fmt.Fprintf(out, "warn %s\n", w)
		}
	}
	return wrong(specPath, mistakes, found, table)
}

// tellEarlier compares the table with the rows that were loaded before, if there are any, and
// notes in p what both have together. The function that it returns tells what was found, and
// returns how many findings would stop a run.
func tellEarlier(ctx context.Context, out io.Writer, cfg ingest.Config, loaded rawRows, p *ingest.Preview, related *draft.Related) (func() int, error) {
	conn, err := loaded(ctx)
	if err != nil || conn == nil {
		why := "no demo is running; make demo starts it"
		if err != nil {
			why = err.Error()
		}
		return func() int {
			fmt.Fprintf(out, "-    not compared with rows loaded before, neither keys nor values (%s)\n", why)
			return 0
		}, nil
	}
	defer conn.Close(context.WithoutCancel(ctx))
	before := draft.NewRelated(cfg.Spec)
	b, err := ingest.Compare(ctx, conn, cfg, p, before.Add)
	if err != nil {
		return nil, err
	}
	var changes []string
	if b.Rows > 0 && !b.Loaded {
		if changes, err = related.Changes(before); err != nil {
			return nil, err
		}
	}
	return func() int {
		mark := "    "
		if b.Rows == 0 {
			mark = "-   "
		}
		fmt.Fprintf(out, "%s %s\n", mark, b.String(cfg.Spec))
		if b.Rows == 0 || b.Loaded {
			return 0
		}
		if w := b.Warning(cfg.Spec); w != "" {
			fmt.Fprintf(out, "warn %s\n", w)
		}
		for _, w := range changes {
			fmt.Fprintf(out, "warn %s\n", w)
		}
		if stop := b.Stops(cfg.Spec, p.Load); stop != "" {
			fmt.Fprintf(out, "STOP %s\n", stop)
			return 1
		}
		return 0
	}, nil
}

// wrong is the error about what would stop a run: mistakes in the YAML and findings in the
// table.
func wrong(specPath string, mistakes *dataset.Error, findings int, table string) error {
	switch {
	case mistakes != nil && findings > 0:
		return program.Inputf("%s has mistakes (%d), and %s findings that stop a run (%d)", specPath, len(mistakes.Problems), table, findings)
	case mistakes != nil:
		return program.Inputf("%s has mistakes (%d)", specPath, len(mistakes.Problems))
	case findings > 0:
		return program.Inputf("%s would not go through: %d of the findings above stop it", table, findings)
	}
	return nil
}

// tell reports on a table and returns how many findings would stop a run.
func tell(out io.Writer, spec *dataset.Spec, p *ingest.Preview) int {
	fmt.Fprintf(out, "ok   %s: the header has all columns\n", p.Source)
	for _, r := range []ingest.Report{p.Load, p.Clean} {
		mark := "ok  "
		if r.Rejected > 0 {
			mark = "lost"
		}
		fmt.Fprintf(out, "%s %s\n", mark, strings.ReplaceAll(r.String(), "\n", "\n     "))
	}
	if spec.Target.Column != "" && spec.Task == dataset.Regression {
		low, high, rows := p.Values()
		fmt.Fprintf(out, "     target %s: %d rows with a value, from %g to %g; %d rows without a target, %d outside the cohort\n", spec.Target.Column, rows, low, high, p.Unlabeled, p.Excluded)
		return findings(out, spec, p)
	}
	var words []string
	for _, c := range p.Classes {
		word := fmt.Sprintf("%q %d", c.Value, c.Rows)
		if c.Positive {
			word += " (positive)"
		}
		words = append(words, word)
	}
	if spec.Target.Column != "" {
		fmt.Fprintf(out, "     target %s: %s; %d rows without a target, %d outside the cohort\n", spec.Target.Column, strings.Join(words, ", "), p.Unlabeled, p.Excluded)
	}
	return findings(out, spec, p)
}

// findings lists what would stop a run, and returns how many there are, else what to
// know of the splits.
func findings(out io.Writer, spec *dataset.Spec, p *ingest.Preview) int {
	stops := p.Stops(spec)
	for _, s := range stops {
		fmt.Fprintf(out, "STOP %s\n", s)
	}
	if len(stops) == 0 && len(p.Parts) > 0 {
		fmt.Fprintf(out, "     split %s; %s", spec.SplitRule(), splitRows(p))
		if p.Together != nil {
			fmt.Fprintf(out, ", and %s with those loaded before", splitRows(p.Together))
		}
		fmt.Fprintln(out)
		for _, f := range p.Few(spec) {
			fmt.Fprintf(out, "warn %s\n", f.Text)
		}
		for _, n := range p.Notes(spec) {
			fmt.Fprintf(out, "warn %s\n", n)
		}
	}
	return len(stops)
}

// splitRows are how many rows each split has.
func splitRows(p *ingest.Preview) string {
	return fmt.Sprintf("%d, %d and %d rows", p.Parts[dataset.Train].Rows, p.Parts[dataset.Validation].Rows, p.Parts[dataset.Test].Rows)
}

// localTable is the first of the spec's local paths that exists, or "".
func localTable(spec *dataset.Spec) string {
	root, err := prepare.Root()
	if err != nil {
		root = "."
	}
	paths := slices.Clone(spec.Source.Local)
	if u, err := url.Parse(spec.Source.URL); err == nil && u.Scheme == "file" {
		paths = append(paths, u.Path)
	}
	for _, path := range paths {
		if !filepath.IsAbs(path) {
			path = filepath.Join(root, path)
		}
		if fi, err := os.Stat(path); err == nil && fi.Mode().IsRegular() {
			return path
		}
	}
	return ""
}
