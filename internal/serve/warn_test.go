package serve

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mlops/internal/api"
	"mlops/internal/dataset"
	"mlops/internal/feature"
	"mlops/internal/model"
	"mlops/internal/tree"
)

// The training rows of the tiny encoder have sizes and counts from 1 to 2, kinds 1
// and 2, and each has all four columns.
func TestWarnings(t *testing.T) {
	t.Parallel()
	odd := func(column, kind, detail string) api.Warning {
		return api.Warning{Column: column, Kind: kind, Detail: detail}
	}
	missing := func(column, standIn string) api.Warning {
		return odd(column, api.NotGiven, "no value, though every training row has one; scored as "+standIn)
	}
	const rest = `"odd name":"é\"","count":1`
	tests := []struct {
		reason, record string
		want           []api.Warning
	}{
		{"as in training", `{"size":1.5,"kind":1,` + rest + `}`, nil},
		{"at the ends of the range", `{"size":2,"kind":"2",` + rest + `}`, nil},
		{"ids and the target are not compared", `{"id":99,"y":"x","size":1,"kind":"2",` + rest + `}`, nil},
		{"above", `{"size":99999999999,"kind":1,` + rest + `}`, []api.Warning{odd("size", api.OutOfRange, "99999999999 is outside the training range, 1 to 2")}},
		{"below, as text", `{"size":"0.5","kind":1,` + rest + `}`, []api.Warning{odd("size", api.OutOfRange, `"0.5" is outside the training range, 1 to 2`)}},
		{"an unseen level", `{"size":1,"kind":"Martian",` + rest + `}`, []api.Warning{odd("kind", api.UnseenLevel, `no training row has "Martian"`)}},
		{"a code that the spec has and training hasn't", `{"size":1,"kind":"10",` + rest + `}`, []api.Warning{odd("kind", api.UnseenLevel, `no training row has "10"`)}},
		{"an unseen number of a category", `{"size":1,"kind":7.50,` + rest + `}`, []api.Warning{odd("kind", api.UnseenLevel, "no training row has 7.50")}},
		{"with escapes", `{"size":1,"kind":"\u00e9\n",` + rest + `}`, []api.Warning{odd("kind", api.UnseenLevel, `no training row has "é\n"`)}},
		{"left out", `{"size":1,` + rest + `}`, []api.Warning{missing("kind", `"1", the most frequent value`)}},
		{"null", `{"size":1,"kind":null,` + rest + `}`, []api.Warning{missing("kind", `"1", the most frequent value`)}},
		{"a marker", `{"size":1,"kind":"?",` + rest + `}`, []api.Warning{missing("kind", `"1", the most frequent value`)}},
		{"blank", `{"size":1,"kind":"  ",` + rest + `}`, []api.Warning{missing("kind", `"1", the most frequent value`)}},
		{"several, missing ones last", `{"kind":"x","size":9,"odd name":"y"}`, []api.Warning{odd("kind", api.UnseenLevel, `no training row has "x"`),
			odd("size", api.OutOfRange, "9 is outside the training range, 1 to 2"), odd("odd name", api.UnseenLevel, `no training row has "y"`), missing("count", "1, the median")}},
		{"hardly anything", `{"size":1}`, []api.Warning{odd("", api.HardlyGiven, "only 1 of the 4 columns that the model uses have a value, and 99 of 100 training rows have at least 4; the others are scored with their usual values")}},
		{"nothing", `{}`, []api.Warning{odd("", api.HardlyGiven, "only 0 of the 4 columns that the model uses have a value, and 99 of 100 training rows have at least 4; the others are scored with their usual values")}},
	}
	s, _ := serving(t, 1)
	var batch []string
	for _, test := range tests {
		if diff := cmp.Diff(test.want, predict(t, s, test.record).Predictions[0].Warnings); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.reason, diff)
		}
		batch = append(batch, test.record)
	}
	if w := ask(s, "POST", "/predict", tests[0].record); strings.Contains(w.Body.String(), "warnings") {
		t.Errorf("a record as in training has warnings: %s", w.Body)
	}
	for i, p := range predict(t, s, "["+strings.Join(batch, ",")+"]").Predictions {
		if diff := cmp.Diff(tests[i].want, p.Warnings); diff != "" {
			t.Errorf("%s, among others (-want +got):\n%s", tests[i].reason, diff)
		}
	}
	// Each record was sent twice; a request that is refused counts nothing.
	ask(s, "POST", "/predict", `[{},{"size":"x"}]`)
	for name, want := range map[string]string{
		`column="size",kind="out_of_range"`: "6", `column="kind",kind="unseen_level"`: "10", `column="kind",kind="missing"`: "8",
		`column="count",kind="missing"`: "2", `column="count",kind="out_of_range"`: "0", `column="",kind="hardly_given"`: "4",
	} {
		if got := metric(t, s, "mlops_prediction_warnings_total{"+name+"}"); got != want {
			t.Errorf("%s counted %s times, want %s", name, got, want)
		}
	}
}

