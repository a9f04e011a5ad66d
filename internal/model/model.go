// Package model is what is stored with a model version: the spec, the encoder,
// the trees, the threshold, and samples with their expected scores. Training
// writes it; promotion and the server read it back and check that it reproduces
// the stored scores before they use it.
package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"time"

	"mlops/internal/dataset"
	"mlops/internal/feature"
	"mlops/internal/tree"
)

// Files of a model version: the data set's YAML, XGBoost's model, and what MLflow is told
// of it, which says what else a notebook's version has.
const (
	FileSpec    = "spec.yaml"
	FileTrees   = "model.ubj"
	FileMLmodel = "MLmodel"
)

// FileEarlier is the file that holds the rows that features look back at, in a version
// that has such features. It may be missing where there were too many rows.
const FileEarlier = "history.bin"

// Files of a version for people: its model card as JSON, Markdown and HTML. Versions from
// before they were kept, and a notebook's, have none.
const (
	FileCard     = "model-card.json"
	FileCardText = "model-card.md"
	FileCardPage = "model-card.html" // with nothing loaded from elsewhere
)

// MaxEarlier bounds, in bytes of memory, the rows that a version holds.
const MaxEarlier = 256 << 20

// Names of the other files of a model version.
const (
	fileEncoder = "encoder.json"
	fileServing = "serving.json"
)

// Files are the names of the files that every model version has.
var Files = []string{FileMLmodel, FileTrees, FileSpec, fileEncoder, fileServing}

// Tolerance is how far a score may be from the stored one, which libxgboost
// computed, for the model to be served.
const Tolerance = 1e-6

// Sample is a raw record and what libxgboost predicted for it in training.
type Sample struct {
	Record        map[string]string   `json:"record"`                  // column to value; missing ones are left out
	Earlier       []map[string]string `json:"history,omitempty"`       // earlier records of its group, the newest last
	Probability   float64             `json:"probability,omitempty"`   // of a binary task
	Probabilities []float64           `json:"probabilities,omitempty"` // of several classes, in the spec's order
	Value         *float64            `json:"value,omitempty"`         // of a regression
}

// NewSample is a sample with the model's outputs.
func NewSample(spec *dataset.Spec, record map[string]string, earlier []map[string]string, outputs []float32) Sample {
	s := Sample{Record: record, Earlier: earlier}
	switch spec.Task {
	case dataset.Multiclass:
		for _, p := range outputs {
			s.Probabilities = append(s.Probabilities, float64(p))
		}
	case dataset.Regression:
		x := float64(outputs[0])
		s.Value = &x
	default:
		s.Probability = float64(outputs[0])
	}
	return s
}

// outputs is what the sample's prediction says.
func (s *Sample) outputs(task string) []float64 {
	switch {
	case task == dataset.Multiclass:
		return s.Probabilities
	case task == dataset.Regression && s.Value == nil:
		return nil
	case task == dataset.Regression:
		return []float64{*s.Value}
	}
	return []float64{s.Probability}
}

// Same reports whether two outputs are the same within Tolerance: of a probability as
// it is, of a value above 1 in proportion to it.
func Same(a, b float64) bool { return math.Abs(a-b) <= Tolerance*max(1, math.Abs(b)) }

// Interval is how a regression's predictions become intervals.
type Interval struct {
	Coverage  float64 `json:"coverage"`   // share of the values that it should hold
	HalfWidth float64 `json:"half_width"` // reach to either side of a prediction
	Test      float64 `json:"test"`       // share of the test rows that it held
}

// Serving is what a server needs besides the model itself.
type Serving struct {
	Candidate string             `json:"candidate"`
	Created   time.Time          `json:"created"`
	Threshold float64            `json:"threshold,omitempty"` // of a binary task: positive from this probability on
	Interval  *Interval          `json:"interval,omitempty"`  // of a regression
	Metrics   map[string]float64 `json:"metrics"`             // validation_<name> and test_<name>
	Samples   []Sample           `json:"samples"`
	Synthetic bool               `json:"synthetic"` // the samples are made up

	// TestOutputs are 101 quantiles of the outputs of the test rows, from the smallest to
	// the largest: probabilities of a binary task, values of a regression.
	TestOutputs []float32 `json:"test_outputs,omitempty"`

	// Files are the files that only Python reads, with the SHA-256 of each in hex. A
	// signature is over this file too, so it is over them.
	Files map[string]string `json:"files,omitempty"`
}

// Model is a complete model version, ready to score.
type Model struct {
	Spec    *dataset.Spec
	Encoder *feature.Encoder
	Trees   *tree.Model
	Serving Serving
	Earlier *feature.Snapshot // rows that features look back at; nil if the version has none, or too many

	TooManyEarlier bool // it has more than were to be read

	notebook bool // a notebook logged it
}

// Read reads a model version's files and checks that they belong together and
// reproduce the stored scores.
func Read(files fs.FS) (*Model, error) { return ReadWithin(files, MaxEarlier) }

