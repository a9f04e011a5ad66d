package serve

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/api"
)

// mistaken are bodies as clients send them by mistake, with what the error says.
var mistaken = []struct {
	reason, body, want string
	status             int
}{
	{"nothing", "", `the body is empty; send one record as {"size": 0, "count": 1, ...}, an array of records, or {"instances": [...]}`, 400},
	{"a byte order mark", "\xef\xbb\xbf{\"size\":1}", "begins with a byte order mark, which JSON doesn't have: leave its first three bytes out", 400},
	{"UTF-16", "\xff\xfe{\x00}\x00", "UTF-16", 400},
	{"gzip", "\x1f\x8b\x08\x00", "compressed", 400},
	{"Parquet", "PAR1\x15", "Parquet", 400},
	{"HTML", "<html></html>", "looks like XML or HTML", 400},
	{"CSV", "size,count,kind\n1,2,a\n", `looks like CSV; send it with the Content-Type text/csv, or records as JSON (pandas: df.to_json(orient="records"))`, 400},
	{"CSV with quotes and semicolons", "\"size\";\"odd name\"\r\n1;a\r\n", "looks like CSV", 400},
	{"CSV of an index and one column", ",size\n0,1\n", "looks like CSV", 400},
	{"a form", "size=1&kind=2", "looks like a form", 400},
	{"a string that holds JSON", `"{\"size\":1}"`, "a string that holds JSON: it was encoded twice", 400},
	{"quotes of a shell", `'{"size":1}'`, "begins with a single quote", 400},
	{"null", "null", "neither an object nor an array", 400},

	{"Python's dict", `{'size': 1}`, "a name is in single quotes, as Python prints a dict", 400},
	{"Python's text", `{"kind": 'a'}`, `text of column "kind" is in single quotes`, 400},
	{"a comma before the brace", `{"size":1,}`, "there is a comma before the }", 400},
	{"a comma before the bracket", `[{"size":1},]`, "record 1 is not an object: there is a comma before the ]", 400},
	{"JSON Lines", "{\"size\":1}\n{\"size\":2}\n", "send JSON lines as application/x-ndjson", 400},

	{"pandas split", `{"columns":["size","kind"],"index":[0],"data":[[1,"a"]]}`, `pandas' orient="split"); send records: df.to_json(orient="records")`, 400},
	{"pandas split without columns first", `{"index":[0],"columns":["size"],"data":[[1]]}`, `orient="split"`, 400},
	{"pandas values", `[[1,"a"]]`, `record 0 is not an object but an array; each value needs its column's name (pandas: df.to_json(orient="records"))`, 400},
	{"pandas index", `{"0":{"size":1},"1":{"size":2}}`, `orient="index"`, 400},
	{"pandas table", `{"schema":{"fields":[]},"data":[{"size":1}]}`, `orient="table"`, 400},
	{"pandas columns", `{"size":{"0":1},"kind":{"0":"a"}}`, `2 errors, the first: record 0, size: is an object or an array; it must be a number or a string; a table by columns has to be sent as records (pandas: df.to_json(orient="records"))`, 422},
	{"pandas list", `{"size":[1,2]}`, "a table by columns has to be sent as records", 422},
	{"records inside an object", `{"records":[{"size":1}]}`, `the records are inside "records", which is not a column; send them alone, as an array or as {"instances": [...]}`, 400},
	{"records inside data", `{"data": [ {"size":1}]}`, `inside "data"`, 400},
	{"a record inside an object", `{"features":{"size":1}}`, `the record is inside "features", which is not a column; send it alone`, 400},
	{"MLflow's split", `{"dataframe_split":{"columns":["size"],"data":[[1]]}}`, `orient="split"`, 400},
	{"MLflow's records", `{"dataframe_records":[{"size":1}]}`, "as MLflow takes them; send them alone", 400},
	{"MLflow's or a tensor server's inputs", `{"inputs":[[1,2]]}`, "as a tensor server takes them", 400},
	{"inputs that are records", `{"inputs":[{"size":1}]}`, `the records are inside "inputs"`, 400},
	{"instances beside a signature", `{"signature_name":"x","instances":[{"size":1}]}`, `{"instances": [...]} has to be alone in its object; 1 error before that`, 400},
	{"instances of arrays", `{"instances":[[1,2]]}`, "record 0 is not an object but an array", 400},
	{"instances of one record", `{"instances":{"size":1}}`, "instances is not an array; send one record alone", 400},
	{"records as strings", `["{\"size\":1}"]`, "record 0 is not an object but a string", 400},

	{"NaN", `[{"kind":"1"},{"size":NaN,"count":1.5}]`, "2 errors, the first: record 1, size: NaN is not JSON; send null for a missing value", 400},
	{"minus infinity", `{"size":-Infinity}`, "size: -Infinity is not JSON, and no number that a model takes", 400},
	{"infinity", `{"size":Infinity}`, "size: Infinity is not JSON", 400},
	{"nan in small letters", `{"size":nan}`, "size: nan is not JSON; send null", 400},
	{"None", `{"kind":None}`, "kind: None is not JSON; send null for a missing value", 400},
	{"True", `{"kind":True}`, "kind: True is not JSON, which writes it true", 400},
	{"undefined", `{"id":undefined}`, "id: undefined is not JSON", 400},
	{"a name in other letters", `{"Size":1}`, `Size: there is no column with this name; did you mean "size"?`, 422},
	{"a name with other marks", `{"oddName":"a"}`, `did you mean "odd name"?`, 422},
	{"NaN as text", `{"size":"NaN"}`, `size: "NaN" is not a number; send null for a missing value`, 422},
	{"inf as text", `{"count":"-inf"}`, "is not an integer; send null for a missing value", 422},
}

