package model

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"mlops/internal/dataset"
	"mlops/internal/feature"
	"mlops/internal/versions"
)

// A version is a model to MLflow too: what is here lets mlflow.pyfunc load it and
// score raw records, with pandas, numpy and xgboost and nothing of ours installed.

// encoderPython is the module that does in Python what internal/feature does.
//
//go:embed encoder.py
var encoderPython []byte

// modulePrefix begins the module's name in every version of ours.
const modulePrefix = "mlops_encoder_"

// pythonModule is the module's name in a version. It ends with the digest of its text,
// since a process that loads two versions keeps the first module of each name.
var pythonModule = func() string {
	sum := sha256.Sum256(encoderPython)
	return modulePrefix + hex.EncodeToString(sum[:4])
}()

// Names of the files that only Python reads.
const (
	fileEncoding     = "encoding.json"
	fileRequirements = "requirements.txt"
	filePythonEnv    = "python_env.yaml"
	fileConda        = "conda.yaml"
	fileExample      = "input_example.json"
	fileScoring      = "serving_input_example.json"
	folderCode       = "code"
)

// encoding is the file that the module reads.
type encoding struct {
	Format    int            `json:"format"`
	Task      string         `json:"task"`
	Classes   []string       `json:"classes,omitempty"`
	Threshold float64        `json:"threshold,omitempty"`
	HalfWidth float64        `json:"half_width,omitempty"`
	Because   []string       `json:"because,omitempty"` // of the cohort's rules
	Recipe    feature.Recipe `json:"recipe"`
}

// colSpec is a column of a signature, as MLflow writes it.
type colSpec struct {
	Type     string `json:"type"`
	Name     string `json:"name"`
	Required bool   `json:"required"`
}

// pyfunc returns the files of the python_function flavor, and the lines of MLmodel
// about them.
func pyfunc(p Parts) (map[string][]byte, signatureLines, error) {
	said := encoding{Format: 1, Task: p.Spec.Task, Classes: p.Spec.Target.Classes, Threshold: p.Serving.Threshold, Recipe: p.Encoder.Recipe()}
	if p.Serving.Interval != nil {
		said.HalfWidth = p.Serving.Interval.HalfWidth
	}
	for i := range p.Spec.Cohort {
		said.Because = append(said.Because, p.Spec.Cohort[i].Because)
	}
	text, err := json.MarshalIndent(said, "", " ")
	if err != nil {
		return nil, signatureLines{}, fmt.Errorf("writing %s: %w", fileEncoding, err)
	}
	lines, err := newSignature(p.Spec, said)
	if err != nil {
		return nil, signatureLines{}, err
	}
	requirements := fmt.Sprintf("mlflow==%s\nnumpy==%s\npandas==%s\nxgboost==%s\n", versions.MLflow, versions.NumPy, versions.Pandas, p.XGBoostVersion)
	files := map[string][]byte{
		fileEncoding:     text,
		fileRequirements: []byte(requirements),
		filePythonEnv:    fmt.Appendf(nil, "python: '%s'\nbuild_dependencies:\n- pip\ndependencies:\n- -r %s\n", versions.Python, fileRequirements),
		fileConda: fmt.Appendf(nil, "channels:\n- conda-forge\ndependencies:\n- python=%s\n- pip\n- pip:\n  - %s\nname: mlflow-env\n", versions.Python,
			strings.Join(strings.Split(strings.TrimSpace(requirements), "\n"), "\n  - ")),
		folderCode + "/" + pythonModule + ".py": encoderPython,
	}
	split, err := example(p, said.Recipe)
	if err != nil {
		return nil, signatureLines{}, err
	}
	if files[fileExample], err = json.Marshal(split); err != nil {
		return nil, signatureLines{}, fmt.Errorf("writing %s: %w", fileExample, err)
	}
	if files[fileScoring], err = json.Marshal(map[string]any{"dataframe_split": split}); err != nil {
		return nil, signatureLines{}, fmt.Errorf("writing %s: %w", fileScoring, err)
	}
	return files, lines, nil
}

// signatureLines is a signature in MLmodel.
type signatureLines struct{ inputs, outputs string }

// newSignature describes what the python_function flavor takes and gives. MLflow refuses
// a data frame that has another type than a signature says: whole numbers for text,
// which is what pandas makes of the codes 1, 2, 3; text for numbers, as a CSV file has
// them; a column whose cells are all missing. The server takes all of these, and so
// does the module, which says what is wrong by row. So the columns may be anything, and
// only those that the spec requires must be there.
func newSignature(spec *dataset.Spec, said encoding) (signatureLines, error) {
	inputs := []colSpec{}
	for _, c := range said.Recipe.Columns {
		inputs = append(inputs, colSpec{"any", c.Name, c.Required})
	}
	if said.Recipe.Group != "" {
		inputs = append(inputs, colSpec{"any", dataset.EarlierMember, false})
	}
	var outputs []colSpec
	switch spec.Task {
	case dataset.Multiclass:
		outputs = append(outputs, colSpec{"string", "label", true})
		for _, c := range said.Classes {
			outputs = append(outputs, colSpec{"double", "probability_" + c, true})
		}
	case dataset.Regression:
		outputs = append(outputs, colSpec{"double", "value", true}, colSpec{"double", "lower", true}, colSpec{"double", "upper", true})
	default:
		outputs = append(outputs, colSpec{"long", "label", true}, colSpec{"double", "probability", true})
	}
	if len(said.Because) > 0 {
		for i := range outputs {
			outputs[i].Required = false
		}
		outputs = append(outputs, colSpec{"string", "excluded", false})
	}
	var lines signatureLines
	for _, side := range []struct {
		to    *string
		specs []colSpec
	}{{&lines.inputs, inputs}, {&lines.outputs, outputs}} {
		text, err := json.Marshal(side.specs)
		if err != nil {
			return lines, fmt.Errorf("writing the signature: %w", err)
		}
		*side.to = string(text)
	}
	return lines, nil
}

