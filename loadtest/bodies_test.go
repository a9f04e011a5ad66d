package loadtest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadBodies(t *testing.T) {
	got, err := ReadBodies(strings.NewReader(`{"size":1}

  [{"size":1},{}]
{"instances":[{},{},{}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Body{{[]byte(`{"size":1}`), 1}, {[]byte(`[{"size":1},{}]`), 2}, {[]byte(`{"instances":[{},{},{}]}`), 3}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("bodies (-want +got):\n%s", diff)
	}
	for _, test := range []struct{ reason, text, want string }{
		{"an empty file", "\n", "there are no records"},
		{"no JSON", "{}\nsize=1", "line 2: not a record"},
		{"half a record", `{"size":`, "line 1: not a record"},
		{"neither record nor array", `"size"`, "line 1: not a record"},
		{"an array of numbers", `[1,2]`, "line 1: not an array of records"},
		{"instances that are none", `{"instances":{}}`, "line 1: instances is not an array"},
	} {
		if _, err := ReadBodies(strings.NewReader(test.text)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", test.reason, err, test.want)
		}
	}
}

func TestSamples(t *testing.T) {
	var code int
	var body string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/model" {
			http.NotFound(w, r)
			return
		}
		w.WriteHeader(code)
		io.WriteString(w, body)
	}))
	defer s.Close()
	code, body = 200, `{"samples":[{"record":{"size":"1"},"probability":0.5},{"record":{},"probability":0.5},{"probability":0.5}]}`
	got, err := Samples(t.Context(), s.URL, "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Body{{[]byte(`{"size":"1"}`), 1}, {[]byte(`{}`), 1}}, got); diff != "" {
		t.Errorf("samples (-want +got):\n%s", diff)
	}
	for _, test := range []struct {
		reason string
		code   int
		body   string
		want   string
	}{
		{"no model yet", 503, `{"detail":"no version of tiny is in production yet"}`, "no version of tiny is in production yet"},
		{"no samples", 200, `{"samples":[]}`, "shows no samples"},
		{"another server", 200, "hello", "invalid character"},
	} {
		code, body = test.code, test.body
		if _, err := Samples(t.Context(), s.URL, ""); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", test.reason, err, test.want)
		}
	}
}
