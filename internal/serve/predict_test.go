package serve

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/api"
)

func TestPredict(t *testing.T) {
	s, _ := serving(t, 1)
	// By hand: the sigmoid of -1 or 1 for the size, and -0.25 or 0.5 for the kind. What
	// is missing has the usual value of the training rows: size 1, kind 1.
	sure := func(margin float64) float32 { return float32(1 / (1 + math.Exp(-margin))) }
	for _, test := range []struct {
		reason, body string
		want         []float32
	}{
		{"one record", `{"size":1,"kind":"2"}`, []float32{sure(-0.5)}},
		{"an array", `[{"size":1,"kind":"2"},{"size":3}]`, []float32{sure(-0.5), sure(0.75)}},
		{"instances", `{"instances":[{"size":"2.5","kind":2},{"kind":"?"}]}`, []float32{sure(1.5), sure(-1.25)}},
		{"a record without values", `{}`, []float32{sure(-1.25)}},
	} {
		a := predict(t, s, test.body)
		if diff := cmp.Diff(api.Version{Name: "tiny", Number: "1", RunID: "run1"}, a.Model); diff != "" {
			t.Errorf("%s: model differs (-want +got):\n%s", test.reason, diff)
		}
		if len(a.Predictions) != len(test.want) {
			t.Fatalf("%s: %d predictions, want %d", test.reason, len(a.Predictions), len(test.want))
		}
		for i, p := range a.Predictions {
			if math.Abs(p.Probability-float64(test.want[i])) > 1e-7 || (p.Label == 1) != (test.want[i] >= 0.5) {
				t.Errorf("%s: prediction %d is %+v, want probability %v", test.reason, i, p, test.want[i])
			}
		}
	}
	if got := metric(t, s, `mlops_predictions_total{label="0"}`); got != "4" {
		t.Errorf("%s predictions with label 0, want 4", got)
	}
	if got := metric(t, s, `mlops_predictions_total{label="1"}`); got != "2" {
		t.Errorf("%s predictions with label 1, want 2", got)
	}
}

// A large request is scored in pieces and answered in pieces; the scores are
// those of the records alone.
func TestPredictMany(t *testing.T) {
	s, _ := serving(t, 0.7310586)
	m := s.served.Load().model
	random := rand.New(rand.NewPCG(1, 2))
	var body strings.Builder
	var want []float32
	body.WriteByte('[')
	for i := range 10_000 {
		record := map[string]string{"size": fmt.Sprint(random.Float64() * 5), "kind": []string{"1", "2", "?", "10"}[random.IntN(4)]}
		text, err := json.Marshal(record)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			body.WriteByte(',')
		}
		body.Write(text)
		vector := make([]float32, m.Encoder.Width())
		if err := m.EncodeRecord(vector, record); err != nil {
			t.Fatal(err)
		}
		want = append(want, m.Trees.Score(vector))
	}
	body.WriteByte(']')
	for _, form := range []string{body.String(), `{"instances":` + body.String() + `}`} {
		var got []float32
		for _, p := range predict(t, s, form).Predictions {
			got = append(got, float32(p.Probability))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("probabilities differ (-want +got):\n%s", diff)
		}
	}
}

func TestUnknownValuesAreCounted(t *testing.T) {
	s, _ := serving(t, 1)
	predict(t, s, `[{"kind":"77"},{"odd name":"x","kind":"1"},{"kind":"1"}]`)
	if got := metric(t, s, "mlops_unknown_values_total"); got != "2" {
		t.Errorf("%s unknown values, want 2", got)
	}
}

