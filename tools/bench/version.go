package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"mlops/internal/dataset"
	"mlops/internal/feature"
	"mlops/internal/mlflow"
	"mlops/internal/model"
	"mlops/internal/registry"
	"mlops/internal/train"
	"mlops/internal/xgboost"
	"mlops/loadtest"
)

const (
	wantRecords = 10_000
	wantTrees   = 500
)

// record is a row that is sent or scored: as JSON with all columns of the table
// that a client would have, and as a vector.
type record struct {
	json   []byte
	vector []float32
	values map[string]string
}

// oneRow makes the spec one whose features look at the record alone, for comparing
// with peers that know no earlier rows. Every such feature is a line of its own.
func (b *bench) oneRow() error {
	lines := slices.DeleteFunc(strings.Split(string(b.spec.Text()), "\n"), func(line string) bool {
		return strings.Contains(line, "{history:") || strings.Contains(line, ", history:") || strings.HasPrefix(line, "order:")
	})
	spec, err := dataset.Parse([]byte(strings.Join(lines, "\n")))
	if err == nil && spec.LooksBack() {
		err = errors.New("a feature still looks at earlier rows")
	}
	if err != nil {
		return fmt.Errorf("leaving out earlier rows: %w", err)
	}
	b.spec = spec
	return nil
}

// records draws distinct records from the rows that no training saw.
func (b *bench) records(ctx context.Context, e *feature.Encoder) ([]record, error) {
	var all []record
	known := map[string]bool{}
	err := b.rows("")(ctx, func(split string, fields [][]byte) error {
		if split == dataset.Train || b.spec.Excluded(fields) {
			return nil
		}
		text, err := recordJSON(b.spec, fields)
		if err != nil || known[string(text)] {
			return err
		}
		known[string(text)] = true
		r := record{json: text, vector: make([]float32, e.Width()), values: model.Record(b.spec, fields)}
		e.Encode(r.vector, fields)
		all = append(all, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(all) < wantRecords {
		return nil, fmt.Errorf("%d distinct records, want %d", len(all), wantRecords)
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:wantRecords], nil
}

// recordJSON is a row as a notebook sends it: every column but ids and target,
// numbers as such, what is missing as the table writes it.
func recordJSON(spec *dataset.Spec, fields [][]byte) ([]byte, error) {
	out := []byte{'{'}
	for c, v := range fields {
		if spec.Ignored(c) {
			continue
		}
		col := &spec.Columns[c]
		text := string(v)
		if v == nil {
			text = "?"
		}
		value, err := json.Marshal(text)
		if err != nil {
			return nil, err
		}
		if v != nil && col.Type != dataset.Category && col.Type != dataset.Date {
			value = v
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(out, col.Member()...), value...)
	}
	return append(out, '}'), nil
}

func bodies(records []record) []loadtest.Body {
	list := make([]loadtest.Body, len(records))
	for i, r := range records {
		list[i] = loadtest.Body{JSON: r.json, Records: 1}
	}
	return list
}

// writeVectors writes the vectors as little-endian float32.
func writeVectors(file string, records []record) error {
	var raw []byte
	for _, r := range records {
		for _, v := range r.vector {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
		}
	}
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		return fmt.Errorf("writing vectors: %w", err)
	}
	return nil
}

// version trains a model of 500 trees of depth 6 and returns the files of its
// version. Without categorical, codes of categories are numbers to it: no
// converter to ONNX takes XGBoost's categorical splits, so only such a model can
// be compared with all peers.
func (b *bench) version(ctx context.Context, lib *xgboost.Library, data *train.Data, records []record, categorical bool) (map[string][]byte, error) {
	features := slices.Clone(data.Encoder.Features)
	for i := range features {
		features[i].Categorical = features[i].Categorical && categorical
	}
	kinds := &feature.Encoder{Features: features} // only names the kinds; it encodes nothing
	m, err := train.Matrix(lib, kinds, data.Parts[dataset.Train])
	if err != nil {
		return nil, err
	}
	defer m.Close()
	candidate := &dataset.Candidate{Name: "bench", Rounds: wantTrees, Params: map[string]any{"eta": 0.03, "max_depth": 6}}
	booster, _, err := lib.Train(ctx, xgboost.Config{Params: train.Parameters(b.spec, candidate, runtime.GOMAXPROCS(0)), Rounds: wantTrees}, m, m)
	if err != nil {
		return nil, err
	}
	defer booster.Close()
	ubj, err := booster.SaveUBJ()
	if err != nil {
		return nil, err
	}
	const samples = 32
	var x []float32
	for _, r := range records[:samples] {
		x = append(x, r.vector...)
	}
	some, err := train.Matrix(lib, kinds, &train.Part{X: x, Y: make([]float32, samples)})
	if err != nil {
		return nil, err
	}
	defer some.Close()
	scores, err := booster.Predict(some)
	if err != nil {
		return nil, err
	}
	serving := model.Serving{Candidate: candidate.Name, Created: time.Now().UTC().Truncate(time.Second), Threshold: 0.1}
	for i, p := range scores {
		serving.Samples = append(serving.Samples, model.Sample{Record: records[i].values, Probability: float64(p)})
	}
	return model.Write(model.Parts{
		Spec: b.spec, Encoder: data.Encoder, UBJ: ubj, Serving: serving, Earlier: data.Earlier, XGBoostVersion: lib.Version(),
		RunID: strings.Repeat("b", 32), // no run: as long as one, since the peers respond with it; not all digits, which YAML reads as a number
	})
}

// store writes a version's files into a folder below the temporary one.
func (b *bench) store(name string, files map[string][]byte) (dir string, err error) {
	dir = filepath.Join(b.dir, name)
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", fmt.Errorf("storing a version: %w", err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return "", fmt.Errorf("storing a version: %w", err)
		}
	}
	return dir, nil
}

// register makes a version of the spec's model out of files, as training does.
func (b *bench) register(ctx context.Context, c *mlflow.Client, files map[string][]byte) (number int, err error) {
	if err := c.EnsureModel(ctx, b.spec.Model, ""); err != nil {
		return 0, err
	}
	experiment, err := c.EnsureExperiment(ctx, "bench")
	if err != nil {
		return 0, err
	}
	run, err := c.CreateRun(ctx, mlflow.NewRun{ExperimentID: experiment.ID, Name: "bench"})
	if err != nil {
		return 0, err
	}
	root, err := c.ArtifactPath(run.ArtifactURI)
	if err != nil {
		return 0, err
	}
	for name, content := range files {
		if err := c.UploadArtifact(ctx, path.Join(root, registry.Folder, name), bytes.NewReader(content)); err != nil {
			return 0, err
		}
	}
	if err := c.UpdateRun(ctx, run.ID, mlflow.Finished, time.Now()); err != nil {
		return 0, err
	}
	v, err := c.CreateVersion(ctx, mlflow.NewVersion{Name: b.spec.Model, Source: "runs:/" + run.ID + "/" + registry.Folder, RunID: run.ID})
	return v.Number, err
}
