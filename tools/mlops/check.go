package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"mlops/internal/dataset"
	"mlops/internal/ingest"
	"mlops/internal/parquet"
	"mlops/internal/prepare"
	"mlops/internal/program"
	"mlops/internal/source"
)

// check reports on a data set's YAML, and on its table if one is named or found.
func check(ctx context.Context, out io.Writer, specPath, table string) error {
	spec, err := dataset.Read(specPath)
	if err != nil {
		return program.Input(err)
	}
	fmt.Fprintf(out, "ok   %s: data set %s, %d columns, %d features, %d candidates\n", specPath, spec.Name, len(spec.Columns), len(spec.Features), len(spec.Candidates))
	if table == "" {
		if table = localTable(spec); table == "" {
			fmt.Fprintln(out, "-    no table was checked: none of the YAML's local paths exists, and no FILE was given")
			return nil
		}
	}
	p, err := ingest.Try(ctx, ingest.Config{Spec: spec, Source: table, Logger: slog.New(slog.DiscardHandler), Open: source.Options{Parquet: parquet.Open}}, nil)
	if err != nil {
		if ingest.ExitCode(err) == program.BadInput {
			return program.Input(err)
		}
		return err
	}
	return tell(out, spec, p)
}

// tell reports on a table and returns an error if something would stop the run.
func tell(out io.Writer, spec *dataset.Spec, p *ingest.Preview) error {
	fmt.Fprintf(out, "ok   %s: the header has all columns\n", p.Source)
	for _, r := range []ingest.Report{p.Load, p.Clean} {
		mark := "ok  "
		if r.Rejected > 0 {
			mark = "lost"
		}
		fmt.Fprintf(out, "%s %s\n", mark, strings.ReplaceAll(r.String(), "\n", "\n     "))
	}
	var words []string
	for _, c := range p.Classes {
		word := fmt.Sprintf("%q %d", c.Value, c.Rows)
		if c.Positive {
			word += " (positive)"
		}
		words = append(words, word)
	}
	fmt.Fprintf(out, "     target %s: %s; %d rows without a target, %d outside the cohort\n", spec.Target.Column, strings.Join(words, ", "), p.Unlabeled, p.Excluded)
	stops := p.Stops(spec)
	for _, s := range stops {
		fmt.Fprintf(out, "STOP %s\n", s)
	}
	if len(stops) > 0 {
		return program.Inputf("%s would not go through: %d of the findings above stop it", p.Source, len(stops))
	}
	return nil
}

// localTable is the first of the spec's local paths that exists, or "".
func localTable(spec *dataset.Spec) string {
	root, err := prepare.Root()
	if err != nil {
		root = "."
	}
	for _, path := range spec.Source.Local {
		if !filepath.IsAbs(path) {
			path = filepath.Join(root, path)
		}
		if fi, err := os.Stat(path); err == nil && fi.Mode().IsRegular() {
			return path
		}
	}
	return ""
}