func TestBadRequests(t *testing.T) {
	const post, json400, record422 = http.MethodPost, api.InvalidJSON, api.InvalidRecord
	type row struct {
		reason, method, path, body string
		status                     int
		kind                       string // the problem's type
		field                      string // that it names
	}
	rows := []row{
		{"nothing there", "GET", "/", "", 404, api.NotFound, ""},
		{"nothing there for POST", post, "/predictions", "{}", 404, api.NotFound, ""},
		{"slash at the end", post, "/predict/", "{}", 404, api.NotFound, ""},
		{"two slashes are not redirected, which would make a GET of it", post, "//predict", "{}", 404, api.NotFound, ""},
		{"dots in the path", "GET", "/a/../model", "", 404, api.NotFound, ""},
		{"GET of predict", "GET", "/predict", "", 405, api.MethodNotAllowed, ""},
		{"HEAD of predict", "HEAD", "/predict", "", 405, api.MethodNotAllowed, ""},
		{"PUT of predict", "PUT", "/predict", "{}", 405, api.MethodNotAllowed, ""},
		{"DELETE of model", "DELETE", "/model", "", 405, api.MethodNotAllowed, ""},
		{"POST to model", post, "/model", "{}", 405, api.MethodNotAllowed, ""},
		{"POST to metrics", post, "/metrics", "{}", 405, api.MethodNotAllowed, ""},
		{"POST to readyz", post, "/readyz", "", 405, api.MethodNotAllowed, ""},
		{"array in a later record", post, "/predict", `[{"size":1},{"size":[1]}]`, 422, record422, "size"},
		{"number below min in the last of many", post, "/predict", "[" + strings.Repeat(`{"size":1},`, 3*chunk) + `{"size":-1}]`, 422, record422, "size"},
		{"very long name", post, "/predict", `{"` + strings.Repeat("x", 1000) + `":1}`, 422, record422, strings.Repeat("x", 80) + "..."},
		{"column's name in another case", post, "/predict", `{"Size":1}`, 422, record422, "Size"},
		{"empty name", post, "/predict", `{"":1}`, 422, record422, ""},
		{"integer past int64", post, "/predict", `{"count":9223372036854775808}`, 422, record422, "count"},
		{"hexadecimal number as text", post, "/predict", `{"size":"0x10"}`, 422, record422, "size"},
		{"infinity as text", post, "/predict", `{"size":"inf"}`, 422, record422, "size"},
		{"NaN as text", post, "/predict", `{"size":"NaN"}`, 422, record422, "size"},
		{"underscores in a number", post, "/predict", `{"count":"1_000"}`, 422, record422, "count"},
		{"comma in a number", post, "/predict", `{"size":"1,5"}`, 422, record422, "size"},
		{"false", post, "/predict", `{"count":false}`, 422, record422, "count"},
		{"object in a column that is ignored", post, "/predict", `{"id":{}}`, 422, record422, "id"},
		{"ignored column twice", post, "/predict", `{"y":1,"y":1}`, 422, record422, "y"},
		{"column twice, once with escapes", post, "/predict", `{"size":1,"s\u0069ze":1}`, 422, record422, "size"},
		{"deep arrays", post, "/predict", strings.Repeat("[", 100_000), 400, json400, ""},
		{"deep objects in a value", post, "/predict", `{"kind":` + strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_001), 422, record422, "kind"},
		{"deep objects that don't end", post, "/predict", `{"kind":` + strings.Repeat(`{"a":`, 100_000), 400, json400, ""},
		{"byte order mark", post, "/predict", "\ufeff{}", 400, json400, ""},
		{"form data", post, "/predict", "size=1&kind=2", 400, json400, ""},
		{"XML", post, "/predict", "<size>1</size>", 400, json400, ""},
		{"comment", post, "/predict", "{/* */}", 400, json400, ""},
		{"single quotes", post, "/predict", "{'size':1}", 400, json400, ""},
		{"records one a line", post, "/predict", "{}\n{}", 400, json400, ""},
		{"instances cut short", post, "/predict", `{"instances":[{}]`, 400, json400, ""},
		{"instances that is null", post, "/predict", `{"instances":null}`, 400, json400, ""},
	}
	for _, d := range refusedBodies { // those of the decoder's test, as requests
		r := row{d.reason, post, "/predict", d.body, 422, record422, d.field}
		if d.syntax {
			r.status, r.kind = 400, json400
		}
		rows = append(rows, r)
	}
	if len(rows) < 60 {
		t.Errorf("%d rows", len(rows))
	}
	s, _ := serving(t, 1)
	for _, r := range rows {
		w := ask(s, r.method, r.path, r.body)
		checkProblem(t, r.reason, w, r.status, r.kind, r.field)
		allow := map[bool]string{true: "POST", false: "GET, HEAD"}[r.path == "/predict"]
		if r.status == 405 && w.Header().Get("Allow") != allow {
			t.Errorf("%s: Allow is %q, want %q", r.reason, w.Header().Get("Allow"), allow)
		}
	}
	for _, label := range []string{"0", "1"} {
		if got := metric(t, s, `mlops_predictions_total{label="`+label+`"}`); got != "0" {
			t.Errorf("%s records were scored in part", got)
		}
	}
	if len(predict(t, s, `{"size":1}`).Predictions) != 1 {
		t.Error("no prediction afterwards")
	}
}

