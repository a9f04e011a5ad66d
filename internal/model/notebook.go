package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"mlops/internal/dataset"
	"mlops/internal/feature"
	"mlops/internal/tree"
)

// A version that a notebook logged with mlflow.xgboost or mlflow.lightgbm has none of our files.
// Its columns, their types and levels come from the model itself and its signature, its
// samples from its input example.

// notebook is what is read of the MLmodel of such a version.
type notebook struct {
	Flavors struct {
		XGBoost  *flavor `yaml:"xgboost"`
		LightGBM *flavor `yaml:"lightgbm"`
	} `yaml:"flavors"`
	Signature struct {
		Inputs string `yaml:"inputs"`
	} `yaml:"signature"`
	Example struct {
		Path   string `yaml:"artifact_path"`
		Orient string `yaml:"pandas_orient"`
	} `yaml:"saved_input_example_info"`
	Created  string `yaml:"utc_time_created"` // such as "2026-11-29 03:04:05.123456"
	Metadata struct {
		MLOps notebookSays `yaml:"mlops"`
	} `yaml:"metadata"`
}

// flavor is where a library's model is.
type flavor struct {
	Data   string `yaml:"data"`
	Format string `yaml:"serialization_format"` // of a scikit-learn wrapper of LightGBM
	Class  string `yaml:"model_class"`          // such as xgboost.sklearn.XGBClassifier
}

// notebookSays is what a notebook may say besides, as log_model's metadata={"mlops": ...}.
type notebookSays struct {
	Title     string   `yaml:"title"`
	Threshold *float64 `yaml:"threshold"`  // of a binary task; 0.5 where it is not said
	Coverage  float64  `yaml:"coverage"`   // of a regression's intervals
	HalfWidth *float64 `yaml:"half_width"` // of a regression's intervals
	Classes   []string `yaml:"classes"`    // names of a classifier's classes, in the order of their codes

	// Levels are the categories of columns, in the order of their codes, where XGBoost's
	// file garbles them; see whole.
	Levels map[string][]string `yaml:"levels"`

	// Outputs are what the notebook's model predicts for the input example's rows: a
	// probability, one for each class, or a value. A server that computes others refuses
	// the version.
	Outputs [][]float64 `yaml:"outputs"`
}

func readNotebook(mlmodel []byte) (*notebook, error) {
	n := &notebook{}
	if err := yaml.Unmarshal(mlmodel, n); err != nil {
		return nil, fmt.Errorf("%s: %w", FileMLmodel, err)
	}
	switch {
	case n.Flavors.XGBoost == nil && n.Flavors.LightGBM == nil:
		return nil, fmt.Errorf("%s: the model has no flavor xgboost or lightgbm, so it can't be served: log it with mlflow.xgboost.log_model or mlflow.lightgbm.log_model", FileMLmodel)
	case n.Flavors.XGBoost == nil && strings.HasSuffix(n.Flavors.LightGBM.Data, ".pkl"):
		return nil, fmt.Errorf("%s: the model is a pickle, which only Python can read, running what it says: log it with serialization_format=\"skops\", or its booster_", FileMLmodel)
	case n.Example.Path == "":
		return nil, fmt.Errorf("%s: the model has no input example, so nothing can show what it takes: log it with input_example=frame.head()", FileMLmodel)
	}
	for _, name := range n.files() {
		if !fs.ValidPath(name) || slices.Contains(Files[1:], name) && name != FileTrees {
			return nil, fmt.Errorf("%s: %q is not the name of a file of the model", FileMLmodel, name)
		}
	}
	return n, nil
}

// data is the name of the file of the library's model.
func (n *notebook) data() string {
	if n.Flavors.XGBoost != nil {
		return n.Flavors.XGBoost.Data
	}
	return n.Flavors.LightGBM.Data
}

func (n *notebook) files() []string {
	return []string{FileMLmodel, n.data(), n.Example.Path}
}