// A version from before training kept what it saw serves as before, and says so.
func TestVersionWithoutSeen(t *testing.T) {
	t.Parallel()
	files := bundleOf(t, oldEncoder(t), 1)
	if text := files["encoder.json"]; bytes.Contains(text, []byte("seen")) {
		t.Fatalf("not as such a version has it: %s", text)
	}
	r := newShelf(t)
	r.put(t, "1", files)
	var log bytes.Buffer
	s := newServer(t, r, t.TempDir())
	s.log = textLog(&log)
	poll(t, s)
	// The missing branches: 1 of the size, -0.25 of the kind.
	got := predict(t, s, `[{},{"size":99,"kind":"x"}]`).Predictions
	want := api.Prediction{Label: 1, Probability: 0.6791787}
	if diff := cmp.Diff([]api.Prediction{want, want}, got, cmpopts.EquateApprox(0, 1e-7)); diff != "" {
		t.Errorf("predictions (-want +got):\n%s", diff)
	}
	if d := describedAs(t, s); d.NoWarnings == "" || d.Dataset.Columns[0].Seen != nil {
		t.Errorf("/model does not say that there are no warnings: %+v", d)
	}
	if !strings.Contains(log.String(), "predictions carry no warnings") {
		t.Errorf("the log does not say that there are no warnings:\n%s", log.String())
	}
}

func TestModelTellsWhatTrainingSaw(t *testing.T) {
	t.Parallel()
	s, _ := serving(t, 1)
	d := describedAs(t, s)
	one, two, typical, name := 1.0, 2.0, "1", `é"`
	want := map[string]*api.Seen{"size": {Min: &one, Max: &two, Typical: &typical}, "count": {Min: &one, Max: &two, Typical: &typical},
		"kind": {Levels: 2, Typical: &typical}, "odd name": {Levels: 1, Typical: &name}}
	got := map[string]*api.Seen{}
	for _, c := range d.Dataset.Columns {
		got[c.Name] = c.Seen
	}
	if diff := cmp.Diff(want, got); diff != "" || d.NoWarnings != "" {
		t.Errorf("no warnings because of %q; seen (-want +got):\n%s", d.NoWarnings, diff)
	}
}

