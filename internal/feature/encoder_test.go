package feature

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mlops/internal/dataset"
)

const spec = `name: tiny
model: tiny
task: binary
missing: ["?"]
columns:
  - {name: size, type: number}
  - {name: age, type: category}
  - {name: kind, type: category}
  - {name: code, type: category}
  - {name: a, type: category}
  - {name: b, type: category}
  - {name: y, type: category}
target: {column: y, positive: ["1"]}
split: {salts: [s], train: 70, validation: 15, test: 15}
features:
  - {number: size}
  - {number: age, values: {young: 10, old: 80}}
  - {category: kind}
  - {category: code, fold_below: 2}
  - ranges: code
    table: [{name: special, from: 5, to: 6}, {name: low, from: 0, to: 10}, {name: v, prefix: V}]
  - {name: set, count: [a, b], of: ["Up"]}
  - {name: given, count: [a, b], not_of: ["No"]}
threshold: {fixed: 0.5}
candidates: [{name: one, rounds: 1}]
`

var training = []string{
	"1,young,cat,3,Up,No,1",
	"2,old,dog,3,No,No,0",
	"3,old,cat,V9,No,?,0",
	"?,?,?,?,?,?,1",
}

func fields(t *testing.T, s *dataset.Spec, line string) [][]byte {
	t.Helper()
	var out [][]byte
	for i, f := range strings.Split(line, ",") {
		v, err := s.Value(i, []byte(f))
		if err != nil {
			t.Fatalf("column %d of %q: %v", i, line, err)
		}
		out = append(out, v)
	}
	return out
}

func fit(t *testing.T, lines []string) *Encoder {
	t.Helper()
	s, err := dataset.Parse([]byte(spec))
	if err != nil {
		t.Fatal(err)
	}
	f := NewFitter(s)
	for _, l := range lines {
		f.Add(fields(t, s, l))
	}
	e, err := f.Encoder()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEncode(t *testing.T) {
	nan := float32(math.NaN())
	e := fit(t, training)
	tests := []struct {
		reason, line string
		want         []float32
	}{
		{"known levels", "1.5,old,dog,3,Up,Up,1", []float32{1.5, 80, 1, 0, 1, 2, 2}},
		{"nothing known", "?,?,?,?,?,?,?", []float32{nan, nan, nan, nan, nan, 0, 0}},
		{"rare level is folded, its range is not", "1,young,cat,V9,No,No,0", []float32{1, 10, 0, 1, 2, 0, 0}},
		{"level never seen is folded where there is a fold, else missing", "1,middle,cow,7,Down,Up,0", []float32{1, nan, nan, 1, 1, 1, 2}},
		{"the first range that fits counts", "1,young,cat,5.5,No,?,0", []float32{1, 10, 0, 1, 0, 0, 0}},
		{"no range fits", "1,young,cat,10,No,?,0", []float32{1, 10, 0, 1, nan, 0, 0}},
	}
	got := make([]float32, e.Width())
	for _, test := range tests {
		e.Encode(got, fields(t, e.Spec(), test.line))
		if diff := differ(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.reason, diff)
		}
	}
}

func TestSetCountsUnknown(t *testing.T) {
	e := fit(t, training)
	v := make([]float32, e.Width())
	e.Reset(v)
	if got, _ := e.Set(v, 2, []byte("cow")); got != 1 {
		t.Errorf("unknown level: %d, want 1", got)
	}
	if got, _ := e.Set(v, 2, []byte("cat")); got != 0 {
		t.Errorf("known level: %d, want 0", got)
	}
}

func TestOrderOfRowsDoesNotMatter(t *testing.T) {
	turned := []string{training[3], training[2], training[1], training[0]}
	if diff := cmp.Diff(fit(t, training).Features, fit(t, turned).Features); diff != "" {
		t.Errorf("features differ with the order of the rows:\n%s", diff)
	}
}

func TestStoredEncoderEncodesTheSame(t *testing.T) {
	e := fit(t, training)
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Read(e.Spec(), text)
	if err != nil {
		t.Fatal(err)
	}
	a, b := make([]float32, e.Width()), make([]float32, e.Width())
	for _, line := range training {
		e.Encode(a, fields(t, e.Spec(), line))
		again.Encode(b, fields(t, e.Spec(), line))
		if diff := differ(a, b); diff != "" {
			t.Errorf("%s:\n%s", line, diff)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	e := fit(t, training)
	whole, _ := json.Marshal(e)
	tests := []struct{ reason, text, want string }{
		{"cut short", string(whole[:len(whole)/2]), "reading encoder"},
		{"no features", "{}", "no features"},
		{"of another spec", strings.Replace(string(whole), `"kind"`, `"sort"`, 1), "sort"},
		{"one feature less", `{"features":[{"name":"size"}]}`, "1 features"},
		{"category as a number", strings.Replace(string(whole), `"categorical": false`, `"categorical": true`, 1), "category"},
	}
	for _, test := range tests {
		text := test.text
		if test.reason == "category as a number" && text == string(whole) {
			text = strings.Replace(string(whole), `"categorical":false`, `"categorical":true`, 1)
		}
		if _, err := Read(e.Spec(), []byte(text)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q in it", test.reason, err, test.want)
		}
	}
}

// differ says how two vectors differ, "" if they don't; missing values are equal.
func differ(want, got []float32) string {
	if slices.EqualFunc(want, got, func(a, b float32) bool { return a == b || a != a && b != b }) {
		return "" // cmp takes a thousand times as long to find that
	}
	return cmp.Diff(want, got, cmpopts.EquateNaNs())
}
