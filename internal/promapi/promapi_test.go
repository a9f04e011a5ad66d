package promapi

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What Prometheus responds, and what is read of it. The page and the dashboards' check are
// tested with a real one in make e2e.
func TestClient(t *testing.T) {
	t.Parallel()
	var body string
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, fmt.Sprint(r.Method, " ", r.URL.RequestURI(), " ", r.FormValue("query"), " ", r.FormValue("start"), " ", r.FormValue("step")))
		fmt.Fprint(w, body)
	}))
	defer s.Close()
	c := New(s.URL+"/", http.DefaultClient)
	result := func(kind, text string) {
		body = `{"status":"success","data":{"resultType":"` + kind + `","result":[` + text + `]}}`
	}
	at := time.UnixMilli(1_700_000_000_500)

	result("vector", `{"metric":{"a":"b"},"value":[1700000000.5,"2.5"]},{"metric":{},"value":[1700000000.5,"+Inf"]}`)
	got, err := c.Instant(t.Context(), "up{}")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Sample{{map[string]string{"a": "b"}, at, 2.5}, {map[string]string{}, at, math.Inf(1)}}, got); diff != "" {
		t.Errorf("samples (-want +got):\n%s", diff)
	}
	result("matrix", `{"metric":{"a":"b"},"values":[[1700000000.5,"1"],[1700000001,"2"]]}`)
	series, err := c.Range(t.Context(), "up", at, at.Add(time.Minute), 1500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Series{{map[string]string{"a": "b"}, []Sample{{At: at, Value: 1}, {At: at.Add(500 * time.Millisecond), Value: 2}}}}, series); diff != "" {
		t.Errorf("series (-want +got):\n%s", diff)
	}
	var data struct{ ResultType string }
	if err := c.Get(t.Context(), "/api/v1/rules?type=alert", &data); err != nil || data.ResultType != "matrix" {
		t.Errorf("%+v, %v", data, err)
	}
	if diff := cmp.Diff([]string{"POST /api/v1/query up{}  ", "POST /api/v1/query_range up 1700000000.500 1.5", "GET /api/v1/rules?type=alert   "}, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}

	for _, test := range []struct{ body, want string }{
		{`{"status":"error","error":"parse error"}`, "parse error"},
		{`{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}`, "a scalar, not a vector"},
		{`{"status":"success","data":{"resultType":"vector","result":[{"value":[1,2]}]}}`, "not a moment and a value"},
		{`<html>`, "unreadable response from Prometheus (200 OK)"},
	} {
		body = test.body
		if got, err := c.Instant(t.Context(), "up"); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, %v; want %q", test.body, got, err, test.want)
		}
	}
	s.Close()
	if _, err := c.Instant(t.Context(), "up"); err == nil || !strings.Contains(err.Error(), "no response from Prometheus") {
		t.Errorf("without a Prometheus: %v", err)
	}
}
