package scoring

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/api"
	"mlops/internal/charset"
	"mlops/internal/program"
)

// scorer is a server that labels a record with what is in its first field, and fails
// where that is "wrong".
func scorer(t *testing.T, requests *atomic.Int64) *api.Client {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := requests.Add(1)
		body, _ := io.ReadAll(r.Body)
		lines := strings.SplitAfter(strings.TrimSuffix(string(body), "\n"), "\n")
		if n == 1 {
			api.Problem{Type: api.Overloaded, Status: http.StatusServiceUnavailable}.Write(w)
			return
		}
		out := "label,probability,excluded,warnings\n"
		record := ""
		index := 0
		for _, line := range lines[1:] {
			if record += line; strings.Count(record, `"`)%2 == 1 {
				continue
			}
			first, _, _ := strings.Cut(strings.TrimSpace(record), ",")
			if first == "wrong" {
				api.Problem{Title: "The request can't be scored", Type: api.InvalidRecord, Status: 422, Errors: []api.FieldError{{Record: index, Field: "a", Detail: "is not right"}}}.Write(w)
				return
			}
			out += strings.Trim(first, `"`)[:1] + ",0.5,,\"a, b\"\n"
			record, index = "", index+1
		}
		io.WriteString(w, out)
	}))
	t.Cleanup(s.Close)
	return api.NewClient(s.URL, nil)
}

func TestScore(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	p := &Table{Name: "my.csv", Client: scorer(t, &requests), Batch: 2}
	var out strings.Builder
	rows, err := p.Score(t.Context(), strings.NewReader("\ufeffa,label\r\n1,x\r\n\r\n\"2\n,\",y\n3,z\n4,\n5,last"), &out)
	if err != nil || rows != 5 {
		t.Fatalf("%d rows, %v", rows, err)
	}
	want := `a,label,predicted_label,probability,excluded,warnings
1,x,1,0.5,,"a, b"
"2
,",y,2,0.5,,"a, b"
3,z,3,0.5,,"a, b"
4,,4,0.5,,"a, b"
5,last,5,0.5,,"a, b"
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("scored (-want +got):\n%s", diff)
	}
	if n := requests.Load(); n != 4 { // three parts, one of them again
		t.Errorf("%d requests, want 4", n)
	}

	for text, want := range map[string]string{
		"":                          "is empty",
		"a,b\n":                     "no record",
		"a,b\n1,2\n\n3,4\nwrong,5":  `my.csv: line 5, column "a": is not right`,
		"a,b\n1,2\n\"3,4\n":         "line 3: a quoted field that begins here is not terminated",
		"a,b\n1,2\n1,2\n1,2\nwrong": "line 5",
	} {
		_, err := p.Score(t.Context(), strings.NewReader(text), io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) || program.Code(err) != program.BadInput {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// A file in another encoding is sent, and written, in UTF-8; what is UTF-8 in it stays.
func TestEncodings(t *testing.T) {
	t.Parallel()
	var sent, contentType string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sent, contentType = string(body), r.Header.Get("Content-Type")
		io.WriteString(w, "label\n1\n2\n")
	}))
	t.Cleanup(server.Close)
	const text = "Größe;b\n\"ä\n;ö\";1\ncafé;2\n"
	for name, encoding := range map[string]string{"windows-1252": "windows-1252", "utf-8": "windows-1252", "utf-16le": "utf-16le", "utf-16be": ""} {
		from := text
		if e := charset.Of(name); e != nil {
			var err error
			if from, err = e.NewEncoder().String(text); err != nil {
				t.Fatal(err)
			}
		}
		var out strings.Builder
		p := &Table{Name: "my.csv", Client: api.NewClient(server.URL, nil), Encoding: encoding, Numbers: api.NumbersTable}
		if _, err := p.Score(t.Context(), strings.NewReader(from), &out); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(text, sent); diff != "" {
			t.Errorf("%s: sent (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff("Größe;b;label\n\"ä\n;ö\";1;1\ncafé;2;2\n", out.String()); diff != "" {
			t.Errorf("%s: scored (-want +got):\n%s", name, diff)
		}
		if want := "text/csv; numbers=table"; contentType != want {
			t.Errorf("the Content-Type is %q, want %q", contentType, want)
		}
	}
}

// A class of a table that somebody else made may be a formula to the spreadsheet in which
// the page's file is opened.
func TestSheet(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "label,value,warnings\n\"=cmd|' /C calc'!A0\",-1.5,+SUM(A1)\n-1,1e-05,-\n@A1,-Inf,\"\tx\"\n")
	}))
	t.Cleanup(server.Close)
	for sheet, want := range map[bool]string{
		false: "a,label,value,warnings\n1,=cmd|' /C calc'!A0,-1.5,+SUM(A1)\n2,-1,1e-05,-\n3,@A1,-Inf,\tx\n",
		true:  "a,label,value,warnings\n1,'=cmd|' /C calc'!A0,-1.5,'+SUM(A1)\n2,-1,1e-05,'-\n3,'@A1,-Inf,'\tx\n",
	} {
		var out strings.Builder
		p := &Table{Name: "my.csv", Client: api.NewClient(server.URL, nil), Sheet: sheet}
		if _, err := p.Score(t.Context(), strings.NewReader("a\n1\n2\n3\n"), &out); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("for a spreadsheet %v (-want +got):\n%s", sheet, diff)
		}
	}
}

// A file of many parts comes out in its order, whichever part is done first.
func TestOrder(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	requests.Store(1)
	p := &Table{Name: "-", Client: scorer(t, &requests), Batch: 10}
	var in, out strings.Builder
	in.WriteString("a,n\n")
	for i := range 1005 {
		fmt.Fprintf(&in, "%d,%d\n", i%10, i)
	}
	if _, err := p.Score(t.Context(), strings.NewReader(in.String()), &out); err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(strings.TrimSpace(out.String()), "\n")[1:] {
		if !strings.HasPrefix(line, fmt.Sprintf("%d,%d,%d,", i%10, i, i%10)) {
			t.Fatalf("line %d is %q", i, line)
		}
	}
}