func checkProblem(t *testing.T, reason string, w *httptest.ResponseRecorder, status int, kind, field string) {
	t.Helper()
	var p api.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Errorf("%s: status %d, %v: %s", reason, w.Code, err, w.Body)
		return
	}
	if w.Code != status || p.Status != status || p.Type != kind || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s: status %d, %s: %+v; want status %d, type %s", reason, w.Code, w.Header().Get("Content-Type"), p, status, kind)
	}
	if p.Title == "" || p.Detail == "" {
		t.Errorf("%s: no title or no detail: %+v", reason, p)
	}
	if status == http.StatusUnprocessableEntity && (len(p.Errors) != 1 || p.Errors[0].Field != field || p.Errors[0].Detail == "") {
		t.Errorf("%s: errors are %s, want one of field %q", reason, w.Body, field)
	}
}

func TestHeaders(t *testing.T) {
	s, _ := serving(t, 1)
	for _, test := range []struct {
		reason, contentType, encoding string
		status                        int
	}{
		{"the type", "application/json", "", 200},
		{"with a character set", "application/json; charset=utf-8", "", 200},
		{"in capitals", "Application/JSON", "", 200},
		{"none, as quick scripts send", "", "", 200},
		{"identity is no encoding", "application/json", "identity", 200},
		{"text", "text/plain", "", 415},
		{"what curl sends by itself", "application/x-www-form-urlencoded", "", 415},
		{"Parquet", "application/vnd.apache.parquet", "", 415},
		{"lines of JSON", "application/x-ndjson", "", 200},
		{"not a type", "json;;", "", 415},
		{"not compressed as it says", "application/json", "gzip", 400},
		{"not compressed as it says", "application/json", "zstd", 400},
		{"compressed in another way", "application/json", "br", 415},
	} {
		r := httptest.NewRequest(http.MethodPost, "/predict", strings.NewReader("{}"))
		for name, value := range map[string]string{"Content-Type": test.contentType, "Content-Encoding": test.encoding} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code != test.status {
			t.Errorf("%s: status %d, want %d: %s", test.reason, w.Code, test.status, w.Body)
		}
		if test.status == 415 {
			checkProblem(t, test.reason, w, 415, api.UnsupportedMedia, "")
		}
	}
}

// endless is an endless body of spaces.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.read += len(p)
	return len(p), nil
}

func TestTooLarge(t *testing.T) {
	s, _ := serving(t, 1)
	for _, test := range []struct {
		reason  string
		length  int64
		atMost  int64 // bytes read of it
		status  int
		problem string
	}{
		{"announced", maxBody + 1, maxDiscarded, 413, api.TooLarge},
		{"announced beyond an int32", 1 << 40, 0, 413, api.TooLarge},
		{"not announced", -1, 2*maxBody + maxDiscarded, 413, api.TooLarge},
	} {
		var body endless
		r := httptest.NewRequest(http.MethodPost, "/predict", &body)
		r.ContentLength = test.length
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		checkProblem(t, test.reason, w, test.status, test.problem, "")
		if int64(body.read) > test.atMost {
			t.Errorf("%s: %d bytes were read", test.reason, body.read)
		}
	}
	// The largest that is taken.
	r := httptest.NewRequest(http.MethodPost, "/predict", io.MultiReader(io.LimitReader(&endless{}, maxBody-2), strings.NewReader("{}")))
	r.ContentLength = -1
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Errorf("32 MiB: status %d: %s", w.Code, w.Body)
	}
}

