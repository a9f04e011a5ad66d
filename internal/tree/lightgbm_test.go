package tree

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"
)

// lightLibrary is LightGBM's C API (LightGBM/c_api.h), as far as it is compared with.
type lightLibrary struct {
	load    func(text string, iterations *int32, handle *uintptr) int32
	free    func(handle uintptr) int32
	predict func(handle uintptr, data unsafe.Pointer, kind, rows, columns, rowMajor, what, start, iterations int32, params string, n *int64, out *float64) int32
	begin   func(handle uintptr, what, start, iterations, kind, columns int32, params string, fast *uintptr) int32
	one     func(fast uintptr, data unsafe.Pointer, n *int64, out *float64) int32
}

// What LightGBM's C API predicts, and the type of data that it takes.
const (
	lightNormal  = 0
	lightRaw     = 1
	lightContrib = 3
	lightFloat64 = 1
)

// lightGBMs trains models in Python and returns their folder and LightGBM's library.
func lightGBMs(tb testing.TB, rows int, tables ...string) (string, *lightLibrary) {
	tb.Helper()
	venv := os.Getenv("MLOPS_VENV")
	if venv == "" {
		tb.Skip("SKIPPED, NOT PASSED: MLOPS_VENV is not set; make test sets it")
	}
	paths, err := filepath.Glob(filepath.Join(venv, "lib", "python3*", "site-packages", "lightgbm", "lib", "lib_lightgbm.so"))
	if err != nil || len(paths) != 1 {
		tb.Skipf("SKIPPED, NOT PASSED: LightGBM is not in %s: %v, %v", venv, paths, err)
	}
	lib, err := purego.Dlopen(paths[0], purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		tb.Fatal(err)
	}
	l := &lightLibrary{}
	for name, to := range map[string]any{
		"LGBM_BoosterLoadModelFromString": &l.load, "LGBM_BoosterFree": &l.free, "LGBM_BoosterPredictForMat": &l.predict,
		"LGBM_BoosterPredictForMatSingleRowFastInit": &l.begin, "LGBM_BoosterPredictForMatSingleRowFast": &l.one,
	} {
		purego.RegisterLibFunc(to, lib, name)
	}
	dir := tb.TempDir()
	cmd := exec.CommandContext(tb.Context(), filepath.Join(venv, "bin", "python"), append([]string{filepath.Join("testdata", "light_models.py"), dir, strconv.Itoa(rows)}, tables...)...)
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "OMP_NUM_THREADS=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		tb.Fatalf("%v\n%s", err, out)
	}
	tb.Logf("%s", out)
	return dir, l
}

// model loads a model into LightGBM.
func (l *lightLibrary) model(tb testing.TB, text string) uintptr {
	tb.Helper()
	var handle uintptr
	var iterations int32
	if l.load(text, &iterations, &handle) != 0 {
		tb.Fatal("LightGBM does not read the model")
	}
	tb.Cleanup(func() { l.free(handle) })
	return handle
}

// of predicts rows, n numbers each.
func (l *lightLibrary) of(tb testing.TB, handle uintptr, what int32, rows []float64, columns, n int) []float64 {
	tb.Helper()
	out := make([]float64, len(rows)/columns*n)
	var got int64
	if l.predict(handle, unsafe.Pointer(&rows[0]), lightFloat64, int32(len(rows)/columns), int32(columns), 1, what, 0, 0, "num_threads=1", &got, &out[0]) != 0 || got != int64(len(out)) {
		tb.Fatalf("LightGBM predicts %d numbers, want %d", got, len(out))
	}
	return out
}

// readLight reads a model and rows that were written for it.
func readLight(tb testing.TB, dir, name string) (text string, rows []float64) {
	tb.Helper()
	model, err := os.ReadFile(filepath.Join(dir, name+".txt"))
	if err != nil {
		tb.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, name+".rows"))
	if err != nil {
		tb.Fatal(err)
	}
	for ; len(data) > 0; data = data[8:] {
		rows = append(rows, math.Float64frombits(binary.LittleEndian.Uint64(data)))
	}
	return string(model), rows
}

