package serve

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mlops/internal/api"
	"mlops/internal/dataset"
	"mlops/internal/model"
	"mlops/internal/registry"
	"mlops/internal/train"
	"mlops/internal/xgboost"
)

// pythonSpecs have every kind of column and feature between them.
var pythonSpecs = map[string]string{
	"binary": `name: stays
model: stays
task: binary
missing: ["?", "-999"]
key: id
group: who
order: at
columns:
  - {name: id, type: integer}
  - {name: who, type: category}
  - {name: at, type: integer}
  - {name: size, type: number, min: -5, unit: kg}
  - {name: count, type: integer}
  - {name: kind, type: category, codes: {"1": one, "2": two}}
  - {name: diagnosis, type: category}
  - {name: smoker, type: boolean, missing: ["9"]}
  - {name: day, type: date, format: DD.MM.YYYY}
  - {name: until, type: date, latest: "2030-01-01"}
  - {name: stamp, type: date, format: unix}
  - {name: tick, type: date, format: unix_ms}
  - {name: serial, type: date, format: excel}
  - {name: quarter, type: date, format: YYYY Qn}
  - {name: unused, type: number}
  - {name: y, type: category}
target: {column: y, positive: ["1"]}
cohort: [{column: kind, values: ["7"], because: not ours}, {column: count, values: ["13"], because: unlucky}]
split: {salts: [s], train: 60, validation: 20, test: 20}
features:
  - {number: size}
  - {number: count}
  - {name: counted, category: count}
  - {category: kind, fold_below: 30}
  - {category: diagnosis, fold_below: 8}
  - {ranges: diagnosis, table: [{name: low, from: 1, to: 100}, {name: high, from: 100, to: 999}, {name: external, prefix: E}]}
  - {name: weight, number: kind, values: {"1": 0.5, "2": 1.5}}
  - {number: smoker}
  - {name: flags, count: [kind, diagnosis], of: ["1", E10]}
  - {name: others, count: [kind, diagnosis], not_of: ["2"]}
  - {date: day, part: weekday}
  - {date: until, part: hour}
  - {days_from: day, to: until}
  - {days_from: day, to: "2024-06-01"}
  - {date: stamp, part: hour}
  - {days_from: tick, to: until}
  - {date: serial, part: day}
  - {date: quarter, part: month}
  - {history: count}
  - {history: sum, number: size}
  - {history: mean, number: size}
  - {history: largest, number: count}
  - {history: change, number: size}
  - {history: last, category: kind}
  - {history: same, category: diagnosis}
  - {history: days_since, date: day}
metrics: [auc]
threshold: {maximize: f1}
candidates: [{name: one, rounds: 12, params: {eta: 0.5, max_depth: 5}}]
`,
	"multiclass": `name: sorts
model: sorts
task: multiclass
columns:
  - {name: size, type: number}
  - {name: kind, type: category, values: ["True", "False", "1.50", "07"]}
  - {name: y, type: category}
target: {column: y, classes: [a, b, "c d"]}
split: {salts: [s], train: 60, validation: 20, test: 20}
features:
  - {number: size}
  - {category: kind}
candidates: [{name: one, rounds: 6, params: {eta: 0.5, max_depth: 4}}]
`,
	"regression": `name: prices
model: prices
task: regression
columns:
  - {name: size, type: number, required: true}
  - {name: kind, type: category}
  - {name: y, type: number}
target: {column: y}
split: {salts: [s], train: 60, validation: 20, test: 20}
features:
  - {number: size}
  - {category: kind}
candidates: [{name: one, rounds: 10, params: {eta: 0.5, max_depth: 4}}]
`,
}

