package train

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"mlops/internal/dataset"
)

// TestLikePython trains models of several classes and of a value on a public table, and
// the same with Python's XGBoost, which reads and encodes the table by itself: with the
// same rows and parameters the figures are the same.
func TestLikePython(t *testing.T) {
	t.Parallel()
	lib := library(t)
	// The library is part of a Python environment that has the table, too.
	site := filepath.Join(filepath.Dir(os.Getenv("MLOPS_XGBOOST")), "..", "..")
	python := filepath.Join(site, "..", "..", "..", "bin", "python")
	type trained struct {
		name    string
		metrics []string
		fitted  *Fitted
	}
	var all []trained
	var jobs []map[string]any
	for _, name := range []string{"species", "body-mass"} {
		spec, err := dataset.Read(filepath.Join("..", "..", "docs", "examples", name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		table := filepath.Join(site, filepath.FromSlash(spec.Source.Package))
		if _, err := os.Stat(table); err != nil {
			t.Skipf("SKIPPED, NOT PASSED: %v", err)
		}
		d := mustPrepare(t, spec, fileRows(spec, table))
		for i := range spec.Candidates {
			c := &spec.Candidates[i]
			f, err := Fit(t.Context(), lib, spec, c, d, Options{Threads: 1, NoReport: true})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, trained{name + " " + c.Name, spec.Metrics, f})
			jobs = append(jobs, job(spec, c, table))
		}
	}
	text, err := json.Marshal(jobs)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), python, filepath.Join("testdata", "peer.py"), string(text)).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("%v: %s", err, exit.Stderr)
	} else if err != nil {
		t.Fatal(err)
	}
	var peers []struct {
		Figures map[string]float64
		Trees   int
	}
	if err := json.Unmarshal(out, &peers); err != nil || len(peers) != len(all) {
		t.Fatalf("%v: %s", err, out)
	}
	for i, of := range all {
		if of.fitted.Trees != peers[i].Trees {
			t.Errorf("%s: %d trees, Python has %d", of.name, of.fitted.Trees, peers[i].Trees)
		}
		for _, metric := range of.metrics {
			got, want := of.fitted.Metrics["test_"+metric], peers[i].Figures[metric]
			t.Logf("%s: %s is %.6f, Python's is %.6f", of.name, metric, got, want)
			if !(math.Abs(got-want) <= 0.001*max(1, math.Abs(want))) {
				t.Errorf("%s: %s is %.6f, Python's is %.6f", of.name, metric, got, want)
			}
		}
	}
}

// job is what peer.py needs to train the candidate.
func job(spec *dataset.Spec, c *dataset.Candidate, table string) map[string]any {
	params, features, categories := map[string]string{}, []string{}, []string{}
	for _, p := range Parameters(spec, c, 1) {
		params[p[0]] = p[1]
	}
	for i := range spec.Features {
		column := spec.Features[i].Columns()[0]
		features = append(features, column)
		if spec.Features[i].Categorical() {
			categories = append(categories, column)
		}
	}
	return map[string]any{
		"file": table, "target": spec.Target.Column, "classes": spec.Target.Classes, "metric": spec.RoundMetric(),
		"rounds": c.Rounds, "early_stopping": c.EarlyStopping, "params": params, "features": features, "categories": categories,
	}
}

// fileRows are a table's rows without a missing value, cleaned; the splits go by their
// number. What few rows miss, training fills in, and Python's XGBoost does not.
func fileRows(spec *dataset.Spec, path string) dataset.Rows {
	return func(_ context.Context, row func(string, [][]byte) error) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		records, err := csv.NewReader(f).ReadAll()
		if err != nil {
			return err
		}
		n := 0
		for _, record := range records[1:] {
			fields := make([][]byte, len(spec.Columns))
			for c := range spec.Columns {
				text := record[slices.Index(records[0], spec.Columns[c].Header())]
				if fields[c], err = spec.Value(c, []byte(text)); err != nil {
					return err
				}
			}
			if slices.ContainsFunc(fields, func(v []byte) bool { return v == nil }) {
				continue
			}
			split := map[byte]string{'t': dataset.Train, 'v': dataset.Validation, 's': dataset.Test}["ttttttvvss"[n%10]]
			n++
			if err := row(split, fields); err != nil {
				return err
			}
		}
		return nil
	}
}
