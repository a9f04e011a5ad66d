package serve

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mlops/internal/api"
	"mlops/internal/dataset"
	"mlops/internal/feature"
)

const (
	notOurs = `not ours`
	gone    = `gone, "for good"`
)

// A record that the cohort leaves out gets the reason, in its place among the
// others, however its value is spelled.
func TestExcluded(t *testing.T) {
	s, _ := serving(t, 1)
	scored := predict(t, s, `{"size":1}`).Predictions[0]
	for _, test := range []struct {
		reason, body string
		want         []string // reasons; empty where the record is scored
	}{
		{"alone", `{"count":7}`, []string{notOurs}},
		{"among others", `[{"size":1},{"size":1,"kind":"99"},{"size":1}]`, []string{"", gone, ""}},
		{"instances", `{"instances":[{"kind":"99","size":1},{"size":1}]}`, []string{gone, ""}},
		{"spellings of an integer", `[{"count":"7"},{"count":7.0},{"count":"7.00"},{"count":7e0},{"count":" +7 "},{"count":-1.0}]`, slices.Repeat([]string{notOurs}, 6)},
		{"a category's number", `[{"kind":99},{"kind":99.0},{"kind":" 99 "},{"kind":98},{"kind":"98.0"}]`, slices.Repeat([]string{gone}, 5)},
		{"text is text in a category", `[{"size":1,"kind":"099"},{"size":1,"kind":"98"}]`, []string{"", ""}},
		{"two rules: the first of the spec", `[{"kind":"99","count":7},{"count":7,"kind":"99"}]`, []string{notOurs, notOurs}},
		{"missing is in the cohort", `{"size":1,"count":null,"kind":"?"}`, []string{""}},
		{"a rule on the target is not for predictions", `{"size":1,"y":"never"}`, []string{""}},
	} {
		got := predict(t, s, test.body).Predictions
		var want []api.Prediction
		for _, because := range test.want {
			p := api.Prediction{Excluded: because}
			if because == "" {
				p = scored
			}
			want = append(want, p)
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(api.Prediction{}, "Warnings")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.reason, diff)
		}
		for i, p := range got {
			if p.Excluded != "" && p.Warnings != nil {
				t.Errorf("%s: the excluded record %d has warnings %v", test.reason, i, p.Warnings)
			}
		}
	}
	if w := ask(s, http.MethodPost, "/predict", `[{"count":7},{"size":1}]`); !strings.Contains(w.Body.String(), `"predictions":[{"excluded":"not ours"},{"label":`) {
		t.Errorf("answered %s", w.Body)
	}
	// The warnings of the others are those that they have alone.
	got := predict(t, s, `[{"kind":"98.0","odd name":"x"},{"size":1},{"kind":"99","odd name":"x"}]`).Predictions
	if diff := cmp.Diff([]api.Prediction{{Excluded: gone}, scored, {Excluded: gone}}, got); diff != "" || len(scored.Warnings) == 0 {
		t.Errorf("a record between two that are left out (-want +got):\n%s", diff)
	}
	w := ask(s, http.MethodPost, "/predict", `[{"kind":"99","size":"x"},{"size":1}]`)
	checkProblem(t, "a wrong value in an excluded record", w, 422, api.InvalidRecord, "size")
}