// splitFrame is a data frame as pandas writes it with orient="split".
type splitFrame struct {
	Columns []string `json:"columns"`
	Data    [][]any  `json:"data"`
}

// mostExamples is how many samples the input example has.
const mostExamples = 5

// example is the input example: some of the version's samples.
func example(p Parts, r feature.Recipe) (splitFrame, error) {
	f := splitFrame{Data: [][]any{}}
	for _, c := range r.Columns {
		f.Columns = append(f.Columns, c.Name)
	}
	looksBack := r.Group != ""
	if looksBack {
		f.Columns = append(f.Columns, dataset.EarlierMember)
	}
	for _, s := range p.Serving.Samples[:min(mostExamples, len(p.Serving.Samples))] {
		row := []any{}
		for _, c := range r.Columns {
			value, there := s.Record[c.Name]
			switch {
			case !there:
				row = append(row, nil)
			case c.Type == dataset.Integer || c.Type == dataset.Number:
				x, err := strconv.ParseFloat(value, 64)
				if err != nil {
					return f, fmt.Errorf("writing %s: column %q: %w", fileExample, c.Name, err)
				}
				row = append(row, x)
			case c.Type == dataset.Boolean:
				row = append(row, value == "true")
			default:
				row = append(row, value)
			}
		}
		if looksBack {
			earlier := s.Earlier
			if earlier == nil {
				earlier = []map[string]string{}
			}
			row = append(row, earlier)
		}
		f.Data = append(f.Data, row)
	}
	return f, nil
}

// mlmodel describes the version in MLflow's own format. mlflow.pyfunc.load_model gives
// what scores raw records, mlflow.xgboost.load_model the booster (over encoded vectors).
func mlmodel(p Parts, s signatureLines) []byte {
	quote := func(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
	var b bytes.Buffer
	fmt.Fprintf(&b, `artifact_path: model
flavors:
  python_function:
    code: %s
    env:
      conda: %s
      virtualenv: %s
    loader_module: %s
    python_version: '%s'
  xgboost:
    code: %s
    data: %s
    model_class: xgboost.core.Booster
    model_format: ubj
    xgb_version: %s
mlflow_version: %s
`, folderCode, fileConda, filePythonEnv, pythonModule, versions.Python+".0", folderCode, FileTrees, p.XGBoostVersion, versions.MLflow)
	if p.RunID != "" {
		fmt.Fprintf(&b, "run_id: %s\n", p.RunID)
	}
	fmt.Fprintf(&b, `saved_input_example_info:
  artifact_path: %s
  pandas_orient: split
  serving_input_path: %s
  type: dataframe
signature:
  inputs: %s
  outputs: %s
  params: null
utc_time_created: '%s'
`, fileExample, fileScoring, quote(s.inputs), quote(s.outputs), p.Serving.Created.UTC().Format("2006-01-02 15:04:05.000000"))
	return b.Bytes()
}

// digests are the SHA-256 of files by name, in hex.
func digests(files map[string][]byte) map[string]string {
	d := make(map[string]string, len(files))
	for name, text := range files {
		sum := sha256.Sum256(text)
		d[name] = hex.EncodeToString(sum[:])
	}
	return d
}

// Companions returns the names of the files that scoring in Go does not need, sorted:
// those that only Python reads, and those for people.
func (s *Serving) Companions() []string { return slices.Sorted(maps.Keys(s.Files)) }

// Genuine reports whether a companion's text is the one that training wrote.
func (s *Serving) Genuine(name string, text []byte) bool {
	sum := sha256.Sum256(text)
	return s.Files[name] == hex.EncodeToString(sum[:])
}

// CheckCompanions checks the companions against their digests.
func (s *Serving) CheckCompanions(files fs.FS) error {
	for _, name := range s.Companions() {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return fmt.Errorf("reading model version: %w", err)
		}
		if !s.Genuine(name, text) {
			return fmt.Errorf("%s is not the file that training wrote: its digest is another than %s says", name, fileServing)
		}
	}
	return nil
}

// checkNames refuses names that would lead out of the version's folder.
func (s *Serving) checkNames() error {
	for name := range s.Files {
		if !fs.ValidPath(name) || slices.Contains(Files, name) {
			return fmt.Errorf("%s: %q is not the name of a file that only Python reads", fileServing, name)
		}
	}
	return nil
}
