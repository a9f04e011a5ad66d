package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRecordUnmarshal(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, text string
		want       Record
		fails      bool
	}{
		{"strings", `{"a":"1","b":""}`, Record{"a": "1", "b": ""}, false},
		{"numbers and booleans", `{"a":1.50,"b":true}`, Record{"a": "1.50", "b": "true"}, false},
		{"null is a missing value", `{"a":null}`, Record{"a": ""}, false},
		{"empty", `{}`, Record{}, false},
		{"no record", `null`, nil, false},
		{"object as a value", `{"a":{}}`, nil, true},
		{"array as a value", `{"a":[1]}`, nil, true},
		{"not an object", `[1]`, nil, true},
	} {
		var got Record
		err := json.Unmarshal([]byte(test.text), &got)
		if (err != nil) != test.fails {
			t.Errorf("%s: error %v, want one: %v", test.name, err, test.fails)
		}
		if diff := cmp.Diff(test.want, got); err == nil && diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// A problem that was written is read back by the client as the same problem.
func TestProblemRoundTrip(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name       string
		sent       Problem
		want       Problem
		retryAfter string
	}{
		{"whole", Problem{Type: InvalidRecord, Title: "T", Status: 422, Detail: "D", Errors: []FieldError{{1, "a", "is odd"}}},
			Problem{Type: InvalidRecord, Title: "T", Status: 422, Detail: "D", Errors: []FieldError{{1, "a", "is odd"}}}, ""},
		{"status only", Problem{Status: 404}, Problem{Type: Untyped, Title: "Not Found", Status: 404}, ""},
		{"overloaded", Problem{Type: Overloaded, Status: 503}, Problem{Type: Overloaded, Title: "Service Unavailable", Status: 503}, "1"},
		{"no model", Problem{Type: NoModel, Status: 503}, Problem{Type: NoModel, Title: "Service Unavailable", Status: 503}, "5"},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { test.sent.Write(w) }))
		c := NewClient(s.URL+"/", nil)
		_, err := c.Predict(t.Context(), Record{})
		got := AsProblem(err)
		if got == nil {
			t.Fatalf("%s: error %v, want a problem", test.name, err)
		}
		if diff := cmp.Diff(test.want, *got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
		resp, err := c.Do(t.Context(), http.MethodGet, "/", "", nil)
		if err != nil || resp.Header.Get("Content-Type") != ProblemMediaType || resp.Header.Get("Retry-After") != test.retryAfter {
			t.Errorf("%s: headers %v, %v; want Retry-After %q", test.name, resp.Header, err, test.retryAfter)
		}
		s.Close()
	}
}

func TestClient(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		"/readyz":  "ready\n",
		"/model":   `{"model":{"name":"m","version":"3","run_id":"r","candidate":"one"},"threshold":0.5,"samples":[{"record":{"a":1},"probability":0.25}]}`,
		"/predict": `{"model":{"name":"m","version":"3","run_id":"r"},"predictions":[{"label":1,"probability":0.75},{"excluded":"died"}]}`,
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/predict" && (string(body) != `[{"a":"1"}]` || r.Header.Get("Content-Type") != MediaType) {
			t.Errorf("POST /predict got %s of type %q", body, r.Header.Get("Content-Type"))
		}
		io.WriteString(w, answers[r.URL.Path])
	}))
	defer s.Close()
	c := NewClient(s.URL, nil)
	if err := c.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	m, err := c.Model(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Version{"m", "3", "r", "one"}, m.Model); diff != "" || m.Samples[0].Record["a"] != "1" {
		t.Errorf("model %+v; version (-want +got):\n%s", m, diff)
	}
	p, err := c.Predict(t.Context(), []Record{m.Samples[0].Record})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Prediction{{Label: 1, Probability: 0.75}, {Excluded: "died"}}, p.Predictions); diff != "" {
		t.Errorf("predictions (-want +got):\n%s", diff)
	}
	answers["/model"] = "<html>"
	if _, err := c.Model(t.Context()); err == nil || !strings.Contains(err.Error(), s.URL+"/model") || AsProblem(err) != nil {
		t.Errorf("a page instead of a model: error %v, want one that names the URL", err)
	}
}