func TestExcludedIsCounted(t *testing.T) {
	s, _ := serving(t, 1)
	predict(t, s, `[{"count":7,"odd name":"never seen","kind":"1"},{"kind":"98.0"},{"count":"-1"},{"size":3},{"size":3,"odd name":"never seen"}]`)
	for name, want := range map[string]string{
		`mlops_predictions_excluded_total{reason="not ours"}`:                "2",
		`mlops_predictions_excluded_total{reason="gone, \"for good\""}`:      "1",
		`mlops_predictions_excluded_total{reason="not known"}`:               "0",
		`mlops_predictions_total{label="1"}`:                                 "2",
		`mlops_predictions_total{label="0"}`:                                 "0",
		`mlops_prediction_warnings_total{column="kind",kind="unseen_level"}`: "0",
		`mlops_unknown_values_total`:                                         "1", // of the record that is scored
	} {
		if got := metric(t, s, name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

// Many excluded records keep their places, and the memory for them is given back.
func TestManyExcluded(t *testing.T) {
	s, _ := serving(t, 1)
	const records = 5000
	var body strings.Builder
	for i := range records {
		fmt.Fprintf(&body, `,{"size":1,"count":%d}`, []int{1, 7, 7}[i%3])
	}
	got := predict(t, s, "["+body.String()[1:]+"]").Predictions
	if len(got) != records {
		t.Fatalf("%d predictions for %d records", len(got), records)
	}
	for i, p := range got {
		if out := i%3 > 0; (p.Excluded == notOurs) != out || out == (p.Probability > 0) {
			t.Fatalf("record %d: %+v", i, p)
		}
	}
	if held := s.memory.used.Load(); held != 0 {
		t.Errorf("%d bytes are still taken", held)
	}
}

// Memory for the reasons is bounded like the rest of a request.
func TestExcludedMemory(t *testing.T) {
	m := &memory{total: 1 << 10}
	x := &exchange{memory: m}
	var err error
	n := 0
	for ; err == nil && n < 1<<20; n++ {
		err = x.exclude(n, 0)
	}
	if err == nil || n > 1<<10 {
		t.Errorf("%d records were noted in 1 KiB, error %v", n, err)
	}
}

func TestCohortIsDescribed(t *testing.T) {
	s, _ := serving(t, 1)
	want := []api.Exclusion{
		{Column: "count", Values: []string{"-1", "7"}, Because: notOurs},
		{Column: "kind", Values: []string{"99", "98.0"}, Because: gone},
		{Column: "y", Values: []string{"never"}, Because: "not known"},
	}
	if diff := cmp.Diff(want, describedAs(t, s).Dataset.Cohort); diff != "" {
		t.Errorf("cohort in /model (-want +got):\n%s", diff)
	}
	for path, want := range map[string]string{
		"/docs":         "<td><code>count</code><td>-1, 7<td>not ours",
		"/openapi.json": `"not ours"`,
	} {
		if got := ask(s, http.MethodGet, path, "").Body.String(); !strings.Contains(got, want) {
			t.Errorf("%s without %q:\n%s", path, want, got)
		}
	}
}

// The shipped data set leaves out patients who died or went to a hospice.
func TestDiabetesCohort(t *testing.T) {
	t.Parallel()
	spec, err := dataset.Read("../../workflows/datasets/diabetes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	e, err := feature.NewFitter(spec).Encoder()
	if err != nil {
		t.Fatal(err)
	}
	vector := make([]float32, e.Width())
	for value, because := range map[string]string{
		`"11"`: "died or went to a hospice, so can't be readmitted", `11`: "died or went to a hospice, so can't be readmitted", `11.0`: "died or went to a hospice, so can't be readmitted",
		`"1"`: "", `1`: "", `null`: "", `"?"`: "", `110`: "",
	} {
		got := ""
		d := decoder{exchange: &exchange{memory: &memory{total: 1 << 20}}}
		err := d.decode([]byte(`{"discharge_disposition_id":`+value+`}`), e, func() []float32 { return vector })
		for _, e := range d.exchange.excluded {
			got = spec.Cohort[e.rule].Because
		}
		if err != nil || got != because {
			t.Errorf("discharge_disposition_id %s: excluded because %q, %v; want %q", value, got, err, because)
		}
	}
}

// A request and a row of the table agree on what the cohort leaves out.
func TestCohortAsInTheTable(t *testing.T) {
	t.Parallel()
	e := tinyEncoder(t)
	spec := e.Spec()
	vector := make([]float32, e.Width())
	for column, values := range map[string][]string{
		"count": {"7", "7.0", "+7", "70e-1", " 7", "-1", "-1.00", "1", "77", "?", ""},
		"kind":  {"99", "99.0", " 99 ", "98", "98.0", "98.00", "?", "", "1"},
	} {
		for _, v := range values {
			c := spec.Column(column)
			cell, err := spec.Cell(c, []byte(v))
			if err != nil {
				t.Fatal(err)
			}
			fields := make([][]byte, len(spec.Columns))
			fields[c] = cell
			want := spec.Excluded(fields)
			body := fmt.Sprintf(`{%q:%q}`, column, v)
			d := decoder{exchange: &exchange{memory: &memory{total: 1 << 20}}}
			err = d.decode([]byte(body), e, func() []float32 { return vector })
			got := len(d.exchange.excluded) > 0
			if err != nil || got != want {
				t.Errorf("%s: excluded %v, error %v; as a row of the table %v", body, got, err, want)
			}
		}
	}
}
