package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"mlops/internal/train"
	"mlops/internal/tree"
)

// cost is what scoring a row takes (µs), alone and in a batch of all.
type cost struct{ One, Batch, Difference float64 }

const ours = "this evaluator"

// scoring compares evaluators in process, each on one thread: the same rows, the
// same trees. Ours and the peers' take turns.
func scoring(ctx context.Context, log *slog.Logger) ([]figure, error) {
	b, lib, err := openFilled(ctx, log)
	if err != nil {
		return nil, err
	}
	defer b.close()
	if err := b.oneRow(); err != nil {
		return nil, err
	}
	venv, err := peersVenv(ctx, log)
	if err != nil {
		return nil, err
	}
	data, err := train.Prepare(ctx, b.spec, b.rows(""))
	if err != nil {
		return nil, err
	}
	records, err := b.records(ctx, data.Encoder)
	if err != nil {
		return nil, err
	}
	vectors := filepath.Join(b.dir, "rows.f32")
	if err := writeVectors(vectors, records); err != nil {
		return nil, err
	}
	var figures []figure
	for _, categorical := range []bool{false, true} {
		name := "numeric"
		if categorical {
			name = "categorical"
		}
		files, err := b.version(ctx, lib, data, records, categorical)
		if err != nil {
			return nil, err
		}
		dir, err := b.store(name, files)
		if err != nil {
			return nil, err
		}
		trees, err := tree.Parse(files["model.ubj"])
		if err != nil {
			return nil, err
		}
		out := filepath.Join(b.dir, "peers-"+name)
		// Other evaluators don't take XGBoost's categorical splits.
		args := []string{dir, out, vectors, "libxgboost"}
		if !categorical {
			args = args[:3]
			if _, err := python(ctx, venv, "prepare.py", dir, out); err != nil {
				return nil, err
			}
		}
		costs := map[string][]cost{}
		for range pairs {
			costs[ours] = append(costs[ours], measure(trees, records))
			text, err := python(ctx, venv, "inprocess.py", args...)
			if err != nil {
				return nil, err
			}
			var theirs map[string]cost
			if err := json.Unmarshal(bytes.TrimSpace(text), &theirs); err != nil {
				return nil, fmt.Errorf("inprocess.py said %q: %w", text, err)
			}
			for peer, c := range theirs {
				costs[peer] = append(costs[peer], c)
			}
		}
		figures = append(figures, compare(name, costs)...)
	}
	return figures, nil
}

// measure times the evaluator as inprocess.py does its own: the median of seven
// passes over all rows, after one that isn't counted.
func measure(m *tree.Model, records []record) cost {
	width := m.Features()
	rows := make([]float32, 0, width*len(records))
	for _, r := range records {
		rows = append(rows, r.vector...)
	}
	out := make([]float32, len(records))
	return cost{
		One: passes(len(records), func() {
			for i := range out {
				out[i] = m.Score(rows[i*width : (i+1)*width])
			}
		}),
		Batch: passes(len(records), func() { m.ScoreBatch(rows, out) }),
	}
}

// measureOne times rows one at a time, as measure does, with any number of outputs per
// row, and returns the outputs too.
func measureOne(m *tree.Model, records []record) (micros float64, out []float32) {
	n := m.Outputs()
	out = make([]float32, n*len(records))
	return passes(len(records), func() {
		for i := range records {
			m.ScoreBatch(records[i].vector, out[i*n:(i+1)*n])
		}
	}), out
}

// passes is the median time (µs) of seven passes per row, after one that isn't counted.
func passes(rows int, f func()) float64 {
	f()
	var took []float64
	for range 7 {
		start := time.Now()
		f()
		took = append(took, float64(time.Since(start).Nanoseconds())/1000/float64(rows))
	}
	return median(took)
}

// compare turns what a model cost its evaluators into figures.
func compare(model string, costs map[string][]cost) []figure {
	ways := []struct {
		name, reach, ratio string
		of                 func(cost) float64
	}{
		{"one row", "at most 4.5", "at most 0.5", func(c cost) float64 { return c.One }},
		{"batch of 10,000, per row", "at most 3", "at most 0.33", func(c cost) float64 { return c.Batch }},
	}
	how := fmt.Sprintf("median of %d rounds in turn; %d distinct real rows, %d trees of depth 6, one thread", pairs, wantRecords, wantTrees)
	var figures []figure
	for _, way := range ways {
		figures = append(figures, figure{Name: fmt.Sprintf("%s, %s model: %s", way.name, model, ours), Value: medianOf(costs[ours], way.of), Unit: "µs", Reach: way.reach, How: how})
		var ratios []float64 // to the fastest of each round
		for i, c := range costs[ours] {
			fastest := 0.0
			for peer := range costs {
				if v := way.of(costs[peer][i]); peer != ours && (fastest == 0 || v < fastest) {
					fastest = v
				}
			}
			ratios = append(ratios, way.of(c)/fastest)
		}
		figures = append(figures, figure{Name: fmt.Sprintf("%s, %s model: against the fastest peer", way.name, model), Value: median(ratios), Reach: way.ratio, How: how})
		for _, peer := range slices.Sorted(maps.Keys(costs)) {
			if peer != ours {
				figures = append(figures, figure{Name: fmt.Sprintf("%s, %s model: %s", way.name, model, peer), Value: medianOf(costs[peer], way.of), Unit: "µs", How: how})
			}
		}
	}
	return figures
}

func medianOf[T any](all []T, of func(T) float64) float64 {
	var values []float64
	for _, v := range all {
		values = append(values, of(v))
	}
	return median(values)
}