// Each mistake gets an error that says what the body looks like and how to send it.
func TestHints(t *testing.T) {
	t.Parallel()
	s, _ := serving(t, 1)
	for _, test := range mistaken {
		_, err := decodeAll(t, new(decoder), test.body)
		var bad *requestError
		if !errors.As(err, &bad) || !strings.Contains(bad.detail, test.want) {
			t.Errorf("%s: got %v, want %q in it", test.reason, err, test.want)
		}
		if bad != nil && strings.HasPrefix(bad.detail, "the body") && len(bad.errors) > 0 {
			t.Errorf("%s: what is wrong with the body is an error of a record: %v", test.reason, bad.errors)
		}
		if w := ask(s, http.MethodPost, "/predict", test.body); w.Code != test.status {
			t.Errorf("%s: status %d, want %d: %s", test.reason, w.Code, test.status, w.Body)
		}
	}
}

// A word that is not JSON is an error of its field, and the rest is read.
func TestNotJSONWords(t *testing.T) {
	t.Parallel()
	_, err := decodeAll(t, new(decoder), `[{"size":NaN,"count":"x","kind":-Infinity},{"odd name":None,"size":1}]`)
	var bad *requestError
	if !errors.As(err, &bad) || !bad.notJSON {
		t.Fatalf("error %v, want a *requestError", err)
	}
	want := []api.FieldError{
		{Record: 0, Field: "size", Detail: "NaN is not JSON; send null for a missing value"},
		{Record: 0, Field: "count", Detail: `"x" is not an integer`},
		{Record: 0, Field: "kind", Detail: "-Infinity is not JSON, and no number that a model takes; send null for a missing value"},
		{Record: 1, Field: "odd name", Detail: "None is not JSON; send null for a missing value"},
	}
	if diff := cmp.Diff(want, bad.errors); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}

// A column may have any of the names by which a mistake is recognized.
func TestHintsLeaveColumnsAlone(t *testing.T) {
	t.Parallel()
	e := encoderOf(t, strings.NewReplacer("name: size", "name: data", "number: size", "number: data", "name: kind", "name: columns", "category: kind", "category: columns", "column: kind", "column: columns").Replace(tinySpec))
	vector := make([]float32, e.Width())
	if err := new(decoder).decode([]byte(`{"columns":"1","data":2.5}`), e, func() []float32 { return vector }); err != nil || vector[0] != 2.5 || vector[2] != 0 {
		t.Errorf("vector %v, error %v", vector, err)
	}
}

func TestWrongType(t *testing.T) {
	t.Parallel()
	s, _ := serving(t, 1)
	for contentType, want := range map[string]string{
		"application/x-www-form-urlencoded": "with curl: -H 'Content-Type: application/json'",
		"text/tab-separated-values":         `the Content-Type is "text/tab-separated-values"; send records as application/json (pandas`,
		"multipart/form-data; boundary=x":   "not as a file or a field of a form",
		"text/plain":                        `the Content-Type is "text/plain"; send application/json, text/csv or application/x-ndjson`,
		"json;;":                            `the Content-Type is "json;;"`,
	} {
		r := httptest.NewRequest(http.MethodPost, "/predict", strings.NewReader("{}"))
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if p := api.ParseProblem(w.Code, w.Body.Bytes()); p.Status != 415 || !strings.Contains(p.Detail, want) {
			t.Errorf("%s: %d %q, want 415 with %q", contentType, p.Status, p.Detail, want)
		}
	}
}