// diabetes serves the shipped spec, fitted on rows of which number i has i in every
// number column, and in the others the values given, in turn.
func diabetes(t *testing.T, values map[string][]string) *Server {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "workflows", "datasets", "diabetes.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	spec, err := dataset.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	f := feature.NewFitter(spec)
	for i := range 200 {
		row := make([][]byte, len(spec.Columns))
		for c := range row {
			row[c] = []byte("No")
			if list := values[spec.Columns[c].Name]; list != nil {
				row[c] = []byte(list[i%len(list)])
			} else if spec.Columns[c].Type != dataset.Category {
				row[c] = fmt.Append(nil, i%8+1)
			}
		}
		f.Add(row)
	}
	e, err := f.Encoder()
	if err != nil {
		t.Fatal(err)
	}
	trees, err := tree.Parse(fmt.Appendf(nil, `{"learner":{"learner_model_param":{"base_score":"[5E-1]","num_feature":"%d"},"objective":{"name":"binary:logistic"},
"gradient_booster":{"name":"gbtree","model":{"gbtree_model_param":{"num_trees":"1"},"tree_info":[0],"trees":[{"id":0,"left_children":[-1],"right_children":[-1],"split_indices":[0],
"split_conditions":[0.5],"default_left":[0],"split_type":[0],"categories_nodes":[],"categories_segments":[],"categories_sizes":[],"categories":[]}]}}}}`, e.Width()))
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, newShelf(t), t.TempDir())
	m := &model.Model{Spec: spec, Encoder: e, Trees: trees, Serving: model.Serving{Threshold: 0.5}}
	next := &served{model: m, frame: frame{[]byte(`{"model":{},"predictions":[`), ',', []byte("]}\n")}, warned: warningCounters(s.metrics, e), labels: [2]counter{s.metrics.Predicted("0"), s.metrics.Predicted("1")}}
	s.beginEarlier(next, t.TempDir())
	s.served.Store(next)
	return s
}

// Values that no stay in hospital had: scored, with a warning each. The values of a
// level that was folded as rare are not unseen, nor is another code of a known range.
func TestWarningsOfTheDiabetesTable(t *testing.T) {
	t.Parallel()
	values := map[string][]string{"race": {"Caucasian", "Asian"}, "age": {"[50-60)", "[60-70)"}, "diag_1": {"250.83", "428", "428", "V58"}}
	s := diabetes(t, values)
	record := map[string]any{"history": []any{}}
	for _, c := range s.served.Load().model.Spec.Columns {
		if values[c.Name] != nil {
			record[c.Name] = values[c.Name][0]
		} else if c.Type == dataset.Category {
			record[c.Name] = "No"
		} else {
			record[c.Name] = 3
		}
	}
	warnings := func() []api.Warning {
		t.Helper()
		text, err := json.Marshal(record)
		if err != nil {
			t.Fatal(err)
		}
		return predict(t, s, string(text)).Predictions[0].Warnings
	}
	if got := warnings(); got != nil {
		t.Errorf("a record like the training rows, with diag_1 folded as rare: warnings %v", got)
	}
	record["num_medications"], record["race"], record["diag_1"] = 99999999999, "Martian", "HELLO"
	got := map[api.Warning]bool{}
	for _, w := range warnings() {
		got[w] = true
	}
	want := map[api.Warning]bool{
		{Column: "num_medications", Kind: api.OutOfRange, Detail: "99999999999 is outside the training range, 1 to 8"}: true,
		{Column: "race", Kind: api.UnseenLevel, Detail: `no training row has "Martian"`}:                               true,
		{Column: "diag_1", Kind: api.UnseenLevel, Detail: `no training row has "HELLO"`}:                               true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

// A warning takes memory while the request is served, and gives it back.
func TestWarningsAreBounded(t *testing.T) {
	t.Parallel()
	s, _ := serving(t, 1)
	body := "[" + strings.Repeat("{},", 1<<15) + "{}]"
	got := predict(t, s, body).Predictions
	if len(got) != 1<<15+1 || len(got[1<<15].Warnings) != 1 {
		t.Errorf("%d predictions, the last with warnings %v", len(got), got[len(got)-1].Warnings)
	}
	if used := s.memory.used.Load(); used != 0 {
		t.Errorf("%d bytes are still held", used)
	}
	s.memory.total = 1 << 18
	if w := ask(s, "POST", "/predict", body); w.Code != 413 {
		t.Errorf("without memory for the warnings: status %d", w.Code)
	}
	if used := s.memory.used.Load(); used != 0 {
		t.Errorf("%d bytes are still held", used)
	}
}