// The page of the documents has each operation to try, and its policy lets its own script
// and style do that and nothing else.
func TestDocsToTry(t *testing.T) {
	s, _ := serving(t, 1)
	w := ask(s, http.MethodGet, "/docs", "")
	page, policy := w.Body.String(), w.Header().Get("Content-Security-Policy")
	for _, element := range []string{"style", "script"} {
		_, rest, _ := strings.Cut(page, "<"+element+">")
		text, _, _ := strings.Cut(rest, "</"+element+">")
		sum := sha256.Sum256([]byte(text))
		if want := element + "-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; text == "" || !strings.Contains(policy, want) {
			t.Errorf("the policy %q is without %q", policy, want)
		}
	}
	if strings.Contains(policy, "unsafe") || !strings.Contains(policy, "connect-src 'self'") {
		t.Errorf("policy %q", policy)
	}
	for path, item := range s.document()["paths"].(object) {
		for method := range item.(object) {
			if want := `data-method="` + strings.ToUpper(method) + `" data-path="` + path + `"`; !strings.Contains(page, want) {
				t.Errorf("the page is without %s", want)
			}
		}
	}
	if !strings.Contains(page, "&#34;size&#34;: ") {
		t.Errorf("no example of a record in a form:\n%s", page)
	}
}

func TestDocuments(t *testing.T) {
	for _, test := range []struct {
		path string
		want string // with a model
	}{
		{"/openapi.json", `"odd name"`},
		{"/docs", "<code>odd name</code>"},
		{"/healthz", "ok"},
		{"/metrics", `mlops_model_info{name="tiny",run_id="run1",version="1"} 1`},
		{"/model", `"missing":["?"]`},
	} {
		s, _ := serving(t, 1)
		if w := ask(s, http.MethodGet, test.path, ""); w.Code != 200 || !strings.Contains(w.Body.String(), test.want) {
			t.Errorf("%s: status %d without %q:\n%s", test.path, w.Code, test.want, w.Body)
		}
		if w := ask(s, http.MethodHead, test.path, ""); w.Code != 200 {
			t.Errorf("HEAD %s: status %d", test.path, w.Code)
		}
		if test.path == "/model" {
			continue
		}
		none := newServer(t, newShelf(t), t.TempDir())
		if w := ask(none, http.MethodGet, test.path, ""); w.Code != 200 {
			t.Errorf("%s without a model: status %d", test.path, w.Code)
		}
	}
	s, _ := serving(t, 1)
	var document map[string]any
	if err := json.Unmarshal(ask(s, http.MethodGet, "/openapi.json", "").Body.Bytes(), &document); err != nil {
		t.Error(err)
	}
}

func TestDescribe(t *testing.T) {
	s, _ := serving(t, 1)
	d := describedAs(t, s)
	var names []string
	for _, c := range d.Dataset.Columns {
		names = append(names, c.Name)
	}
	if diff := cmp.Diff([]string{"size", "count", "kind", "odd name"}, names); diff != "" {
		t.Errorf("columns differ, of which key and target are left out (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]api.Code{{Code: "1", Name: "one"}, {Code: "2", Name: "two"}, {Code: "10", Name: "ten"}}, d.Dataset.Columns[2].Codes); diff != "" {
		t.Errorf("codes differ (-want +got):\n%s", diff)
	}
	if d.Model.Number != "1" || d.Model.Candidate != "one" || d.Threshold != 0.5 || len(d.Samples) != 3 || d.Synthetic || d.Metrics["test_auc"] != 0.75 || d.Refused != nil {
		t.Errorf("described as %+v", d)
	}
}