// ReadWithin is Read, but leaves the rows that features look back at out if they take more
// than that many bytes of memory.
func ReadWithin(files fs.FS, earlier int64) (*Model, error) {
	read := func(name string) ([]byte, error) {
		b, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("reading model version: %w", err)
		}
		return b, nil
	}
	text, err := read(FileSpec)
	if errors.Is(err, fs.ErrNotExist) {
		if mlmodel, notThere := fs.ReadFile(files, FileMLmodel); notThere == nil && !bytes.Contains(mlmodel, []byte(modulePrefix)) {
			return notebooks(files, mlmodel)
		}
	}
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
	if err := m.Serving.checkNames(); err != nil {
		return nil, err
	}
	if m.Encoder.LooksBack() {
		m.Earlier, err = readEarlier(files, m.Encoder, min(earlier, MaxEarlier))
		if m.TooManyEarlier = errors.Is(err, feature.ErrTooMany); err != nil && !m.TooManyEarlier {
			return nil, err
		}
	}
	if err := m.Verify(); err != nil {
		return nil, err
	}
	return m, nil
}

// FromNotebook reports whether a notebook logged the version.
func (m *Model) FromNotebook() bool { return m.notebook }

// readEarlier reads the rows that features look back at, nil if the version has none.
func readEarlier(files fs.FS, e *feature.Encoder, most int64) (*feature.Snapshot, error) {
	f, err := files.Open(FileEarlier)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading model version: %w", err)
	}
	defer f.Close()
	snapshot, err := e.ReadSnapshot(f, most)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", FileEarlier, err)
	}
	return snapshot, nil
}

// Verify checks that the parts match and that the model gives its samples the
// scores stored with them, within Tolerance.
func (m *Model) Verify() error {
	if m.Trees.Categories() != nil && !m.notebook {
		return errors.New(FileTrees + " holds its own encoding of categories (cats), want one trained on codes")
	}
	if got, want := m.Trees.Features(), m.Encoder.Width(); got != want {
		return fmt.Errorf("%s takes %d features, %s makes %d", FileTrees, got, fileEncoder, want)
	}
	for i, name := range m.Trees.FeatureNames() {
		if want := m.Encoder.Features[i].Name; name != want {
			return fmt.Errorf("feature %d is %q in %s, %q in %s", i, name, FileTrees, want, fileEncoder)
		}
	}
	if want := max(1, len(m.Spec.Target.Classes)); m.Trees.Outputs() != want {
		return fmt.Errorf("%s gives %d numbers per row, want %d for task: %s", FileTrees, m.Trees.Outputs(), want, m.Spec.Task)
	}
	if i := m.Serving.Interval; m.Spec.Task == dataset.Regression && !(i != nil && i.HalfWidth >= 0 && i.HalfWidth <= math.MaxFloat32) {
		return fmt.Errorf("%s: interval %v is not that of a regression", fileServing, i)
	}
	if t := m.Serving.Threshold; !(t >= 0 && t <= 1) {
		return fmt.Errorf("%s: threshold %g is not between 0 and 1", fileServing, t)
	}
	if len(m.Serving.Samples) == 0 {
		return errors.New(fileServing + ": no samples: nothing shows that this model scores as it did in training")
	}
	vector, outputs := make([]float32, m.Encoder.Width()), make([]float32, m.Trees.Outputs())
	for i := range m.Serving.Samples {
		s := &m.Serving.Samples[i]
		if err := m.EncodeRecord(vector, s.Record, s.Earlier...); err != nil {
			return fmt.Errorf("%s: sample %d: %w", fileServing, i, err)
		}
		m.Trees.ScoreBatch(vector, outputs)
		stored := s.outputs(m.Spec.Task)
		if len(stored) != len(outputs) {
			return fmt.Errorf("%s: sample %d has %d scores, want %d", fileServing, i, len(stored), len(outputs))
		}
		for k, got := range outputs {
			if !Same(float64(got), stored[k]) {
				return fmt.Errorf("%s: sample %d scores %.9g, in training %.9g: the model does not reproduce its stored scores", fileServing, i, got, stored[k])
			}
		}
	}
	return nil
}

// EncodeRecord encodes a raw record with earlier ones of its group, the newest last.
func (m *Model) EncodeRecord(vector []float32, record map[string]string, earlier ...map[string]string) error {
	fields, err := m.fields(record)
	if err != nil {
		return err
	}
	rows := make([][][]byte, len(earlier))
	for i, r := range earlier {
		if rows[i], err = m.fields(r); err != nil {
			return fmt.Errorf("earlier record %d: %w", i, err)
		}
	}
	m.Encoder.EncodeAfter(vector, fields, rows)
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
	Papers         map[string][]byte // files for people, by name
	RunID          string
	XGBoostVersion string
}

// Write returns the files of a model version by name.
func Write(p Parts) (map[string][]byte, error) {
	encoder, err := json.Marshal(p.Encoder)
	if err != nil {
		return nil, fmt.Errorf("writing encoder: %w", err)
	}
	python, signature, err := pyfunc(p)
	if err != nil {
		return nil, err
	}
	maps.Copy(python, p.Papers)
	p.Serving.Files = digests(python)
	serving, err := json.MarshalIndent(p.Serving, "", " ")
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", fileServing, err)
	}
	files := map[string][]byte{
		FileMLmodel: mlmodel(p, signature),
		FileTrees:   p.UBJ,
		FileSpec:    p.Spec.Text(),
		fileEncoder: encoder,
		fileServing: serving,
	}
	maps.Copy(files, python)
	if p.Earlier != nil {
		if files[FileEarlier], err = p.Earlier.Write(); err != nil {
			return nil, err
		}
	}
	return files, nil
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