// pythonCell draws a field as a table could have it: usual spellings, others, markers,
// levels that training never sees.
func pythonCell(rng *rand.Rand, c *dataset.Column, row int, training bool) string {
	pick := func(usual []string, odd ...string) string {
		if !training && rng.IntN(4) == 0 {
			usual = odd
		}
		return usual[rng.IntN(len(usual))]
	}
	absent := 12
	if c.Required || slices.Contains([]string{"id", "who", "at"}, c.Name) || c.Name == "size" && training && rng.IntN(3) > 0 || c.Name == "day" && training {
		absent = 1 << 30
	}
	if rng.IntN(absent) == 0 {
		return ""
	}
	switch c.Name {
	case "id":
		return fmt.Sprint(row)
	case "who":
		return fmt.Sprint("p", row%97)
	case "at":
		return fmt.Sprint(row / 97)
	case "size":
		if c.Unit != "" {
			return pick([]string{fmt.Sprint(rng.IntN(100)), fmt.Sprint(float64(rng.IntN(1000)) / 8), "7kg"}, "1e1", "+3.50", "-0", "000.125 ", "-999", "kg 4", "1e-05", "123456789012345678")
		}
		return pick([]string{fmt.Sprint(rng.IntN(100)), fmt.Sprint(float64(rng.IntN(1000)) / 8)}, "1e1", "+3.50", "-0", "1e-05", "3e37")
	case "count":
		return pick([]string{fmt.Sprint(rng.IntN(14))}, "3.0", "+4", "2e0", "00012", "-999.0", "?", "77", "900719925474099")
	case "kind":
		if c.Values != nil {
			return pick([]string{"True", "False", "1.50", "07", "x"}, "true", "1.5", "7", "é", "False ")
		}
		return pick([]string{"1", "2", "3", "7", "x"}, "8", " 1 ", "never", "01")
	case "diagnosis":
		return pick([]string{fmt.Sprint(rng.IntN(12) * 50), "E10", "E11", "250.5"}, "V9", "E99", "1e2", "0250.50", "?")
	case "smoker":
		return pick([]string{"yes", "no", "TRUE", "0", "1"}, "Off", "1.0", "t", "9")
	case "day":
		return pick([]string{fmt.Sprintf("%02d.%02d.20%02d", 1+rng.IntN(28), 1+rng.IntN(12), 10+rng.IntN(15))}, "2024-02-29", "1.2.2023", "20240131", "20240131T101500", "2024-W05", "2020W537", "?")
	case "stamp":
		return pick([]string{fmt.Sprint(1_400_000_000 + rng.IntN(300_000_000))}, "1.5e9", "1600000000.125", "-1", "2024-02-29T10:00:00", "2024-W05-3", "0")
	case "tick":
		return pick([]string{fmt.Sprint(1_400_000_000_000 + rng.Int64N(300_000_000_000))}, "1600000000000.5", "1e12", "2024-02-29")
	case "serial":
		return pick([]string{fmt.Sprint(40_000 + rng.IntN(6000))}, "44197.75", "44197.333333", "61", "2024-02-29")
	case "quarter":
		return pick([]string{fmt.Sprintf("20%02d Q%d", 10+rng.IntN(15), 1+rng.IntN(4))}, "2020 q3", "2024-02-29")
	case "until":
		return pick([]string{fmt.Sprintf("20%02d-03-%02dT%02d:30:00", 10+rng.IntN(15), 1+rng.IntN(28), rng.IntN(24))}, "2024-02-29 23:30 +02:00", "2029/1/5", "2024-01-01T00:00:00.123456789Z")
	case "y":
		switch c.Type {
		case dataset.Number:
			return fmt.Sprint(rng.IntN(100))
		default:
			if c.Only() != nil {
				return c.Only()[rng.IntN(len(c.Only()))]
			}
			return fmt.Sprint(rng.IntN(2))
		}
	}
	return "1"
}

// pythonRows are drawn records by column, in the order of group and place.
func pythonRows(spec *dataset.Spec, seed uint64, n int, training bool) []map[string]string {
	rng := rand.New(rand.NewPCG(seed, 5))
	rows := make([]map[string]string, n)
	for i := range rows {
		rows[i] = map[string]string{}
		for c := range spec.Columns {
			col := &spec.Columns[c]
			rows[i][col.Name] = pythonCell(rng, col, i, training)
		}
		if rows[i]["y"] == "" {
			rows[i]["y"] = rows[0]["y"]
		}
	}
	slices.SortStableFunc(rows, func(a, b map[string]string) int {
		x, _ := strconv.Atoi(a["at"])
		y, _ := strconv.Atoi(b["at"])
		return cmp.Or(strings.Compare(a["who"], b["who"]), cmp.Compare(x, y))
	})
	return rows
}