// IsNotebooks reports whether a version's files, by name, are what a notebook logged.
func IsNotebooks(names []string) bool {
	return slices.Contains(names, FileMLmodel) && !slices.Contains(names, FileSpec) && !slices.Contains(names, fileServing)
}

// Names returns the names of the files that a server reads of the version in a folder.
// All of them are signed.
func Names(files fs.FS) ([]string, error) {
	if _, err := fs.Stat(files, FileSpec); errors.Is(err, fs.ErrNotExist) {
		if text, err := fs.ReadFile(files, FileMLmodel); err == nil {
			n, err := readNotebook(text)
			if err != nil {
				return nil, err
			}
			return n.files(), nil
		}
	}
	names := Files
	if _, err := fs.Stat(files, FileEarlier); err == nil {
		names = append(slices.Clone(names), FileEarlier)
	}
	return names, nil
}

// notebooks reads the version of a notebook.
func notebooks(files fs.FS, mlmodel []byte) (*Model, error) {
	n, err := readNotebook(mlmodel)
	if err != nil {
		return nil, err
	}
	text, err := fs.ReadFile(files, n.data())
	if err != nil {
		return nil, fmt.Errorf("reading model version: %w", err)
	}
	parse := tree.Parse
	if x := n.Flavors.XGBoost; x != nil && strings.HasPrefix(x.Class, "xgboost.sklearn.") {
		parse = tree.ParseBest
	}
	trees, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", n.data(), err)
	}
	spec, features, err := n.spec(trees)
	if err != nil {
		return nil, err
	}
	m := &Model{Spec: spec, Trees: trees, notebook: true}
	if m.Encoder, err = n.encoder(spec, features, trees); err != nil {
		return nil, err
	}
	if err := m.sayable(); err != nil {
		return nil, err
	}
	m.Serving = Serving{Candidate: "notebook", Metrics: map[string]float64{}}
	if created, err := time.Parse(time.DateTime, n.Created); err == nil { // an old MLflow may not say it
		m.Serving.Created = created.Truncate(time.Second)
	}
	says := n.Metadata.MLOps
	switch spec.Task {
	case dataset.Binary:
		m.Serving.Threshold = *spec.Threshold.Fixed
	case dataset.Regression:
		if says.HalfWidth == nil || !(says.Coverage > 0 && says.Coverage < 1) {
			return nil, errors.New("the model predicts a value, and nothing says how far off it may be: log it with metadata={\"mlops\": {\"coverage\": 0.9, \"half_width\": ...}}, where half_width is the 90 % quantile of the absolute errors on rows that it was not trained on")
		}
		m.Serving.Interval = &Interval{Coverage: says.Coverage, HalfWidth: *says.HalfWidth, Test: says.Coverage}
	}
	if m.Serving.Samples, err = n.samples(files, m); err != nil {
		return nil, fmt.Errorf("%s: %w", n.Example.Path, err)
	}
	if err := n.agrees(m); err != nil {
		return nil, err
	}
	return m, m.Verify()
}

// sayable checks that a request can name each category: the empty text is a missing value
// there, and blanks at the ends go.
func (m *Model) sayable() error {
	vector := make([]float32, m.Encoder.Width())
	for i := range m.Encoder.Features {
		column := m.Spec.Features[i].Columns()[0]
		for code, level := range m.Encoder.Features[i].Levels {
			if err := m.EncodeRecord(vector, map[string]string{column: level}); err != nil {
				return err
			}
			if vector[i] != float32(code) {
				return fmt.Errorf("column %q has the category %q, which no request can say: it would be read as a missing value, or as another category; rename it before training", column, level)
			}
		}
	}
	return nil
}

