// Package model is what is stored with a model version: the spec, the encoder,
// the trees, the threshold, and samples with their expected scores. Training
// writes it; promotion and the server read it back and check that it reproduces
// the stored scores before they use it.
package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"time"

	"mlops/internal/dataset"
	"mlops/internal/feature"
	"mlops/internal/tree"
)

// Files of a model version: the data set's YAML, and XGBoost's model.
const (
	FileSpec  = "spec.yaml"
	FileTrees = "model.ubj"
)

// FileEarlier is the file that holds the rows that features look back at, in a version
// that has such features. It may be missing where there were too many rows.
const FileEarlier = "history.bin"

// MaxEarlier bounds, in bytes of memory, the rows that a version holds.
const MaxEarlier = 256 << 20

// Names of the other files of a model version.
const (
	fileMLmodel = "MLmodel"
	fileEncoder = "encoder.json"
	fileServing = "serving.json"
)

// Files are the names of the files that every model version has.
var Files = []string{fileMLmodel, FileTrees, FileSpec, fileEncoder, fileServing}

// Tolerance is how far a score may be from the stored one, which libxgboost
// computed, for the model to be served.
const Tolerance = 1e-6

// Sample is a raw record and the probability that libxgboost gave it in training.
type Sample struct {
	Record      map[string]string   `json:"record"`            // column to value; missing ones are left out
	History     []map[string]string `json:"history,omitempty"` // earlier records of its group, the newest last
	Probability float64             `json:"probability"`
}

// Serving is what a server needs besides the model itself.
type Serving struct {
	Candidate string             `json:"candidate"`
	Created   time.Time          `json:"created"`
	Threshold float64            `json:"threshold"` // positive from this probability on
	Metrics   map[string]float64 `json:"metrics"`   // validation_<name> and test_<name>
	Samples   []Sample           `json:"samples"`
	Synthetic bool               `json:"synthetic"` // the samples are made up
}

// Model is a complete model version, ready to score.
type Model struct {
	Spec    *dataset.Spec
	Encoder *feature.Encoder
	Trees   *tree.Model
	Serving Serving
	Earlier *feature.Snapshot // rows that features look back at; nil if the version has none
}

// Read reads a model version's files and checks that they belong together and
// reproduce the stored scores.
func Read(files fs.FS) (*Model, error) {
	read := func(name string) ([]byte, error) {
		b, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("reading model version: %w", err)
		}
		return b, nil
	}
	text, err := read(FileSpec)
	if err != nil {
		return nil, err
	}
	m := &Model{}
	if m.Spec, err = dataset.Parse(text); err != nil {
		return nil, fmt.Errorf("%s: %w", FileSpec, err)
	}
	if text, err = read(fileEncoder); err != nil {
		return nil, err
	}
	if m.Encoder, err = feature.Read(m.Spec, text); err != nil {
		return nil, fmt.Errorf("%s: %w", fileEncoder, err)
	}
	if text, err = read(FileTrees); err != nil {
		return nil, err
	}
	if m.Trees, err = tree.Parse(text); err != nil {
		return nil, fmt.Errorf("%s: %w", FileTrees, err)
	}
	if text, err = read(fileServing); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &m.Serving); err != nil {
		return nil, fmt.Errorf("%s: %w", fileServing, err)
	}
	if m.Encoder.HasHistory() {
		if m.Earlier, err = readEarlier(files, m.Encoder); err != nil {
			return nil, err
		}
	}
	if err := m.Verify(); err != nil {
		return nil, err
	}
	return m, nil
}

// readEarlier reads the rows that features look back at, nil if the version has none.
func readEarlier(files fs.FS, e *feature.Encoder) (*feature.Snapshot, error) {
	f, err := files.Open(FileEarlier)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading model version: %w", err)
	}
	defer f.Close()
	snapshot, err := e.ReadSnapshot(f, MaxEarlier)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", FileEarlier, err)
	}
	return snapshot, nil
}

