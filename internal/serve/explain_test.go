package serve

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mlops/internal/api"
)

// explained are the predictions of an explained request.
func explained(t testing.TB, s *Server, query, body string) []api.Prediction {
	t.Helper()
	w := ask(s, http.MethodPost, "/predict?"+query, body)
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	var p api.Predictions
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return p.Predictions
}

func TestExplained(t *testing.T) {
	t.Parallel()
	s, _ := serving(t, 1)
	got := explained(t, s, "explain=true", `{"size":"3","kind":2,"odd name":"é\"","y":"1"}`)
	// Six of ten training rows have a size below 2.5, which gives -1 and else 1; eight
	// of ten another kind than 2, which gives -0.25 and else 0.5.
	raw := func(text string) json.RawMessage { return json.RawMessage(text) }
	want := &api.Contributions{
		Scale: "log-odds", Base: -0.2 - 0.1, Margin: 1.5,
		Features: []api.FeatureContribution{
			{Feature: "size", Label: "size", Columns: []string{"size"}, Value: raw("3"), Contribution: 1.2},
			{Feature: "kind", Label: "kind", Columns: []string{"kind"}, Value: raw(`"2"`), Name: "two", Contribution: 0.6},
			{Feature: "count", Label: "count", Columns: []string{"count"}, Value: raw("1")},
			{Feature: "odd name", Label: "odd name", Columns: []string{"odd name"}, Value: raw(`"é\""`), Name: "accented"},
		},
		Columns: []api.ColumnContribution{
			{Column: "size", Label: "size", Value: raw(`"3"`), Contribution: 1.2},
			{Column: "kind", Label: "kind", Value: raw("2"), Name: "two", Contribution: 0.6},
			{Column: "count", Label: "count", Value: raw("null")},
			{Column: "odd name", Label: "odd name", Value: raw(`"é\""`), Name: "accented"},
		},
	}
	near := cmpopts.EquateApprox(0, 1e-6)
	if diff := cmp.Diff(want, got[0].Contributions, near); diff != "" {
		t.Errorf("contributions differ (-want +got):\n%s", diff)
	}
	if p := 1 / (1 + math.Exp(-1.5)); math.Abs(got[0].Probability-p) > 1e-6 {
		t.Errorf("probability %v, want %v", got[0].Probability, p)
	}

	// Two entries, the rest in one sum; excluded records have none; values of the right
	// record, in whatever form the request has.
	for _, form := range []string{`[%s]`, `{"instances": [%s]}`} {
		body := fmt.Sprintf(form, `{"count":7,"size":9}, {"size":3,"count":4},{"kind":"2","count":null}`)
		list := explained(t, s, "explain=2", body)
		if list[0].Excluded == "" || list[0].Contributions != nil {
			t.Errorf("excluded record: %+v", list[0])
		}
		c := list[1].Contributions
		if len(c.Features) != 2 || len(c.Columns) != 2 || c.OtherFeatures.Count != 2 || c.OtherColumns.Count != 2 || string(c.Columns[0].Value) != "3" {
			t.Errorf("%s: top 2: %+v", body, c)
		}
		if c := list[2].Contributions; c.Columns[0].Column != "kind" && c.Columns[1].Column != "kind" || c.Margin > 0.5 {
			t.Errorf("%s: third record: %+v", body, c)
		}
		for _, p := range list[1:] {
			sum := p.Contributions.Base + p.Contributions.OtherFeatures.Contribution
			for _, f := range p.Contributions.Features {
				sum += f.Contribution
			}
			if math.Abs(sum-p.Contributions.Margin) > 1e-6 {
				t.Errorf("features sum to %v, the margin is %v", sum, p.Contributions.Margin)
			}
		}
	}
	if plain := predict(t, s, `{"size":1}`); plain.Predictions[0].Contributions != nil {
		t.Errorf("contributions that nobody asked for: %+v", plain)
	}
	if none := explained(t, s, "explain=false", `{"size":1}`); none[0].Contributions != nil {
		t.Errorf("contributions that nobody asked for: %+v", none)
	}
}

func TestNotExplained(t *testing.T) {
	t.Parallel()
	s, _ := serving(t, 1)
	for query, body := range map[string]string{
		"explain=much": `{}`, "explain=-1": `{}`, "explain=1": "[" + strings.Repeat("{},", maxExplained) + "{}]",
	} {
		if w := ask(s, http.MethodPost, "/predict?"+query, body); w.Code != http.StatusUnprocessableEntity {
			t.Errorf("%s: status %d: %s", query, w.Code, w.Body)
		}
	}
	if list := explained(t, s, "explain=1", "["+strings.Repeat("{},", maxExplained-1)+"{}]"); len(list) != maxExplained || list[maxExplained-1].Contributions == nil {
		t.Errorf("%d records explained", len(list))
	}
	if used := s.memory.used.Load(); used != 0 {
		t.Errorf("%d bytes are held afterwards", used)
	}
}

func TestLargest(t *testing.T) {
	t.Parallel()
	values := []float64{0, -3, 2, 3, 0, 1, -2, 0.5, 0, 0, 0, -7, 3}
	want := []int{11, 1, 3, 12, 2, 6, 5, 7, 0, 4, 8, 9, 10}
	for n := range len(values) + 1 {
		order := make([]int, len(values))
		for i := range order {
			order[i] = i
		}
		largest(order, values, n)
		if diff := cmp.Diff(want[:n], order[:n]); diff != "" {
			t.Errorf("the largest %d (-want +got):\n%s", n, diff)
		}
		slices.Sort(order)
		if order[0] != 0 || order[len(order)-1] != len(order)-1 || len(slices.Compact(order)) != len(values) {
			t.Errorf("the largest %d: indices are lost: %v", n, order)
		}
	}
}
