package board

import (
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// Mistakes that Grafana would accept, but people would not.
func TestPanels(t *testing.T) {
	for _, d := range All() {
		if d.UID == "" || len(d.UID) > 40 || d.Title == "" || d.Description == "" || d.Refresh == "" || d.From == "" {
			t.Errorf("%s lacks something: %+v", d.Title, d)
		}
		titles := map[string]bool{}
		for _, r := range d.Rows {
			for _, p := range r.Panels {
				if titles[p.Title] {
					t.Errorf("%s: panel %q is there twice", d.Title, p.Title)
				}
				titles[p.Title] = true
				if p.Description == "" || len(p.Queries) == 0 || p.Unit == "" || p.Width <= 0 || p.Width > 24 || p.Height <= 0 {
					t.Errorf("%s: %q lacks a description, a query, a unit or a size", d.Title, p.Title)
				}
				if p.NoValue == "" && (p.Kind != Series || p.Need == Nothing) {
					t.Errorf("%s: %q does not say why where there is no data", d.Title, p.Title)
				}
				if !slices.IsSortedFunc(p.Thresholds, func(a, b Threshold) int { return int(1e3*a.From) - int(1e3*b.From) }) {
					t.Errorf("%s: %q has its thresholds in the wrong order", d.Title, p.Title)
				}
				for _, q := range p.Queries {
					if q.Expr == "" || q.Legend == "" {
						t.Errorf("%s: %q: query %+v", d.Title, p.Title, q)
					}
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
		found = found || e == (Expression{"Serving", "Requests per minute", Nothing, `60 * sum(rate(mlops_requests_total{handler="predict"}[90000ms]))`})
	}
	if !found {
		t.Error("the requests per minute are missing")
	}
}

// What make rules tries of a dashboard is what the dashboard asks.
func TestTriedByRules(t *testing.T) {
	text, err := os.ReadFile("../../charts/charts/prometheus/rules_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range Expressions(time.Minute) {
		if e.Dashboard == "Pipelines" && e.Panel == "Failed in a day" {
			if !strings.Contains(string(text), "expr: '"+e.Query+"'") {
				t.Errorf("rules_test.yml does not try %s", e)
			}
			return
		}
	}
	t.Error("no such panel")
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
		{"one series that is no number", vector(one + "," + nan), `series map[a:c] is NaN`},
		{"infinity", vector(strings.Replace(one, "2.5", "+Inf", 1)), "not a number"},
		{"a mistake", `{"status":"error","error":"parse error"}`, "parse error"},
		{"another kind of answer", `{"status":"success","data":{"resultType":"matrix","result":[]}}`, "is a matrix"},
		{"no Prometheus", `<html>`, "invalid character"},
	} {
		body = test.body
		_, err := Check(t.Context(), s.URL+"/", time.Minute, Kubelet, Containers, LoadTest, TLS, Swap)
		if (err == nil) != (test.want == "") || (err != nil && !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: error %v, want %q", test.reason, err, test.want)
		}
		if n := len(Expressions(time.Minute)); err != nil && strings.Count(err.Error(), "\n")+1 != n {
			t.Errorf("%s: not all of %d expressions are named:\n%v", test.reason, n, err)
		}
	}
	for _, e := range Expressions(time.Minute) {
		if !asked[e.Query] {
			t.Errorf("%s was not asked", e)
		}
	}
}

// Panels of parts that are not there are not asked about.
func TestCheckLeavesOut(t *testing.T) {
	all, err := Check(t.Context(), "http://127.0.0.1:1", time.Minute, Kubelet, Containers, LoadTest, TLS, Swap)
	some, _ := Check(t.Context(), "http://127.0.0.1:1", time.Minute)
	if err == nil || some == 0 || some >= all {
		t.Errorf("%d of %d expressions asked: %v", some, all, err)
	}
}
