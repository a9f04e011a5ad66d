package board

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const folder = "../json"

// The files that the chart takes are what this package generates, and there are no others.
func TestFilesAreCurrent(t *testing.T) {
	all := All()
	for file, d := range all {
		want, err := JSON(d)
		if err != nil {
			t.Fatal(err)
		}
		again, err := JSON(All()[file])
		if err != nil || string(again) != string(want) {
			t.Errorf("%s is not the same twice (%v)", file, err)
		}
		got, err := os.ReadFile(filepath.Join(folder, file))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is out of date; go run ./dashboards rewrites it (-want +got):\n%s", file, diff)
		}
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, ok := all[e.Name()]; !ok {
			t.Errorf("nothing generates %s", e.Name())
		}
	}
}

// Mistakes that Grafana would accept, but people would not.
func TestPanels(t *testing.T) {
	for file, d := range All() {
		if d.UID == "" || len(d.UID) > 40 || d.Title == "" {
			t.Errorf("%s: uid %q, title %q", file, d.UID, d.Title)
		}
		ids, titles := map[int]bool{}, map[string]bool{}
		taken := map[[2]int]string{}
		for _, p := range d.Panels {
			if ids[p.ID] || titles[p.Title] {
				t.Errorf("%s: panel %d %q is there twice", file, p.ID, p.Title)
			}
			ids[p.ID], titles[p.Title] = true, true
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
					if x >= columns || taken[[2]int{x, y}] != "" {
						t.Fatalf("%s: %q lies on %q or past the edge", file, p.Title, taken[[2]int{x, y}])
					}
					taken[[2]int{x, y}] = p.Title
				}
			}
			if p.Type == "row" {
				continue
			}
			if p.Description == "" || len(p.Targets) == 0 || p.FieldConfig.Defaults.Unit == "" || p.Datasource.UID != "prometheus" {
				t.Errorf("%s: %q lacks a description, a query, a unit or its data source", file, p.Title)
			}
			for _, q := range p.Targets {
				if q.Expr == "" || q.LegendFormat == "" || q.Instant == q.Range || q.Datasource.UID != "prometheus" {
					t.Errorf("%s: %q: query %+v", file, p.Title, q)
				}
			}
		}
	}
}

func TestExpressions(t *testing.T) {
	got := Expressions(90 * time.Second)
	if len(got) < 20 {
		t.Errorf("%d expressions", len(got))
	}
	var found bool
	for _, e := range got {
		if strings.Contains(e.Query, "$") {
			t.Errorf("%s has a variable that Prometheus doesn't know", e)
		}
		found = found || e == (Expression{"serving.json", "Requests per minute", "A", `60 * sum(rate(mlops_requests_total{handler="predict"}[90000ms]))`})
	}
	if !found {
		t.Error("the requests per minute are missing")
	}
}

// Check sends every expression, and only series of numbers pass.
func TestCheck(t *testing.T) {
	const one, nan = `{"metric":{"a":"b"},"value":[1,"2.5"]}`, `{"metric":{"a":"c"},"value":[1,"NaN"]}`
	vector := func(result string) string {
		return `{"status":"success","data":{"resultType":"vector","result":[` + result + `]}}`
	}
	var body string
	asked := map[string]bool{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/query" {
			http.NotFound(w, r)
			return
		}
		asked[r.FormValue("query")] = true
		w.Write([]byte(body))
	}))
	defer s.Close()
	for _, test := range []struct{ reason, body, want string }{
		{"a number", vector(one), ""},
		{"no series", vector(""), "no data"},
		{"one series that is no number", vector(one + "," + nan), `series map[a:c] is "NaN"`},
		{"infinity", vector(strings.Replace(one, "2.5", "+Inf", 1)), "not a number"},
		{"a mistake", `{"status":"error","error":"parse error"}`, "parse error"},
		{"another kind of answer", `{"status":"success","data":{"resultType":"matrix","result":[]}}`, "is a matrix"},
		{"no Prometheus", `<html>`, "invalid character"},
	} {
		body = test.body
		err := Check(t.Context(), s.URL+"/", time.Minute)
		if (err == nil) != (test.want == "") || (err != nil && !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: error %v, want %q", test.reason, err, test.want)
		}
		if n := len(Expressions(time.Minute)); err != nil && strings.Count(err.Error(), ".json, ") != n {
			t.Errorf("%s: not all of %d expressions are named:\n%v", test.reason, n, err)
		}
	}
	for _, e := range Expressions(time.Minute) {
		if !asked[e.Query] {
			t.Errorf("%s was not asked", e)
		}
	}
}

func TestJSONIsPlain(t *testing.T) {
	text, err := JSON(Serving())
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(text) || strings.Contains(string(text), `\u003`) {
		t.Error("comparisons in expressions are escaped")
	}
}