// agrees compares the samples' outputs with those of the notebook, if it says them.
func (n *notebook) agrees(m *Model) error {
	said := n.Metadata.MLOps.Outputs
	if said == nil {
		return nil
	}
	samples := m.Serving.Samples
	if len(said) != len(samples) {
		return fmt.Errorf("%s: metadata has outputs of %d rows, the input example has %d", FileMLmodel, len(said), len(samples))
	}
	for i := range said {
		ours := samples[i].outputs(m.Spec.Task)
		if len(ours) != len(said[i]) {
			return fmt.Errorf("%s: metadata has %d outputs of row %d, the model's file %d", FileMLmodel, len(said[i]), i, len(ours))
		}
		for k, want := range said[i] {
			if got := ours[k]; !(math.Abs(got-want) <= 1e-6*max(1, math.Abs(want))) {
				return fmt.Errorf("row %d of the input example: the notebook's model predicts %.9g, the file that it logged %.9g: part of the model was not logged, such as a wrapper's missing=", i, want, got)
			}
		}
	}
	return nil
}

// classes returns the names of the classes: the model's own, those that the notebook
// says, or their codes. It returns two if the model has one output.
func (s *notebookSays) classes(trees *tree.Model) ([]string, error) {
	codes := make([]string, max(2, trees.Outputs()))
	for k := range codes {
		codes[k] = strconv.Itoa(k)
	}
	classes := trees.Classes()
	if s.Classes != nil {
		if classes != nil && !slices.Equal(classes, s.Classes) {
			return nil, fmt.Errorf("metadata names the classes %q, the model itself %q", s.Classes, classes)
		}
		classes = s.Classes
	}
	switch {
	case classes == nil, slices.Equal(classes, []string{"false", "true"}):
		return codes, nil
	case len(classes) != len(codes):
		return nil, fmt.Errorf("metadata names %d classes, the model has %d", len(classes), len(codes))
	}
	if len(classes) == 2 && !slices.Equal(classes, codes) && !slices.ContainsFunc(classes, notNumber) {
		// The label of the second class is 1.
		return nil, fmt.Errorf("the classes are the numbers %s and %s, which the labels 0 and 1 of a prediction would be taken for: train it on 0 and 1, or on names", classes[0], classes[1])
	}
	return classes, nil
}

func notNumber(text string) bool {
	_, err := strconv.ParseFloat(text, 64)
	return err != nil
}

// encoder encodes the model's columns.
func (n *notebook) encoder(spec *dataset.Spec, features []feature.Feature, trees *tree.Model) (*feature.Encoder, error) {
	if !trees.Ranked() {
		return feature.New(spec, features, nil)
	}
	types, err := n.types()
	if err != nil {
		return nil, err
	}
	return feature.NewRanked(spec, features, func(i int, x float64) float32 {
		if types[spec.Features[i].Columns()[0]] == "float" { // to MLflow the column has float32 values
			x = float64(float32(x))
		}
		return trees.Rank(i, x)
	})
}

// columns are the raw columns of the model's features. LightGBM writes "_" for a space.
func (n *notebook) columns(names []string, types map[string]string) ([]string, error) {
	columns := slices.Clone(names)
	for i, name := range names {
		if _, known := types[name]; known || len(types) == 0 {
			continue
		}
		found := ""
		for raw := range types {
			if strings.ReplaceAll(raw, " ", "_") == name && !slices.Contains(columns, raw) {
				found = raw
			}
		}
		if found == "" {
			return nil, fmt.Errorf("the model has a feature %q, which its signature has no column for: train it on the pandas DataFrame that the signature is inferred from", name)
		}
		columns[i] = found
	}
	return columns, nil
}

