package protocol

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// same compares JSON texts.
func same(t *testing.T, what, got, want string) {
	t.Helper()
	var a, b any
	if err := json.Unmarshal([]byte(got), &a); err != nil {
		t.Errorf("%s: %v: %s", what, err, got)
		return
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b, a); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

const most = 1000

func TestInvocations(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ what, body, want string }{
		{"split", `{"dataframe_split":{"index":[0,1],"columns":["a","b \"c\""],"data":[[1,"x"],[null,"y,]}"]]}}`, `[{"a":1,"b \"c\"":"x"},{"a":null,"b \"c\"":"y,]}"}]`},
		{"split, data first", ` { "dataframe_split" : { "data" : [ [ 1 ] ] , "columns" : [ "a" ] } } `, `[{"a":1}]`},
		{"split without rows", `{"dataframe_split":{"columns":["a"],"data":[]}}`, `[]`},
		{"records", `{"dataframe_records":[{"a":1},{"a":"2"}],"params":{}}`, `[{"a":1},{"a":"2"}]`},
		{"instances", `{"instances":[{"a":1.50}]}`, `[{"a":1.5}]`},
		{"inputs of columns", `{"inputs":{"a":[1,2],"b":["x",null]}}`, `[{"a":1,"b":"x"},{"a":2,"b":null}]`},
		{"inputs of records", `{"inputs":[{"a":[{"b":1}]}]}`, `[{"a":[{"b":1}]}]`},
		{"what Python writes for a missing number", `{"dataframe_split":{"columns":["a","NaN"],"data":[[NaN,"NaN\"NaN"]]}}`, `[{"a":null,"NaN":"NaN\"NaN"}]`},
		{"inputs of nothing", `{"inputs":{}}`, `[]`},
	} {
		got, err := Invocations([]byte(test.body), most)
		if err != nil {
			t.Errorf("%s: %v", test.what, err)
			continue
		}
		same(t, test.what, string(got), test.want)
	}
	for body, want := range map[string]string{
		`{"dataframe_split":`:                   "not JSON",
		`[]`:                                    "the body is an array",
		`{}`:                                    "none of",
		`{"data":1}`:                            `"data" is not known`,
		`{"instances":[],"inputs":[]}`:          "both instances and inputs",
		`{"instances":[[1,2]]}`:                 "entry 0 is an array",
		`{"instances":{"a":1}}`:                 "instances is an object",
		`{"dataframe_split":[1]}`:               "dataframe_split is an array",
		`{"dataframe_split":{"columns":["a"]}}`: "needs columns",
		`{"dataframe_split":{"columns":[1],"data":[[1]]}}`:     "column 0 is a number",
		`{"dataframe_split":{"columns":["a"],"data":[[1,2]]}}`: "row 0 has 2 values for 1 columns",
		`{"dataframe_split":{"columns":["a"],"data":[1]}}`:     "row 0 is a number",
		`{"inputs":{"a":[1],"b":[]}}`:                          `"b" has 0 values, the first column 1`,
		`{"inputs":{"a":1}}`:                                   `"a" is a number`,
		`{"instances":[{"a":1}],"params":{"x":1}}`:             "params",
	} {
		if _, err := Invocations([]byte(body), most); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", body, err, want)
		}
	}
	if _, err := Invocations([]byte(`{"dataframe_split":{"columns":["`+strings.Repeat("n", 90)+`"],"data":[`+strings.Repeat("[1],", 20)+`[1]]}}`), most); !errors.Is(err, ErrTooLarge) {
		t.Errorf("records of 2,000 bytes: %v", err)
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		"{\"a\":1}\n{\"a\":2}\n":          `[{"a":1},{"a":2}]`,
		"{\"a\":1}\r\n\r\n\n{\"a\":\"\"}": `[{"a":1},{"a":""}]`,
		"":                                `[]`,
	} {
		got, err := Lines([]byte(body), most)
		if err != nil {
			t.Fatal(err)
		}
		same(t, body, string(got), want)
	}
	// A mistake is on the line where it was.
	if got, _ := Lines([]byte("{}\n{]\n"), most); strings.Split(string(got), "\n")[1] != ",{]" {
		t.Errorf("lines moved: %q", got)
	}
}

func TestInfer(t *testing.T) {
	t.Parallel()
	got, request, err := Infer([]byte(`{"id":"7","inputs":[
{"name":"a","shape":[2],"datatype":"FP64","data":[1.5,null],"parameters":{"content_type":"np"}},
{"name":"b","shape":[2,1],"datatype":"BYTES","data":[["x"],["y"]]}],"outputs":[{"name":"label"}]}`), most)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "infer", string(got), `[{"a":1.5,"b":"x"},{"a":null,"b":"y"}]`)
	if diff := cmp.Diff(InferenceRequest{ID: "7", Outputs: []string{"label"}}, request); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	for body, want := range map[string]string{
		`{"inputs":[`: "not JSON",
		`{}`:          "inputs is missing",
		`[]`:          "not a request",
		`{"inputs":[{"name":"a","shape":[2,2],"datatype":"FP32","data":[1,2,3,4]}]}`:                                                        "one tensor per column",
		`{"inputs":[{"name":"a","shape":[2],"datatype":"FP32","data":[1]}]}`:                                                                "has 1 values, and the shape [2]",
		`{"inputs":[{"name":"a","shape":[1],"datatype":"FP8","data":[1]}]}`:                                                                 `datatype "FP8"`,
		`{"inputs":[{"name":"a","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4}}]}`:                                       "binary",
		`{"inputs":[{"name":"a","shape":[1],"datatype":"FP32","data":[1]},{"name":"b","shape":[2],"datatype":"FP32","data":[1,2]}]}`:        "each tensor is a column",
		`{"inputs":[{"name":"a","shape":[1],"datatype":"FP32","data":[1]}],"outputs":[{"name":"label","parameters":{"binary_data":true}}]}`: "binary",
	} {
		if _, _, err := Infer([]byte(body), most); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", body, err, want)
		}
	}
}

// FuzzEnvelopes checks that what comes out is JSON, whatever comes in.
func FuzzEnvelopes(f *testing.F) {
	for _, seed := range []string{
		`{"dataframe_split":{"columns":["a"],"data":[[1],["x"]]}}`, `{"inputs":{"a":[1,{}]}}`, `{"instances":[{}]}`,
		`{"inputs":[{"name":"a","shape":[1],"datatype":"FP32","data":[[1]]}]}`, `{"dataframe_records":[{"a":{"b":[]}}]}`, `{"inputs":{"":[]}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if got, err := Invocations(body, most); err == nil && !json.Valid(got) {
			t.Errorf("%q became %q", body, got)
		}
		if got, _, err := Infer(body, most); err == nil && !json.Valid(got) {
			t.Errorf("%q became %q", body, got)
		}
	})
}