// fitted trains a version on drawn rows and writes its files into a folder.
func fitted(t *testing.T, lib *xgboost.Library, text, dir string) *dataset.Spec {
	t.Helper()
	spec, err := dataset.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	rows := pythonRows(spec, 1, 3000, true)
	d, err := train.Prepare(t.Context(), spec, func(_ context.Context, row func(string, [][]byte) error) error {
		last, group := "", 0
		for i, r := range rows {
			fields := make([][]byte, len(spec.Columns))
			for c := range fields {
				if fields[c], err = spec.Value(c, []byte(r[spec.Columns[c].Name])); err != nil {
					return err
				}
			}
			if r["who"] != last || spec.Group == "" {
				last, group = r["who"], i
			}
			if err := row([]string{dataset.Train, dataset.Train, dataset.Train, dataset.Validation, dataset.Test}[group%5], fields); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	f, err := train.Fit(t.Context(), lib, spec, &spec.Candidates[0], d, train.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	files, err := model.Write(model.Parts{
		Spec: spec, Encoder: d.Encoder, UBJ: f.UBJ, Earlier: d.Earlier, RunID: "r", XGBoostVersion: lib.Version(),
		Serving: model.Serving{Candidate: "one", Threshold: f.Threshold, Interval: f.Interval, Metrics: f.Metrics, Samples: f.Samples},
	})
	if err != nil {
		t.Fatal(err)
	}
	writeFiles(t, dir, files)
	return spec
}

// folders is a registry of one version in a folder, with the rows that features look
// back at.
type folders string

func (f folders) Production(context.Context) (registry.Version, error) {
	return registry.Version{Name: "tiny", Number: 1, RunID: "r"}, nil
}

func (f folders) Download(_ context.Context, _ registry.Version, dir string) error {
	for _, name := range append(slices.Clone(model.Files), model.FileEarlier) {
		text, err := os.ReadFile(filepath.Join(string(f), name))
		if os.IsNotExist(err) && name == model.FileEarlier {
			continue
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// pythonCase is a data frame for Python, and what the server says of its rows.
type pythonCase struct {
	Folder  string             `json:"folder"`
	Columns []string           `json:"columns"`
	Text    [][]any            `json:"text"`  // the cells as a CSV file has them
	Typed   [][]any            `json:"typed"` // as JSON's types
	Server  map[string][][]any `json:"server"`
}

// TestPython compares what MLflow's python_function flavor gives for raw records with
// what the server gives: as text, typed, with histories, for each task; in Python, and by
// mlflow.models.predict, mlflow models serve and mlflow.models.evaluate.
func TestPython(t *testing.T) {
	t.Parallel()
	venv, library := os.Getenv("MLOPS_VENV"), os.Getenv("MLOPS_XGBOOST")
	if venv == "" || library == "" {
		t.Skip("SKIPPED, NOT PASSED: MLOPS_VENV and MLOPS_XGBOOST are not both set; make test sets them")
	}
	lib, err := xgboost.Load(library)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	var cases []pythonCase
	for name, text := range pythonSpecs {
		dir := filepath.Join(root, name)
		spec := fitted(t, lib, text, dir)
		s := newServer(t, folders(dir), t.TempDir())
		poll(t, s)
		cases = append(cases, newPythonCase(t, s, spec, dir))
	}
	input, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, "cases.json")
	if err := os.WriteFile(file, input, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := pythonScript(t, venv, "compare.py", file)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// pythonScript is the command that runs a script of testdata. The script and the module
// that it imports are opened, so that Go's cached result of a test doesn't outlive them.
func pythonScript(t *testing.T, venv, name string, args ...string) *exec.Cmd {
	t.Helper()
	script := filepath.Join("testdata", name)
	for _, file := range []string{script, filepath.Join("..", "..", "python", "mlops_models.py")} {
		if _, err := os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(venv, "bin", "python"), append([]string{script}, args...)...)
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "MLFLOW_DISABLE_TELEMETRY=true")
	return cmd
}

func newPythonCase(t *testing.T, s *Server, spec *dataset.Spec, dir string) pythonCase {
	t.Helper()
	c := pythonCase{Folder: dir, Server: map[string][][]any{}}
	for i := range spec.Columns {
		c.Columns = append(c.Columns, spec.Columns[i].Name)
	}
	rows := pythonRows(spec, 2, 700, false)
	looksBack := spec.LooksBack()
	if looksBack {
		c.Columns = append(c.Columns, dataset.EarlierMember)
	}
	for i, r := range rows {
		var text, typed []any
		for _, name := range c.Columns {
			value, there := r[name]
			switch {
			case name == dataset.EarlierMember && i%3 == 0: // the other rows are looked up
				var earlier []any
				for _, e := range rows[max(0, i-i%4):i] {
					e := map[string]any{"size": e["size"], "count": e["count"], "kind": e["kind"], "diagnosis": e["diagnosis"], "day": e["day"]}
					earlier = append(earlier, e)
				}
				if earlier == nil {
					earlier = []any{}
				}
				text, typed = append(text, earlier), append(typed, earlier)
			case !there:
				text, typed = append(text, nil), append(typed, nil)
			default:
				text, typed = append(text, value), append(typed, literal(value))
			}
		}
		c.Text, c.Typed = append(c.Text, text), append(c.Typed, typed)
	}
	c.Server["text"], c.Server["typed"] = serverSays(t, s, spec, c.Columns, c.Text), serverSays(t, s, spec, c.Columns, c.Typed)
	return c
}

// literal is a field as a program that guesses types has it.
func literal(field string) any {
	switch field {
	case "":
		return nil
	case "True", "true", "TRUE":
		return true
	case "False":
		return false
	}
	if x, err := strconv.ParseFloat(field, 64); err == nil && !strings.ContainsAny(field, " _xX") {
		return x
	}
	return field
}

// serverSays are the outputs of /predict for rows: label or value, numbers, reason.
func serverSays(t *testing.T, s *Server, spec *dataset.Spec, columns []string, rows [][]any) [][]any {
	t.Helper()
	var records []map[string]any
	for _, row := range rows {
		record := map[string]any{}
		for k, name := range columns {
			if row[k] != nil && name != spec.Target.Column {
				record[name] = row[k]
			}
		}
		records = append(records, record)
	}
	body, err := json.Marshal(records)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]any
	for _, p := range predict(t, s, string(bytes.TrimSpace(body))).Predictions {
		out = append(out, said(spec, &p))
	}
	return out
}

func said(spec *dataset.Spec, p *api.Prediction) []any {
	switch {
	case p.Excluded != "":
		return []any{p.Excluded}
	case spec.Task == dataset.Multiclass:
		row := []any{p.Class}
		for _, c := range spec.Target.Classes {
			row = append(row, p.Probabilities[c])
		}
		return row
	case spec.Task == dataset.Regression:
		return []any{*p.Value, p.Interval[0], p.Interval[1]}
	}
	return []any{p.Label, p.Probability}
}