// types are the columns' types in the signature; none if it has none by name.
func (n *notebook) types() (map[string]string, error) {
	if n.Signature.Inputs == "" {
		return nil, nil
	}
	var inputs []struct {
		Name any `json:"name"`
		Type any `json:"type"`
	}
	if err := json.Unmarshal([]byte(n.Signature.Inputs), &inputs); err != nil {
		return nil, fmt.Errorf("%s: signature: %w", FileMLmodel, err)
	}
	types := map[string]string{}
	for _, in := range inputs {
		kind, _ := in.Type.(string)
		switch name := in.Name.(type) {
		case string:
			if name != "" && kind != "tensor" {
				types[name] = kind
			}
		case float64:
			return nil, fmt.Errorf("%s: a column of the signature has the number %v for its name, which no request can say: name the data frame's columns by texts before training", FileMLmodel, name)
		}
	}
	return types, nil
}

// spec makes a spec and fitted features of what the model says.
func (n *notebook) spec(trees *tree.Model) (*dataset.Spec, []feature.Feature, error) {
	names, levels := trees.FeatureNames(), trees.Categories()
	if len(names) == 0 {
		return nil, nil, errors.New("the model doesn't know its columns' names: train it on a pandas DataFrame, not on an array")
	}
	types, err := n.types()
	if err != nil {
		return nil, nil, err
	}
	var columns, made []map[string]any
	var fitted []feature.Feature
	raw, err := n.columns(names, types)
	if err != nil {
		return nil, nil, err
	}
	for i, name := range raw {
		kind := types[name]
		f := feature.Feature{Name: names[i]}
		column, one := map[string]any{"name": name, "type": "number"}, map[string]any{"number": name}
		switch {
		case levels != nil && levels[i] != nil:
			texts := levels[i]
			if n.Flavors.XGBoost != nil {
				if texts, err = whole(texts, n.Metadata.MLOps.Levels[name]); err != nil {
					return nil, nil, fmt.Errorf("column %q: %w", name, err)
				}
			}
			f.Categorical, f.Levels = true, texts
			column["type"], column["values"], one = "category", texts, map[string]any{"category": name}
		case trees.SplitsByCategory(i) && !trees.Ranked(): // LightGBM's codes are the column's own numbers
			return nil, nil, fmt.Errorf("column %q is a category, and the model doesn't say what its codes stand for: XGBoost 3.1 and later say it", name)
		case kind == "boolean":
			column["type"] = "boolean"
		case kind == "string":
			return nil, nil, fmt.Errorf("column %q is text in the signature, and a number in the model: whatever turns one into the other is not part of the model", name)
		}
		if name != names[i] {
			one["name"] = names[i]
		}
		column["form"] = "Record"
		columns, made, fitted = append(columns, column), append(made, one), append(fitted, f)
	}
	target := "prediction"
	for slices.Contains(raw, target) {
		target += "_"
	}
	says := n.Metadata.MLOps
	classes, err := says.classes(trees)
	if err != nil {
		return nil, nil, err
	}
	title := says.Title
	if title == "" {
		title = "A notebook's model"
	}
	text := map[string]any{
		"name": "notebook", "title": title, "description": title, "model": "notebook", "samples": "real", "features": made,
		"split":      map[string]any{"salts": []string{"notebook"}, "train": 60, "validation": 20, "test": 20},
		"candidates": []any{map[string]any{"name": "notebook", "rounds": max(1, trees.Trees())}},
	}
	switch {
	case trees.Outputs() > 1 && (trees.Scale() == tree.Score || trees.Scale() == tree.LogOdds):
		text["task"], text["target"] = dataset.Multiclass, map[string]any{"column": target, "classes": classes}
	case trees.Outputs() > 1:
		return nil, nil, fmt.Errorf("the model has %d outputs per row, which are not the classes of a target", trees.Outputs())
	case trees.Scale() == tree.LogOdds:
		threshold := 0.5
		if says.Threshold != nil {
			threshold = *says.Threshold
		}
		text["task"], text["threshold"] = dataset.Binary, map[string]any{"fixed": threshold}
		text["target"] = map[string]any{"column": target, "positive": classes[1:], "labels": map[string]any{"negative": classes[0], "positive": classes[1]}}
	default:
		text["task"], text["target"] = dataset.Regression, map[string]any{"column": target}
	}
	kind := "category"
	if text["task"] == dataset.Regression {
		kind = "number"
	}
	text["columns"] = append(columns, map[string]any{"name": target, "type": kind})
	written, err := yaml.Marshal(text)
	if err != nil {
		return nil, nil, fmt.Errorf("writing a spec of the model: %w", err)
	}
	spec, err := dataset.ParseFrame(written)
	if err != nil {
		return nil, nil, fmt.Errorf("the model's columns don't make a valid spec: %w", err)
	}
	return spec, fitted, nil
}

