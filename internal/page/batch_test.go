package page

import (
	"bytes"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/api"
)

// csvServer is an inference server that scores CSV: each record gets a probability, one
// with an x is wrong.
func csvServer(t *testing.T) string {
	t.Helper()
	m := readModel(t, "diabetes")
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/model" {
			json.NewEncoder(w).Encode(m)
			return
		}
		body, _ := io.ReadAll(r.Body)
		lines := strings.Split(strings.TrimSpace(string(body)), "\n")
		out := "label,probability,excluded,warnings\n"
		for i, line := range lines[1:] {
			if strings.Contains(line, "x") {
				fakeProblem(w, 422, `{"title":"T","status":422,"errors":[{"record":`+string(rune('0'+i))+`,"field":"age","detail":"is wrong"}]}`)
				return
			}
			out += "1,0.5,,\"a, b\"\n"
		}
		io.WriteString(w, out)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestBatchPart(t *testing.T) {
	t.Parallel()
	s := newServer(t, csvServer(t))
	w := post(s, "/batch?line=7", "text/csv", "age;race\n[0-10);Asian\n;\"a;b\"\n")
	var got scoredPart
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusOK {
		t.Fatalf("status %d, %v: %s", w.Code, err, w.Body)
	}
	want := scoredPart{
		Columns: []string{"age", "race", "label", "probability", "excluded", "warnings"}, Given: 2,
		Rows: [][]string{{"[0-10)", "Asian", "1", "0.5", "", "a, b"}, {"", "a;b", "1", "0.5", "", "a, b"}},
		CSV:  "age;race;label;probability;excluded;warnings\n[0-10);Asian;1;0.5;;a, b\n;\"a;b\";1;0.5;;a, b\n",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("scored (-want +got):\n%s", diff)
	}
	for _, test := range []struct {
		kind, body string
		status     int
		detail     string
	}{
		{"text/csv", "age\na\nx\n", 422, `line 8, column "age": is wrong`},
		{"text/csv", "age\n", 422, "no record"},
		{"text/csv", "", 422, "is empty"},
		{"application/json", "{}", 415, "send text/csv"},
		{"text/csv", "age\n" + strings.Repeat("a", maxBody), 400, "too long"},
	} {
		w := post(s, "/batch?line=7", test.kind, test.body)
		if p := api.ParseProblem(w.Code, w.Body.Bytes()); w.Code != test.status || !strings.Contains(p.Detail, test.detail) {
			t.Errorf("%.20q: status %d, %q; want %d, %q", test.body, w.Code, p.Detail, test.status, test.detail)
		}
	}
}

// Without JavaScript the form's file comes back scored.
func TestBatchUpload(t *testing.T) {
	t.Parallel()
	base := csvServer(t)
	s := newServer(t, base)
	if w := get(s, "/batch"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "time_in_hospital") {
		t.Errorf("the page has status %d and does not name the columns", w.Code)
	}
	send := func(content string) *httptest.ResponseRecorder {
		var body bytes.Buffer
		form := multipart.NewWriter(&body)
		part, err := form.CreateFormFile("file", "stays 1.csv")
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(part, content)
		form.Close()
		return post(s, "/batch", form.FormDataContentType(), body.String())
	}
	w := send("age\na\n" + strings.Repeat(strings.Repeat("b", 2047)+"\n", 600)) // more than another request may have
	if w.Code != http.StatusOK || !strings.HasPrefix(w.Body.String(), "age,label,probability,excluded,warnings\na,1,0.5,,\"a, b\"\nbbb") ||
		w.Header().Get("Content-Disposition") != `attachment; filename="scored-stays 1.csv"` {
		t.Errorf("status %d, %v: %.100s", w.Code, w.Header(), w.Body)
	}
	for content, want := range map[string]string{
		"age\na\nx\n":                            "stays 1.csv: line 3, column &#34;age&#34;: is wrong",
		"":                                       "Choose a file that is not empty.",
		"age\n" + strings.Repeat("a", maxUpload): "at most 8 MiB",
	} {
		if w := send(content); w.Code < 400 || w.Code >= 500 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%.20q: status %d without %q", content, w.Code, want)
		}
	}
}
