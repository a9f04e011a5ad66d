package main

import (
	"context"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"mlops/internal/dataset"
	"mlops/internal/train"
	"mlops/internal/tree"
	"mlops/internal/xgboost"
)

//go:embed peer.py
var peer []byte

// training compares a candidate's training with Python's xgboost on the same
// matrix with the same parameters, in the same process environment.
func training(ctx context.Context, log *slog.Logger) ([]figure, error) {
	b, lib, err := openFilled(ctx, log)
	if err != nil {
		return nil, err
	}
	defer b.close()
	data, err := train.Prepare(ctx, b.spec, b.rows(""))
	if err != nil {
		return nil, err
	}
	// Without early stopping, so that both make the same number of trees.
	candidate := &dataset.Candidate{Name: "bench", Rounds: 200, Params: b.spec.Candidates[0].Params}
	if err := b.export(data, train.Parameters(b.spec, candidate, runtime.GOMAXPROCS(0)), candidate.Rounds); err != nil {
		return nil, err
	}
	var ratios []float64
	for range pairs {
		start := time.Now()
		booster, err := boost(ctx, lib, b.spec, candidate, data)
		if err != nil {
			return nil, err
		}
		if _, err := booster.SaveUBJ(); err != nil {
			return nil, err
		}
		ours := time.Since(start).Seconds()
		booster.Close()
		cmd := exec.CommandContext(ctx, filepath.Join(b.venv, "bin", "python"), "-c", string(peer), b.dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("python: %w", err)
		}
		var theirs float64
		if _, err := fmt.Sscan(string(out), &theirs); err != nil {
			return nil, fmt.Errorf("python said %q: %w", out, err)
		}
		ratios = append(ratios, ours/theirs)
	}
	return []figure{{Name: "training against Python's xgboost, wall time", Value: median(ratios), Reach: "at most 1.05",
		How: fmt.Sprintf("median of %d pairs, %d rounds, matrix included", pairs, candidate.Rounds)}}, nil
}

// boost makes the matrices and trains on all threads.
func boost(ctx context.Context, lib *xgboost.Library, spec *dataset.Spec, candidate *dataset.Candidate, d *train.Data) (*xgboost.Booster, error) {
	matrices := map[string]*xgboost.Matrix{}
	for split, p := range d.Parts {
		m, err := train.Matrix(lib, d.Encoder, p)
		if err != nil {
			return nil, err
		}
		defer m.Close()
		matrices[split] = m
	}
	booster, _, err := lib.Train(ctx, xgboost.Config{
		Params: train.Parameters(spec, candidate, runtime.GOMAXPROCS(0)),
		Rounds: candidate.Rounds,
	}, matrices[dataset.Train], matrices[dataset.Validation])
	return booster, err
}

// export writes the matrices and parameters for the Python peer.
func (b *bench) export(d *train.Data, params [][2]string, rounds int) error {
	for split, p := range d.Parts {
		for name, values := range map[string][]float32{split + ".x": p.X, split + ".y": p.Y} {
			raw := make([]byte, 0, 4*len(values))
			for _, v := range values {
				raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
			}
			if err := os.WriteFile(filepath.Join(b.dir, name), raw, 0o600); err != nil {
				return fmt.Errorf("writing a matrix: %w", err)
			}
		}
	}
	var types, names []string
	for _, f := range d.Encoder.Features {
		names = append(names, f.Name)
		if f.Categorical {
			types = append(types, "c")
		} else {
			types = append(types, "q")
		}
	}
	text, err := json.Marshal(map[string]any{"params": params, "rounds": rounds, "names": names, "types": types})
	if err != nil {
		return fmt.Errorf("writing the parameters: %w", err)
	}
	return os.WriteFile(filepath.Join(b.dir, "fit.json"), text, 0o600)
}

// evaluator compares our scores with libxgboost's on every row of the table.
func evaluator(ctx context.Context, log *slog.Logger) ([]figure, error) {
	b, lib, err := openFilled(ctx, log)
	if err != nil {
		return nil, err
	}
	defer b.close()
	data, err := train.Prepare(ctx, b.spec, b.rows(""))
	if err != nil {
		return nil, err
	}
	candidate := &dataset.Candidate{Name: "bench", Rounds: 500, Params: b.spec.Candidates[0].Params}
	booster, err := boost(ctx, lib, b.spec, candidate, data)
	if err != nil {
		return nil, err
	}
	defer booster.Close()
	ubj, err := booster.SaveUBJ()
	if err != nil {
		return nil, err
	}
	trees, err := tree.Parse(ubj)
	if err != nil {
		return nil, err
	}
	width := data.Encoder.Width()
	var rows []float32
	stream := data.Encoder.Stream()
	err = b.rows("")(ctx, func(_ string, fields [][]byte) error {
		at := len(rows)
		rows = slices.Grow(rows, width)[:at+width]
		return stream.Encode(rows[at:], fields)
	})
	if err != nil {
		return nil, err
	}
	n := len(rows) / width
	all, err := train.Matrix(lib, data.Encoder, &train.Part{X: rows, Y: make([]float32, n)})
	if err != nil {
		return nil, err
	}
	defer all.Close()
	want, err := booster.Predict(all)
	if err != nil {
		return nil, err
	}
	got := make([]float32, n)
	trees.ScoreBatch(rows, got)
	largest := 0.0
	for i := range got {
		if one := trees.Score(rows[i*width : (i+1)*width]); one != got[i] {
			return nil, fmt.Errorf("row %d scores %v alone and %v in a batch", i, one, got[i])
		}
		largest = max(largest, math.Abs(float64(got[i])-float64(want[i])))
	}
	return []figure{{Name: "Go evaluator against libxgboost, largest difference", Value: largest, Reach: "at most 1e-6",
		How: fmt.Sprintf("%d rows, %d trees", n, trees.Trees())}}, nil
}

// accuracy trains all candidates on the splits of each salt and takes, as
// promotion does, the one with the best validation AUC.
func accuracy(ctx context.Context, log *slog.Logger) ([]figure, error) {
	b, lib, err := openFilled(ctx, log)
	if err != nil {
		return nil, err
	}
	defer b.close()
	sum, each := 0.0, ""
	for _, salt := range b.spec.Split.Salts {
		data, err := train.Prepare(ctx, b.spec, b.rows(salt))
		if err != nil {
			return nil, err
		}
		var best *train.Fitted
		for i := range b.spec.Candidates {
			f, err := train.Fit(ctx, lib, b.spec, &b.spec.Candidates[i], data, train.Options{Threads: runtime.GOMAXPROCS(0), NoReport: true})
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(os.Stderr, "  %s %-12s %4d trees, validation AUC %.4f, test AUC %.4f\n", salt, b.spec.Candidates[i].Name, f.Trees, f.Metrics["validation_auc"], f.Metrics["test_auc"])
			if best == nil || f.Metrics["validation_auc"] > best.Metrics["validation_auc"] {
				best = f
			}
		}
		sum += best.Metrics["test_auc"]
		each += fmt.Sprintf(" %.3f", best.Metrics["test_auc"])
	}
	return []figure{{Name: "test AUC, mean of the spec's salts", Value: sum / float64(len(b.spec.Split.Salts)), Reach: "at least 0.683",
		How: "best candidate by validation AUC of each salt:" + each}}, nil
}
