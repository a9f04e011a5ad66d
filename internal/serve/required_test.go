package serve

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/api"
)

// requiredSpec is the tiny spec with two required columns, one of which the cohort
// looks at.
var requiredSpec = strings.NewReplacer(
	"{name: size, type: number, min: 0}", "{name: size, type: number, min: 0, required: true}",
	"{name: kind, type: category,", "{name: kind, type: category, required: true,",
).Replace(tinySpec)

func TestRequired(t *testing.T) {
	t.Parallel()
	const notGiven, noValue = "is required, and not given", "is required, and has no value"
	e := encoderOf(t, requiredSpec)
	vector := make([]float32, e.Width())
	for _, test := range []struct {
		reason, body string
		want         []api.FieldError
	}{
		{"there", `[{"size":0,"kind":1},{"kind":"never seen","size":"1"}]`, nil},
		{"not given", `{"count":1}`, []api.FieldError{{Field: "size", Detail: notGiven}, {Field: "kind", Detail: notGiven}}},
		{"no value, in every way", `[{"size":null,"kind":""},{"size":"?","kind":" ? "},{"size":" ","kind":null}]`, []api.FieldError{
			{Record: 0, Field: "size", Detail: noValue}, {Record: 0, Field: "kind", Detail: noValue},
			{Record: 1, Field: "size", Detail: noValue}, {Record: 1, Field: "kind", Detail: noValue},
			{Record: 2, Field: "size", Detail: noValue}, {Record: 2, Field: "kind", Detail: noValue},
		}},
		{"a wrong value is reported once", `{"size":"big","kind":"1"}`, []api.FieldError{{Field: "size", Detail: `"big" is not a number`}}},
		{"in a later record, with other mistakes", `[{"size":1,"kind":"1"},{"kind":"1","count":"x"}]`, []api.FieldError{
			{Record: 1, Field: "count", Detail: `"x" is not an integer`}, {Record: 1, Field: "size", Detail: notGiven}}},
		{"a record that the cohort leaves out", `{"kind":"99"}`, []api.FieldError{{Field: "size", Detail: notGiven}}},
		{"an empty record", `{}`, []api.FieldError{{Field: "size", Detail: notGiven}, {Field: "kind", Detail: notGiven}}},
	} {
		err := new(decoder).decode([]byte(test.body), e, func() []float32 { return vector })
		var bad *requestError
		if errors.As(err, &bad) == (test.want == nil) {
			t.Errorf("%s: error %v, want %v", test.reason, err, test.want)
			continue
		}
		if bad != nil && bad.notJSON {
			t.Errorf("%s: not JSON", test.reason)
		}
		if bad == nil {
			continue
		}
		if diff := cmp.Diff(test.want, bad.errors); diff != "" {
			t.Errorf("%s: errors (-want +got):\n%s", test.reason, diff)
		}
	}
}

func TestRequiredIsDescribed(t *testing.T) {
	t.Parallel()
	e := encoderOf(t, requiredSpec)
	got := map[string]bool{}
	for _, c := range columns(e) {
		got[c.Name] = c.Required
	}
	if diff := cmp.Diff(map[string]bool{"size": true, "count": false, "kind": true, "odd name": false}, got); diff != "" {
		t.Errorf("required in /model (-want +got):\n%s", diff)
	}
	text, err := json.Marshal(recordSchema(e.Spec()))
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Required   []string
		Properties map[string]struct{ Type []string }
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"size", "kind"}, schema.Required); diff != "" {
		t.Errorf("required in the schema (-want +got):\n%s", diff)
	}
	for column, want := range map[string][]string{"size": {"number", "string"}, "odd name": {"number", "string", "null"}} {
		if diff := cmp.Diff(want, schema.Properties[column].Type); diff != "" {
			t.Errorf("type of %s (-want +got):\n%s", column, diff)
		}
	}
}
