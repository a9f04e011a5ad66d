package model

import (
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/dataset"
	"mlops/internal/feature"
	"mlops/internal/tree"
)

// wardSpec has the features of internal/tree's fixture, which XGBoost trained.
const wardSpec = `name: wards
title: Wards
model: wards
task: binary
missing: ["?"]
key: id
columns:
  - {name: id, type: integer}
  - {name: age, type: number, min: 0}
  - {name: visits, type: integer}
  - {name: sex, type: category}
  - {name: ward, type: category}
  - {name: y, type: category}
target: {column: y, positive: ["1"]}
split: {salts: [s], train: 70, validation: 15, test: 15}
features:
  - {number: age}
  - {number: visits}
  - {category: sex}
  - {category: ward}
threshold: {fixed: 0.5}
candidates: [{name: one, rounds: 8}]
`

// parts returns a version with two samples whose probabilities libxgboost gave
// (rows 3 and 4 of the fixture's small.csv).
func parts(t *testing.T) Parts {
	t.Helper()
	spec, err := dataset.Parse([]byte(wardSpec))
	if err != nil {
		t.Fatal(err)
	}
	encoder, err := feature.New(spec, []feature.Feature{
		{Name: "age"},
		{Name: "visits"},
		{Name: "sex", Categorical: true, Levels: []string{"f", "m"}},
		{Name: "ward", Categorical: true, Levels: []string{"w0", "w1", "w2"}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ubj, err := os.ReadFile(filepath.Join("..", "tree", "testdata", "small.ubj"))
	if err != nil {
		t.Fatal(err)
	}
	return Parts{
		Spec: spec, Encoder: encoder, UBJ: ubj, RunID: "abc", XGBoostVersion: "3.2.0",
		Serving: Serving{
			Candidate: "one", Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Threshold: 0.25,
			Metrics: map[string]float64{"test_auc": 0.5},
			Samples: []Sample{
				{Record: map[string]string{"age": "59.1", "visits": "1", "sex": "f", "ward": "w1"}, Probability: 0.8178400993347168},
				{Record: map[string]string{"age": "48.8", "visits": "2", "sex": "m", "ward": "w2"}, Probability: 0.3729654550552368},
			},
		},
	}
}

func write(t *testing.T, p Parts) map[string][]byte {
	t.Helper()
	files, err := Write(p)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func readBack(files map[string][]byte) (*Model, error) {
	dir := fstest.MapFS{}
	for name, text := range files {
		dir[name] = &fstest.MapFile{Data: text}
	}
	return Read(dir)
}

func TestWriteRead(t *testing.T) {
	p := parts(t)
	files := write(t, p)
	for _, name := range Files {
		if len(files[name]) == 0 {
			t.Errorf("no %s", name)
		}
	}
	if companions := p.Serving.Companions(); len(files) != len(Files)+7 || len(companions) != 0 {
		t.Errorf("%d files, want %d and 7 for Python", len(files), len(Files))
	}
	m, err := readBack(files)
	if err != nil {
		t.Fatal(err)
	}
	if p.Serving.Files = m.Serving.Files; len(p.Serving.Files) != 7 {
		t.Errorf("digests of files for Python: %v, want 7", p.Serving.Files)
	}
	if diff := cmp.Diff(p.Serving, m.Serving); diff != "" {
		t.Errorf("serving differs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(p.Encoder.Features, m.Encoder.Features); diff != "" {
		t.Errorf("features differ (-want +got):\n%s", diff)
	}
	if string(m.Spec.Text()) != wardSpec {
		t.Errorf("the spec's text is\n%s", m.Spec.Text())
	}
	for _, want := range []string{"data: model.ubj\n", "run_id: abc\n", "xgb_version: 3.2.0\n", "'2026-01-02 03:04:05.000000'"} {
		if !strings.Contains(string(files["MLmodel"]), want) {
			t.Errorf("MLmodel is without %q:\n%s", want, files["MLmodel"])
		}
	}
}

func TestReadRefuses(t *testing.T) {
	files := write(t, parts(t))
	set := func(name, text string) func(map[string][]byte) {
		return func(f map[string][]byte) { f[name] = []byte(text) }
	}
	replace := func(name, old, new string) func(map[string][]byte) {
		return func(f map[string][]byte) {
			if !strings.Contains(string(f[name]), old) {
				t.Errorf("%s holds no %q", name, old)
			}
			f[name] = []byte(strings.Replace(string(f[name]), old, new, 1))
		}
	}
	without := func(name string) func(map[string][]byte) {
		return func(f map[string][]byte) { delete(f, name) }
	}
	half := func(name string) func(map[string][]byte) {
		return func(f map[string][]byte) { f[name] = f[name][:len(f[name])/2] }
	}
	for _, test := range []struct {
		reason string
		change func(map[string][]byte)
		want   []string // in the error
	}{
		{"no spec", without("spec.yaml"), []string{"spec.yaml"}},
		{"no encoder", without("encoder.json"), []string{"encoder.json"}},
		{"no trees", without("model.ubj"), []string{"model.ubj"}},
		{"nothing to serve by", without("serving.json"), []string{"serving.json"}},
		{"empty spec", set("spec.yaml", ""), []string{"spec.yaml"}},
		{"spec with a column missing", replace("spec.yaml", "- {name: ward, type: category}", ""), []string{"spec.yaml", "ward"}},
		{"encoder cut short", half("encoder.json"), []string{"encoder.json"}},
		{"encoder without features", set("encoder.json", `{}`), []string{"encoder.json", "no features"}},
		{"encoder of another spec", replace("encoder.json", `"visits"`, `"stays"`), []string{"encoder.json", "stays"}},
		{"trees cut short", half("model.ubj"), []string{"model.ubj"}},
		{"empty trees", set("model.ubj", ""), []string{"model.ubj"}},
		{"a page of a proxy instead of trees", set("model.ubj", "<html>"), []string{"model.ubj"}},
		{"serving cut short", half("serving.json"), []string{"serving.json"}},
		{"threshold above 1", replace("serving.json", `"threshold": 0.25`, `"threshold": 1.5`), []string{"serving.json", "1.5"}},
		{"threshold below 0", replace("serving.json", `"threshold": 0.25`, `"threshold": -1`), []string{"serving.json", "-1"}},
		{"a file for Python outside the folder", replace("serving.json", "conda.yaml", "../conda.yaml"), []string{"serving.json", "../conda.yaml"}},
		{"a file for Python that is one of the server's", replace("serving.json", "conda.yaml", "spec.yaml"), []string{"serving.json", "spec.yaml"}},
		{"no samples", set("serving.json", `{"threshold":0.5}`), []string{"serving.json", "no samples"}},
		{"sample with another probability", replace("serving.json", "0.3729654550552368", "0.3729754550552368"), []string{"serving.json", "sample 1", "does not reproduce"}},
		{"sample with a value that no longer encodes", replace("serving.json", `"48.8"`, `"old"`), []string{"serving.json", "sample 1", "age"}},
		{"sample with an unknown column", replace("serving.json", `"age"`, `"years"`), []string{"serving.json", "sample 0", "years"}},
		{"levels in another order", replace("encoder.json", `"f"`, `"x"`), []string{"serving.json", "does not reproduce"}},
	} {
		changed := maps.Clone(files)
		test.change(changed)
		_, err := readBack(changed)
		if err == nil {
			t.Errorf("%s: no error", test.reason)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %q, want %q in it", test.reason, err, want)
			}
		}
	}
}

// The trees' features must be the encoder's: as many, and the same in order.
func TestVerifyFeatures(t *testing.T) {
	p := parts(t)
	trees, err := tree.Parse(p.UBJ)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		reason, old, new string
		features         []feature.Feature
		want             string
	}{
		{"one fewer", "  - {category: ward}\n", "", p.Encoder.Features[:3], "model.ubj takes 4 features, encoder.json makes 3"},
		{"two changed places", "  - {number: age}\n  - {number: visits}\n", "  - {number: visits}\n  - {number: age}\n",
			[]feature.Feature{p.Encoder.Features[1], p.Encoder.Features[0], p.Encoder.Features[2], p.Encoder.Features[3]}, `feature 0 is "age" in model.ubj, "visits" in encoder.json`},
	} {
		spec, err := dataset.Parse([]byte(strings.Replace(wardSpec, test.old, test.new, 1)))
		if err != nil {
			t.Fatal(err)
		}
		encoder, err := feature.New(spec, test.features, nil)
		if err != nil {
			t.Fatal(err)
		}
		m := &Model{Spec: spec, Encoder: encoder, Trees: trees, Serving: p.Serving}
		if err := m.Verify(); err == nil || err.Error() != test.want {
			t.Errorf("%s: error %v, want %q", test.reason, err, test.want)
		}
	}
}

func TestEncodeRecord(t *testing.T) {
	m, err := readBack(write(t, parts(t)))
	if err != nil {
		t.Fatal(err)
	}
	nan := float32(math.NaN())
	for _, test := range []struct {
		reason string
		record map[string]string
		want   []float32
		err    string
	}{
		{"all columns", map[string]string{"id": "7", "age": "40.5", "visits": "2", "sex": "m", "ward": "w1", "y": "1"}, []float32{40.5, 2, 1, 1}, ""},
		{"nothing", nil, []float32{nan, nan, nan, nan}, ""},
		{"markers and empty fields are missing", map[string]string{"age": "?", "sex": "", "ward": " "}, []float32{nan, nan, nan, nan}, ""},
		{"spaces go", map[string]string{"age": " 40 ", "sex": " m"}, []float32{40, nan, 1, nan}, ""},
		{"a level that training did not see is missing", map[string]string{"sex": "x"}, []float32{nan, nan, nan, nan}, ""},
		{"unknown column", map[string]string{"height": "1"}, nil, `"height"`},
		{"text for a number", map[string]string{"age": "old"}, nil, `column "age"`},
		{"below min", map[string]string{"age": "-1"}, nil, "below 0"},
		{"fraction for an integer", map[string]string{"visits": "1.5"}, nil, "not an integer"},
	} {
		got := []float32{9, 9, 9, 9} // what was there before must not stay
		err := m.EncodeRecord(got, test.record)
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%s: error %v, want %q", test.reason, err, test.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", test.reason, err)
			continue
		}
		for i := range got {
			if got[i] != test.want[i] && !(got[i] != got[i] && test.want[i] != test.want[i]) {
				t.Errorf("%s: %v, want %v", test.reason, got, test.want)
				break
			}
		}
	}
}

func TestRecord(t *testing.T) {
	spec, err := dataset.Parse([]byte(wardSpec))
	if err != nil {
		t.Fatal(err)
	}
	got := Record(spec, [][]byte{[]byte("7"), []byte("40"), nil, []byte("m"), nil, []byte("1")})
	if diff := cmp.Diff(map[string]string{"age": "40", "sex": "m"}, got); diff != "" {
		t.Errorf("record differs, of which key, target and missing values are left out (-want +got):\n%s", diff)
	}
}

// The signed file has the digests of those that only Python reads.
func TestCheckCompanions(t *testing.T) {
	t.Parallel()
	files := write(t, parts(t))
	m, err := readBack(files)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range m.Serving.Companions() {
		dir := fstest.MapFS{}
		for n, text := range files {
			dir[n] = &fstest.MapFile{Data: text}
		}
		if err := m.Serving.CheckCompanions(dir); err != nil {
			t.Errorf("as written: %v", err)
		}
		dir[name] = &fstest.MapFile{Data: append([]byte("x"), files[name]...)}
		if err := m.Serving.CheckCompanions(dir); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s changed: error %v", name, err)
		}
		delete(dir, name)
		if err := m.Serving.CheckCompanions(dir); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s gone: error %v", name, err)
		}
	}
}
