package train

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"mlops/internal/dataset"
	"mlops/internal/feature"
	"mlops/internal/tree"
)

// earners is a table like the Adult census data: nine rows in ten have no gain, and
// those with a large one are nearly all positive. No row is without a value.
func earners(t *testing.T) (*dataset.Spec, dataset.Rows) {
	t.Helper()
	spec, err := dataset.Parse([]byte(`name: earners
title: Earners
model: earners
task: binary
columns:
  - {name: gain, type: integer}
  - {name: age, type: integer}
  - {name: work, type: category}
  - {name: rich, type: category}
target: {column: rich, positive: ["yes"]}
split: {salts: [s1], train: 60, validation: 20, test: 20}
features:
  - {number: gain}
  - {number: age}
  - {category: work}
threshold: {fixed: 0.5}
metrics: [auc]
candidates:
  - {name: one, rounds: 200, early_stopping: 20, params: {eta: 0.1, max_depth: 4}}
`))
	if err != nil {
		t.Fatal(err)
	}
	return spec, func(_ context.Context, row func(string, [][]byte) error) error {
		rng := rand.New(rand.NewPCG(1, 2))
		for i := range 6000 {
			age, work, gain := 17+rng.IntN(60), rng.IntN(6), 0
			chance := 0.02 + 0.004*float64(age-17) + 0.03*float64(work)
			if rng.IntN(10) == 0 {
				if gain = 500 + rng.IntN(3000); rng.IntN(2) == 0 {
					gain, chance = 7000+rng.IntN(90_000), 0.98
				}
			}
			rich := "no"
			if rng.Float64() < chance {
				rich = "yes"
			}
			fields := [][]byte{fmt.Append(nil, gain), fmt.Append(nil, age), fmt.Appendf(nil, "work %d", work), []byte(rich)}
			if err := row([]string{dataset.Train, dataset.Train, dataset.Train, dataset.Validation, dataset.Test}[i%5], fields); err != nil {
				return err
			}
		}
		return nil
	}
}

// A value that is absent, though it never was in training, pushes no score to an
// extreme. An encoder that leaves it to the trees' untrained missing branches does,
// so the test can fail.
func TestAbsenceAlone(t *testing.T) {
	lib := library(t)
	spec, rows := earners(t)
	data, err := Prepare(t.Context(), spec, rows)
	if err != nil {
		t.Fatal(err)
	}
	fitted, err := Fit(t.Context(), lib, spec, &spec.Candidates[0], data, Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	if auc := fitted.Metrics["test_auc"]; auc < 0.65 {
		t.Fatalf("test AUC %.3f: the model has learnt nothing that absence could change", auc)
	}
	trees, err := tree.Parse(fitted.UBJ)
	if err != nil {
		t.Fatal(err)
	}
	before, err := feature.New(spec, data.Encoder.Features, nil)
	if err != nil {
		t.Fatal(err)
	}

	const gain = 0
	now, then := hide(t, data.Encoder, trees, rows), hide(t, before, trees, rows)
	t.Logf("mean absolute change of the score without gain, age and work: %.3f, by missing branches %.3f; most for one without a gain %.3f and %.3f; without any value %.3f and %.3f",
		now.change, then.change, now.worst, then.worst, now.empty, then.empty)
	if then.change[gain] < 0.3 {
		t.Errorf("without gain, missing branches change the score by %.3f: the table does not show what it is for", then.change[gain])
	}
	for c, change := range now.change {
		if change > 0.1 {
			t.Errorf("without %s the score changes by %.3f in the mean, want at most 0.1", spec.Columns[c].Name, change)
		}
	}
	if now.worst > 0.2 || then.worst < 0.4 {
		t.Errorf("a record without a gain moves by up to %.3f, want at most 0.2; by missing branches %.3f, want at least 0.4", now.worst, then.worst)
	}
	if now.empty < 0.02 || now.empty > 0.6 {
		t.Errorf("a record without values scores %.3f, want what a usual record does", now.empty)
	}
}

// hidden is what becomes of the test rows' scores where a column is hidden.
type hidden struct {
	change [3]float64 // mean absolute change, by column
	worst  float64    // the largest change of a row without a gain
	empty  float64    // the score of a record without any value
}

func hide(t *testing.T, e *feature.Encoder, trees *tree.Model, rows dataset.Rows) (h hidden) {
	t.Helper()
	vector := make([]float32, e.Width())
	score := func(fields [][]byte) float64 {
		e.Encode(vector, fields)
		return float64(trees.Score(vector))
	}
	n := 0
	err := rows(t.Context(), func(split string, fields [][]byte) error {
		if split != dataset.Test {
			return nil
		}
		n++
		whole := score(fields)
		for c := range h.change {
			value := fields[c]
			fields[c] = nil
			change := math.Abs(score(fields) - whole)
			h.change[c] += change
			if string(fields[0]) == "0" || c == 0 && string(value) == "0" {
				h.worst = max(h.worst, change)
			}
			fields[c] = value
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for c := range h.change {
		h.change[c] /= float64(n)
	}
	h.empty = score(make([][]byte, len(e.Spec().Columns)))
	return h
}
