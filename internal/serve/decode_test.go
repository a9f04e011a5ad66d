package serve

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mlops/internal/api"
	"mlops/internal/dataset"
	"mlops/internal/feature"
)

const tinySpec = `name: tiny
title: Tiny
model: tiny
task: binary
missing: ["?"]
key: id
columns:
  - {name: id, type: integer}
  - {name: size, type: number, min: 0}
  - {name: count, type: integer}
  - {name: kind, type: category, codes: {"1": one, "10": ten, "2": two}}
  - {name: "odd name", type: category, names: [{name: accented, prefix: é}]}
  - {name: y, type: category}
target: {column: y, positive: ["1"]}
cohort:
  - {column: count, values: [-1, "7.0"], because: not ours}
  - {column: kind, values: ["99", "98.0"], because: "gone, \"for good\""}
  - {column: y, values: [never], because: not known}
split: {salts: [s], train: 70, validation: 15, test: 15}
features:
  - {number: size}
  - {number: count}
  - {category: kind}
  - {category: "odd name", fold_below: 2}
threshold: {fixed: 0.5}
candidates: [{name: one, rounds: 1}]
`

func tinyEncoder(t testing.TB) *feature.Encoder {
	t.Helper()
	return encoderOf(t, tinySpec)
}

// encoderOf returns an encoder of the tiny spec or one with small changes.
func encoderOf(t testing.TB, text string) *feature.Encoder {
	t.Helper()
	spec, err := dataset.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	f := feature.NewFitter(spec)
	for _, row := range [][]string{{"1", "1", "1", "1", "é\"", "1"}, {"2", "2", "2", "2", "é\"", "0"}} {
		fields := make([][]byte, len(row))
		for i, v := range row {
			fields[i] = []byte(v)
		}
		f.Add(fields)
	}
	e, err := f.Encoder()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// oldEncoder is the tiny one as a version from before training kept what it saw has
// it: what has no value is NaN.
func oldEncoder(t testing.TB) *feature.Encoder {
	t.Helper()
	e := tinyEncoder(t)
	e, err := feature.New(e.Spec(), e.Features, nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// decodeAll returns the vectors of a body.
func decodeAll(t testing.TB, d *decoder, body string) ([][]float32, error) {
	e := oldEncoder(t)
	var got [][]float32
	err := d.decode([]byte(body), e, func() []float32 {
		got = append(got, make([]float32, e.Width()))
		return got[len(got)-1]
	})
	return got, err
}

func TestDecode(t *testing.T) {
	nan := float32(math.NaN())
	blank := []float32{nan, nan, nan, nan}
	tests := []struct {
		reason, body string
		want         [][]float32
	}{
		{"one record", `{"size":1.5,"count":3,"kind":"2"}`, [][]float32{{1.5, 3, 1, nan}}},
		{"an array", ` [ {"size":1} , {"size":2} ] `, [][]float32{{1, nan, nan, nan}, {2, nan, nan, nan}}},
		{"instances", `{"instances":[{"size":1},{}]}`, [][]float32{{1, nan, nan, nan}, blank}},
		{"no value at all", `{}`, [][]float32{blank}},
		{"numbers as the table's strings", `{"size":"1.5","count":"3"}`, [][]float32{{1.5, 3, nan, nan}}},
		{"null, the marker and the empty string are missing", `{"size":null,"count":"?","kind":""}`, [][]float32{blank}},
		{"spaces around a string go", `{"kind":" 1 "}`, [][]float32{{nan, nan, 0, nan}}},
		{"code as a number", `{"kind":2}`, [][]float32{{nan, nan, 1, nan}}},
		{"code as a number with a point", `{"kind":2.0}`, [][]float32{{nan, nan, 1, nan}}},
		{"integer with a point, as pandas writes one", `{"count":3.0}`, [][]float32{{nan, 3, nan, nan}}},
		{"code as a number with an exponent", `{"kind":2e0}`, [][]float32{{nan, nan, 1, nan}}},
		{"level never seen is missing without a fold", `{"kind":"77"}`, [][]float32{blank}},
		{"level never seen is folded with one", `{"odd name":"x"}`, [][]float32{{nan, nan, nan, 1}}},
		{"escapes in names and values", `{"odd\u0020name":"\u00e9\""}`, [][]float32{{nan, nan, nan, 0}}},
		{"surrogate pair", `{"odd name":"\ud83d\ude00"}`, [][]float32{{nan, nan, nan, 1}}},
		{"the key and the target are ignored", `{"id":"x","y":"maybe","size":1}`, [][]float32{{1, nan, nan, nan}}},
		{"order of columns does not matter", `{"kind":"2","count":3,"size":1.5}`, [][]float32{{1.5, 3, 1, nan}}},
		{"white space everywhere", "\n{\t\"size\" : 1 ,\r\n\"count\":2}\n", [][]float32{{1, 2, nan, nan}}},
	}
	var d decoder // one for all: nothing may remain from one request to the next
	for _, test := range tests {
		got, err := decodeAll(t, &d, test.body)
		if err != nil {
			t.Errorf("%s: %v", test.reason, err)
			continue
		}
		if diff := cmp.Diff(test.want, got, cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.reason, diff)
		}
	}
}

// refusedBodies are bodies that can't be scored; TestBadRequests sends them too.
var refusedBodies = []struct {
	reason, body string
	want         string // in the error
	field        string // that it names
	syntax       bool
}{
	{"empty", ``, "empty", "", true},
	{"white space", " \n ", "empty", "", true},
	{"NUL", "\x00", "neither", "", true},
	{"a number", `1`, "neither", "", true},
	{"a string", `"x"`, "neither", "", true},
	{"no record", `[]`, "no record", "", true},
	{"no instance", `{"instances":[]}`, "no record", "", true},
	{"instances as an object", `{"instances":{}}`, "not an array", "", true},
	{"more beside instances", `{"instances":[{}],"size":1}`, "must be alone", "", true},
	{"record that is an array", `[[1]]`, "record 0 is not an object", "", true},
	{"record that is null", `[{},null]`, "record 1 is not an object", "", true},
	{"cut short in a string", `{"size`, "not terminated", "", true},
	{"cut short in a record", `{"size":1`, "expected , or }", "", true},
	{"cut short in an array", `[{"size":1}`, "expected , or ]", "", true},
	{"comma at the end of a record", `{"size":1,}`, "in quotes", "", true},
	{"comma at the end of an array", `[{},]`, "not an object", "", true},
	{"no colon", `{"size" 1}`, "expected :", "", true},
	{"name without quotes", `{size:1}`, "in quotes", "", true},
	{"no value", `{"size":}`, "expected a value", "", true},
	{"something after the end", `{} {}`, "after the end", "", true},
	{"a minus alone", `{"size":-}`, "not a number", "", true},
	{"a plus", `{"size":+1}`, "expected a value", "", true},
	{"leading zero", `{"size":01}`, "expected , or }", "", true},
	{"no digit after the point", `{"size":1.}`, "after the point", "", true},
	{"no digit in the exponent", `{"size":1e}`, "exponent", "", true},
	{"NaN", `{"size":NaN}`, "size: NaN is not JSON; send null for a missing value", "size", true},
	{"half of null", `{"size":nul}`, "expected null", "", true},
	{"control character", "{\"kind\":\"a\nb\"}", "control character", "", true},
	{"invalid UTF-8", "{\"kind\":\"\xff\"}", "UTF-8", "", true},
	{"invalid UTF-8 after an escape", "{\"kind\":\"\\n\xff\"}", "UTF-8", "", true},
	{"unknown escape", `{"kind":"\x"}`, "escape", "", true},
	{"short unicode escape", `{"kind":"\u12"}`, "escape", "", true},
	{"half a surrogate pair", `{"kind":"\ud83d"}`, "surrogate", "", true},
	{"two low surrogates", `{"kind":"\ude00\ude00"}`, "surrogate", "", true},
	{"string with escapes longer than any value", `{"kind":"\n` + strings.Repeat("x", maxEscaped+1) + `"}`, "longer than", "", true},
	{"string cut in an escape", `{"kind":"\`, "", "", true},
	{"unknown column", `{"size":1,"sise":2}`, "no column", "sise", false},
	{"unknown column in a later record", `[{"size":1},{"sise":2}]`, "record 1", "sise", false},
	{"instances in the middle is a column like any other", `{"size":1,"instances":[]}`, "no column", "instances", false},
	{"column twice", `{"size":1,"size":2}`, "twice", "size", false},
	{"true", `{"size":true}`, "is a boolean", "size", false},
	{"true that ends early", `{"size":tru}`, "expected true", "", true},
	{"a number above every float32", `{"size":1e39}`, "too large for a model", "size", false},
	{"the same in a string", `{"size":"1e39"}`, "too large for a model", "size", false},
	{"object as a value", `{"kind":{}}`, "object or an array", "kind", false},
	{"array as a value", `{"kind":[1]}`, "object or an array", "kind", false},
	{"text in a number column", `{"size":"big"}`, "not a number", "size", false},
	{"fraction in an integer column", `{"count":1.5}`, "not an integer", "count", false},
	{"too large for a float64", `{"size":1e999}`, "not a number", "size", false},
	{"below min", `{"size":-1}`, "below 0", "size", false},
}

func TestDecodeRefuses(t *testing.T) {
	var d decoder
	for _, test := range refusedBodies {
		_, err := decodeAll(t, &d, test.body)
		var bad *requestError
		if !errors.As(err, &bad) {
			t.Errorf("%s: error %v, want a *requestError", test.reason, err)
			continue
		}
		field := ""
		if len(bad.errors) > 0 {
			field = bad.errors[0].Field
		}
		if !strings.Contains(bad.Error(), test.want) || field != test.field || bad.notJSON != test.syntax || len(bad.errors) > 1 {
			t.Errorf("%s: got %q (%v, not JSON %t), want %q in it (one error at most, of field %q, not JSON %t)",
				test.reason, bad, bad.errors, bad.notJSON, test.want, test.field, test.syntax)
		}
	}
}

// All mistakes of a request are reported, in its order.
func TestAllErrors(t *testing.T) {
	t.Parallel()
	const (
		noColumn  = "there is no column with this name"
		notNumber = `"big" is not a number`
	)
	list := func(n int, record string) string {
		return "[" + strings.Repeat(record+",", n-1) + record + "]"
	}
	var twenty []api.FieldError
	for i := range 20 {
		twenty = append(twenty, api.FieldError{Record: i, Field: "sise", Detail: noColumn})
	}
	for _, test := range []struct {
		reason, body, detail string
		notJSON              bool
		want                 []api.FieldError
	}{
		{"two fields and a second record", `[{"size":"big","kind":"1","sise":[{"size":"}"}]},{"count":1},{"count":1.5}]`,
			`3 errors, the first: record 0, size: "big" is not a number`, false,
			[]api.FieldError{{Record: 0, Field: "size", Detail: notNumber}, {Record: 0, Field: "sise", Detail: noColumn}, {Record: 2, Field: "count", Detail: `"1.5" is not an integer`}}},
		{"every kind of mistake", `{"size":true,"kind":{"a":[1,{}]},"count":"x","sise":-1.5e3,"count":null,"id":[]}`,
			"6 errors, the first: record 0, size: is a boolean; it must be a number or a string", false,
			[]api.FieldError{
				{Field: "size", Detail: "is a boolean; it must be a number or a string"},
				{Field: "kind", Detail: "is an object or an array; it must be a number or a string"},
				{Field: "count", Detail: `"x" is not an integer`},
				{Field: "sise", Detail: noColumn},
				{Field: "count", Detail: "given twice"},
				{Field: "id", Detail: "is an object or an array; it must be a number or a string"},
			}},
		{"not JSON after a mistake", `[{"sise":1},{"size":1 2}]`, "expected , or } in record 1 (line 1, byte 23); 1 error before that, the first: record 0, sise: " + noColumn, true,
			[]api.FieldError{{Field: "sise", Detail: noColumn}, {Record: 1, Detail: "expected , or } in record 1 (line 1, byte 23)"}}},
		{"twenty", list(20, `{"sise":1}`), "20 errors, the first: record 0, sise: " + noColumn, false, twenty},
		{"more than twenty", list(21, `{"sise":1}`), "more than 20 errors, of which the first 20 are listed; the first: record 0, sise: " + noColumn, false, twenty},
	} {
		_, err := decodeAll(t, new(decoder), test.body)
		var bad *requestError
		if !errors.As(err, &bad) {
			t.Errorf("%s: error %v, want a *requestError", test.reason, err)
			continue
		}
		if diff := cmp.Diff(test.want, bad.errors); diff != "" {
			t.Errorf("%s: errors (-want +got):\n%s", test.reason, diff)
		}
		if bad.detail != test.detail || bad.notJSON != test.notJSON {
			t.Errorf("%s: detail %q, not JSON %v, want %q, %v", test.reason, bad.detail, bad.notJSON, test.detail, test.notJSON)
		}
	}
}

// TestColumnsOfTheFile has columns that the table calls otherwise, a boolean and a date.
func TestColumnsOfTheFile(t *testing.T) {
	text := strings.NewReplacer(
		"{name: size, type: number, min: 0}", `{name: size, from: "Größe (cm)", type: number, min: 0, missing: ["-1"]}`,
		"{name: count, type: integer}", "{name: count, type: boolean}", `values: [-1, "7.0"]`, "values: [no]",
		`codes: {"1": one, "10": ten, "2": two}}`, "}", "{name: kind, type: category", "{name: kind, type: date, format: DD.MM.YYYY", `values: ["99", "98.0"]`, "values: [2000-01-01]",
		"{category: kind}", "{date: kind, part: year}").Replace(tinySpec)
	spec, err := dataset.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	f := feature.NewFitter(spec)
	for _, row := range []string{"1,1,true,2024-01-31,é,1", "2,2,false,2025-01-31,é,0"} {
		fields := make([][]byte, 6)
		for i, v := range strings.Split(row, ",") {
			fields[i] = []byte(v)
		}
		f.Add(fields)
	}
	e, err := f.Encoder()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ body, want string }{
		{`{"size": 3, "count": true, "kind": "31.01.2024"}`, ""},
		{`{"size": "-1.0", "count": 1, "kind": "2024-01-31T10:00:00Z"}`, ""},
		{`{"size": 3, "count": "Yes", "kind": 20240131}`, ""},
		{`{"Größe (cm)": 3}`, `is what the table calls the column "size"`},
		{`{"size": 3, "count": 2}`, "not a boolean; send true or false"},
		{`{"kind": "31/01/2024"}`, "not a date of the form DD.MM.YYYY"},
		{`{"size": true}`, "is a boolean"},
	} {
		var d decoder
		var vectors [][]float32
		err := d.decode([]byte(tt.body), e, func() []float32 {
			vectors = append(vectors, make([]float32, e.Width()))
			return vectors[len(vectors)-1]
		})
		if tt.want != "" {
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: got %v, want %q in it", tt.body, err, tt.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.body, err)
			continue
		}
		if got := vectors[0]; got[1] != 1 || got[2] != 2024 {
			t.Errorf("%s: vector %v, want 1 and 2024", tt.body, got)
		}
	}
}

// plain finds the first byte that a string can't hold as it is, wherever it is among
// eight and whatever surrounds it.
func TestPlain(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200_000 {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], rng.Uint64()&0x7f7f7f7f7f7f7f7f)
		if at := rng.IntN(9); at < 8 {
			b[at] = []byte{'"', '\\', ' ' - 1, ' ', '!', '#', '[', ']', 0, 0x7f, 0x80, 0xff}[rng.IntN(12)]
		}
		want := 0
		for want < 8 && b[want] != '"' && b[want] != '\\' && b[want] >= ' ' && b[want] < 0x80 {
			want++
		}
		if got := plain(binary.LittleEndian.Uint64(b[:])); got != want {
			t.Fatalf("plain(%q) is %d, want %d", b, got, want)
		}
	}
}