// Verify checks that the parts match and that the model gives its samples the
// scores stored with them, within Tolerance.
func (m *Model) Verify() error {
	if got, want := m.Trees.Features(), m.Encoder.Width(); got != want {
		return fmt.Errorf("%s takes %d features, %s makes %d", FileTrees, got, fileEncoder, want)
	}
	for i, name := range m.Trees.FeatureNames() {
		if want := m.Encoder.Features[i].Name; name != want {
			return fmt.Errorf("feature %d is %q in %s, %q in %s", i, name, FileTrees, want, fileEncoder)
		}
	}
	if t := m.Serving.Threshold; !(t >= 0 && t <= 1) {
		return fmt.Errorf("%s: threshold %g is not between 0 and 1", fileServing, t)
	}
	if len(m.Serving.Samples) == 0 {
		return errors.New(fileServing + ": no samples: nothing shows that this model scores as it did in training")
	}
	vector := make([]float32, m.Encoder.Width())
	for i, s := range m.Serving.Samples {
		if err := m.EncodeRecord(vector, s.Record, s.History...); err != nil {
			return fmt.Errorf("%s: sample %d: %w", fileServing, i, err)
		}
		got := float64(m.Trees.Score(vector))
		if !(math.Abs(got-s.Probability) <= Tolerance) {
			return fmt.Errorf("%s: sample %d scores %.9g, in training %.9g: the model does not reproduce its stored scores", fileServing, i, got, s.Probability)
		}
	}
	return nil
}

// EncodeRecord encodes a raw record with earlier ones of its group, the newest last.
func (m *Model) EncodeRecord(vector []float32, record map[string]string, history ...map[string]string) error {
	fields, err := m.fields(record)
	if err != nil {
		return err
	}
	earlier := make([][][]byte, len(history))
	for i, r := range history {
		if earlier[i], err = m.fields(r); err != nil {
			return fmt.Errorf("earlier record %d: %w", i, err)
		}
	}
	m.Encoder.EncodeAfter(vector, fields, earlier)
	return nil
}

// fields are a raw record's cleaned values by column.
func (m *Model) fields(record map[string]string) ([][]byte, error) {
	fields := make([][]byte, len(m.Spec.Columns))
	for name, value := range record {
		c := m.Spec.Column(name)
		if c < 0 {
			return nil, fmt.Errorf("unknown column %q", name)
		}
		v, err := m.Spec.Value(c, []byte(value))
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", name, err)
		}
		fields[c] = v
	}
	return fields, nil
}

// Parts are what training makes for a version; Write turns them into files.
type Parts struct {
	Spec           *dataset.Spec
	Encoder        *feature.Encoder
	UBJ            []byte // XGBoost's model
	Serving        Serving
	Earlier        *feature.Snapshot // may be nil
	RunID          string
	XGBoostVersion string
}

// Write returns the files of a model version by name.
func Write(p Parts) (map[string][]byte, error) {
	encoder, err := json.Marshal(p.Encoder)
	if err != nil {
		return nil, fmt.Errorf("writing encoder: %w", err)
	}
	serving, err := json.MarshalIndent(p.Serving, "", " ")
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", fileServing, err)
	}
	files := map[string][]byte{
		fileMLmodel: mlmodel(p),
		FileTrees:   p.UBJ,
		FileSpec:    p.Spec.Text(),
		fileEncoder: encoder,
		fileServing: serving,
	}
	if p.Earlier != nil {
		if files[FileEarlier], err = p.Earlier.Write(); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// mlmodel describes the version in MLflow's own format, so that
// mlflow.xgboost.load_model gives the booster (over encoded vectors).
func mlmodel(p Parts) []byte {
	return fmt.Appendf(nil, `artifact_path: model
flavors:
  xgboost:
    code: null
    data: %s
    model_class: xgboost.core.Booster
    model_format: ubj
    xgb_version: %s
run_id: %s
utc_time_created: '%s'
`, FileTrees, p.XGBoostVersion, p.RunID, p.Serving.Created.UTC().Format("2006-01-02 15:04:05.000000"))
}

// Record is the raw record of cleaned fields, without the columns that a record
// to predict doesn't need.
func Record(spec *dataset.Spec, fields [][]byte) map[string]string {
	record := map[string]string{}
	for c, v := range fields {
		if v != nil && !spec.Ignored(c) {
			record[spec.Columns[c].Name] = string(v)
		}
	}
	return record
}