// A prediction is a score or a reason for none, and never a score of 0 by default.
func TestPrediction(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text  string
		want  Prediction
		fails bool
	}{
		{`{"label":1,"probability":0.75}`, Prediction{Label: 1, Probability: 0.75}, false},
		{`{"label":0,"probability":0}`, Prediction{}, false},
		{`{"label":0,"probability":0.5,"warnings":[{"column":"a","kind":"missing","detail":"d"}]}`,
			Prediction{Probability: 0.5, Warnings: []Warning{{"a", NotGiven, "d"}}}, false},
		{`{"excluded":"died"}`, Prediction{Excluded: "died"}, false},
		{`{"excluded":"died","label":0,"probability":0}`, Prediction{}, true},
		{`{"excluded":""}`, Prediction{}, true},
		{`{"label":0}`, Prediction{}, true},
		{`{"probability":0.5}`, Prediction{}, true},
		{`{"value":12.5}`, Prediction{}, true},
		{`{}`, Prediction{}, true},
	} {
		got := Prediction{Label: 1, Probability: 0.9, Excluded: "before"}
		err := json.Unmarshal([]byte(test.text), &got)
		if (err != nil) != test.fails || err == nil && !cmp.Equal(got, test.want) {
			t.Errorf("%s: read as %+v, error %v, want %+v, error: %v", test.text, got, err, test.want, test.fails)
		}
		if again, err := json.Marshal(got); !test.fails && (err != nil || string(again) != test.text) {
			t.Errorf("%s: written as %s, %v", test.text, again, err)
		}
	}
}

func TestParseProblem(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		status int
		body   string
		want   string // of Error
	}{
		{"a problem", 503, `{"title":"No model","detail":"train one"}`, "No model: train one"},
		{"no title", 503, `{"detail":"train one"}`, "Service Unavailable: train one"},
		{"a proxy's page", 502, "<h1>oops</h1>", "The inference server responded with an error: Bad Gateway"},
		{"nothing", 500, "", "The inference server responded with an error: Internal Server Error"},
	} {
		p := ParseProblem(test.status, []byte(test.body))
		if p.Error() != test.want || p.Status != test.status {
			t.Errorf("%s: %d %q, want %d %q", test.name, p.Status, p.Error(), test.status, test.want)
		}
		if wrapped := fmt.Errorf("asking: %w", p); !errors.Is(wrapped, AsProblem(wrapped)) {
			t.Errorf("%s: not found in a wrapped error", test.name)
		}
	}
}

func TestClientLimitsResponses(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		chunk := make([]byte, 1<<20)
		for range maxResponse>>20 + 1 {
			w.Write(chunk)
		}
	}))
	defer s.Close()
	if _, err := NewClient(s.URL, nil).Model(t.Context()); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("error %v, want one about the length", err)
	}
}

func TestExample(t *testing.T) {
	t.Parallel()
	d := &Dataset{
		Columns: []Column{{Name: "age", Seen: &Seen{}}, {Name: "leak"}, {Name: "patient"}, {Name: "status"}, {Name: "day", Required: true}},
		Cohort:  []Exclusion{{Column: "status"}},
		Earlier: &Earlier{Group: "patient", Order: "day"},
	}
	record := Record{"age": "39", "leak": "1", "patient": "7", "status": "new", "day": "3"}
	want := map[string]any{"age": "39", "patient": "7", "status": "new", "day": "3", EarlierMember: []Record{}}
	if diff := cmp.Diff(want, d.Example(Sample{Record: record})); diff != "" {
		t.Errorf("what the model doesn't use is left out (-want +got):\n%s", diff)
	}
	d = &Dataset{Columns: []Column{{Name: "age"}, {Name: "leak"}}}
	if diff := cmp.Diff(any(record), d.Example(Sample{Record: record})); diff != "" {
		t.Errorf("a version that doesn't say what training saw (-want +got):\n%s", diff)
	}
}
