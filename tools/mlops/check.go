package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"mlops/internal/dataset"
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
	columns := make([]string, len(spec.Columns))
	for i := range spec.Columns {
		columns[i] = spec.Columns[i].Name
	}
	t, err := source.Open(ctx, table, source.Options{Columns: columns, Member: spec.Source.Member})
	var wrong *source.Error
	if errors.As(err, &wrong) {
		return program.Input(err)
	}
	if err != nil {
		return err
	}
	defer t.Close()
	fmt.Fprintf(out, "ok   %s: %d lines, with all columns\n", table, t.Lines)
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