// sameAsLightGBM compares margins bit by bit, predictions and contributions.
func sameAsLightGBM(t *testing.T, l *lightLibrary, text string, rows []float64) {
	t.Helper()
	m, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	handle := l.model(t, text)
	columns, outputs := m.Features(), m.Outputs()
	raw := l.of(t, handle, lightRaw, rows, columns, outputs)
	normal := l.of(t, handle, lightNormal, rows, columns, outputs)
	explained := min(len(rows), 100*columns)
	contrib := l.of(t, handle, lightContrib, rows[:explained], columns, outputs*(columns+1))
	encoded := make([]float32, len(rows))
	for i, x := range rows {
		encoded[i] = m.Rank(i%columns, x)
	}
	walked := &Model{features: m.features, bases: m.bases, trees: m.trees, double: m.double} // has no forest
	predicted, margins, walk := make([]float32, len(normal)), make([]float64, outputs), &doubling{sums: make([]float64, outputs)}
	m.ScoreBatch(encoded, predicted)
	contributions := make([]float64, columns+1)
	for i := range len(rows) / columns {
		row := encoded[i*columns : (i+1)*columns]
		m.Margins(row, margins)
		m.double.margins(walked, row, walk)
		for k, got := range margins {
			want := raw[i*outputs+k] / m.double.average
			if got != want || walk.sums[k] != want {
				t.Fatalf("row %d, output %d: %v or %v by walking, LightGBM says %v; %v", i, k, got, walk.sums[k], want, rows[i*columns:(i+1)*columns])
			}
			if got, want := float64(predicted[i*outputs+k]), normal[i*outputs+k]; math.Abs(got-want) > 1e-7*max(1, math.Abs(want)) {
				t.Fatalf("row %d, output %d: predicted %v, LightGBM says %v", i, k, got, want)
			}
			if i >= explained/columns {
				continue
			}
			m.Contributions(row, k, contributions)
			scale, most := 1/m.double.average, 0.0
			if m.Scale() == LogOdds {
				scale *= m.double.sigmoid
			}
			of := contrib[(i*outputs+k)*(columns+1):][:columns+1]
			for _, c := range of {
				most = max(most, math.Abs(c*scale))
			}
			for f, got := range contributions {
				if want := of[f] * scale; math.Abs(got-want) > 1e-5*max(1, most) {
					t.Fatalf("row %d, output %d: feature %d contributes %v, LightGBM says %v", i, k, f, got, want)
				}
			}
		}
	}
}

// TestLightGBM compares with LightGBM itself, for each kind of model, on rows that have
// all that a split may have to decide.
func TestLightGBM(t *testing.T) {
	t.Parallel()
	dir, l := lightGBMs(t, 1000)
	models, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(models) < 25 {
		t.Fatalf("%d models, %v", len(models), err)
	}
	refused := map[string]string{"linear": "linear models", "rank": `objective "lambdarank" is not supported`, "custom": "no objective"}
	for _, path := range models {
		name := strings.TrimSuffix(filepath.Base(path), ".txt")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, rows := readLight(t, dir, name)
			if want := refused[name]; want != "" {
				if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want %q", err, want)
				}
				return
			}
			sameAsLightGBM(t, l, text, rows)
		})
	}
}

// TestLightGBMTables does the same with tables that MLOPS_TEST_TABLES names, each as
// FILE.csv:TARGET:KIND, separated by commas.
func TestLightGBMTables(t *testing.T) {
	named := os.Getenv("MLOPS_TEST_TABLES")
	if named == "" {
		t.Skip("MLOPS_TEST_TABLES names no tables")
	}
	dir, l := lightGBMs(t, 10_000, strings.FieldsFunc(named, func(r rune) bool { return r == ',' || r == ':' })...)
	models, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(models) == 0 {
		t.Fatal(err)
	}
	for _, path := range models {
		name := strings.TrimSuffix(filepath.Base(path), ".txt")
		t.Run(name, func(t *testing.T) {
			text, rows := readLight(t, dir, name)
			sameAsLightGBM(t, l, text, rows)
		})
	}
}

// BenchmarkLightGBM scores rows one by one, and has LightGBM's own fast interface for
// single rows do the same, with the tables of TestLightGBMTables or a drawn one.
func BenchmarkLightGBM(b *testing.B) {
	var tables []string
	if named := os.Getenv("MLOPS_TEST_TABLES"); named != "" {
		tables = strings.FieldsFunc(named, func(r rune) bool { return r == ',' || r == ':' })
	}
	dir, l := lightGBMs(b, 10_000, tables...)
	names := []string{"binary"}
	for i := 0; i < len(tables); i += 3 {
		if i == 0 {
			names = nil
		}
		names = append(names, strings.TrimSuffix(filepath.Base(tables[i]), ".csv"))
	}
	for _, name := range names {
		text, rows := readLight(b, dir, name)
		m, err := Parse([]byte(text))
		if err != nil {
			b.Fatal(err)
		}
		columns := m.Features()
		n := len(rows) / columns
		b.Run(fmt.Sprintf("%s/go", name), func(b *testing.B) {
			encoded, margins := make([]float32, columns), make([]float64, m.Outputs())
			for i := 0; b.Loop(); i = (i + 1) % n {
				for f, x := range rows[i*columns : (i+1)*columns] {
					encoded[f] = m.Rank(f, x)
				}
				m.Margins(encoded, margins)
			}
		})
		b.Run(fmt.Sprintf("%s/lightgbm", name), func(b *testing.B) {
			var fast uintptr
			if l.begin(l.model(b, text), lightRaw, 0, 0, lightFloat64, int32(columns), "num_threads=1", &fast) != 0 {
				b.Fatal("LightGBM does not begin")
			}
			out, got := make([]float64, m.Outputs()), int64(0)
			for i := 0; b.Loop(); i = (i + 1) % n {
				if l.one(fast, unsafe.Pointer(&rows[i*columns]), &got, &out[0]) != 0 {
					b.Fatal("LightGBM does not predict")
				}
			}
		})
	}
}