// whole returns a column's categories. XGBoost 3.1 and 3.2 write those of a pandas column
// (npstr_to_arrow_strarr of its data.py) as UTF-8 with the places where each begins counted
// in characters: from the first letter beyond ASCII on they are cut at the wrong bytes, and
// the end is lost. Then they are those that the notebook says, if cut so they are the file's.
func whole(stored, said []string) ([]string, error) {
	ascii := func(text string) bool {
		return !strings.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf })
	}
	if !slices.ContainsFunc(stored, func(text string) bool { return !ascii(text) }) {
		return stored, nil
	}
	if said == nil {
		return nil, errors.New("it has categories with letters beyond ASCII, which XGBoost's file doesn't keep whole: log the model with the arguments of mlops_models.served, which names them, or rename them before training")
	}
	var cut []string
	rest := strings.Join(said, "")
	for _, text := range said {
		n := utf8.RuneCountInString(text)
		cut, rest = append(cut, rest[:n]), rest[n:]
	}
	if !slices.Equal(cut, stored) && !slices.Equal(said, stored) {
		return nil, fmt.Errorf("metadata says that its categories are %q, which are not those of the model's file", said)
	}
	return said, nil
}

// samples are the rows of the input example with the outputs of the trees.
func (n *notebook) samples(files fs.FS, m *Model) ([]Sample, error) {
	text, err := fs.ReadFile(files, n.Example.Path)
	if err != nil {
		return nil, err
	}
	if n.Example.Orient != "split" {
		return nil, fmt.Errorf("it is written by %q, want a pandas DataFrame", n.Example.Orient)
	}
	var frame splitFrame
	d := json.NewDecoder(bytes.NewReader(withoutNaN(text)))
	d.UseNumber()
	if err := d.Decode(&frame); err != nil {
		return nil, err
	}
	var samples []Sample
	vector, outputs := make([]float32, m.Encoder.Width()), make([]float32, m.Trees.Outputs())
	for i, row := range frame.Data {
		if len(row) != len(frame.Columns) {
			return nil, fmt.Errorf("row %d has %d cells, want %d", i, len(row), len(frame.Columns))
		}
		record := map[string]string{}
		for k, cell := range row {
			if m.Spec.Column(frame.Columns[k]) >= 0 && cell != nil {
				record[frame.Columns[k]] = fmt.Sprint(cell)
			}
		}
		if err := m.EncodeRecord(vector, record); err != nil {
			return nil, fmt.Errorf("row %d: %w", i, err)
		}
		m.Trees.ScoreBatch(vector, outputs)
		samples = append(samples, NewSample(m.Spec, record, nil, outputs))
	}
	return samples, nil
}

// withoutNaN returns JSON as MLflow writes it with null for NaN, which JSON doesn't have.
func withoutNaN(text []byte) []byte {
	var out []byte
	quoted := false
	for i := 0; i < len(text); i++ {
		switch {
		case quoted && text[i] == '\\' && i+1 < len(text):
			out = append(out, text[i])
			i++
		case text[i] == '"':
			quoted = !quoted
		case !quoted && bytes.HasPrefix(text[i:], []byte("NaN")):
			out = append(out, "null"...)
			i += len("NaN") - 1
			continue
		}
		out = append(out, text[i])
	}
	return out
}
