package serve

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/klauspost/compress/zstd"

	"mlops/internal/api"
)

// send posts a body with headers, given as name and value in turn.
func send(s *Server, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

const (
	asJSON = "application/json"
	asCSV  = "text/csv"
)

// mixed are records with a score, with warnings, excluded ones, and how each protocol
// writes them.
const (
	mixed        = `[{"size":3,"count":1,"kind":"2","odd name":"é\""},{"size":9,"kind":"77"},{"count":7},{"size":"?"}]`
	mixedCSV     = "size,count,kind,odd name\n3,1,2,\"é\"\"\"\n9,,77,\n,7,,\n?,,,\n"
	mixedLines   = "{\"size\":3,\"count\":1,\"kind\":\"2\",\"odd name\":\"é\\\"\"}\n{\"size\":9,\"kind\":\"77\"}\n\n{\"count\":7}\n{\"size\":\"?\"}"
	mixedSplit   = `{"dataframe_split":{"columns":["size","count","kind","odd name"],"data":[[3,1,"2","é\""],[9,null,"77",null],[null,7,null,null],["?",null,null,null]]}}`
	mixedInputs  = `{"inputs":{"size":[3,9,null,"?"],"count":[1,null,7,null],"kind":["2","77",null,null],"odd name":["é\"",null,null,null]}}`
	mixedTensors = `{"id":"x","inputs":[{"name":"size","shape":[4,1],"datatype":"FP64","data":[3,9,null,"?"]},{"name":"count","shape":[4],"datatype":"INT64","data":[1,null,7,null]},
{"name":"kind","shape":[4,1],"datatype":"BYTES","data":[["2"],["77"],[null],[null]]},{"name":"odd name","shape":[4],"datatype":"BYTES","data":["é\"",null,null,null]}]}`
)

// The same records have the same predictions, warnings and exclusions in every form.
func TestFormsAgree(t *testing.T) {
	t.Parallel()
	s, _ := serving(t, 1)
	want := predict(t, s, mixed).Predictions
	if want[2].Excluded == "" || len(want[1].Warnings) < 2 {
		t.Fatalf("predictions %+v", want)
	}
	for _, form := range []struct{ path, contentType, accept, body string }{
		{"/predict", "application/x-ndjson", asJSON, mixedLines},
		{"/predict", asCSV, asJSON, mixedCSV},
		{"/predict", asCSV + "; charset=utf-8", asJSON, strings.NewReplacer(",", ";", "\n", "\r\n").Replace("\ufeff" + mixedCSV)},
		{"/predict", "application/jsonl", "", mixedLines},
		{"/invocations", asJSON, "", mixedSplit},
		{"/invocations", asJSON, "", mixedInputs},
		{"/invocations", asJSON, "", `{"dataframe_records":` + mixed + `}`},
		{"/invocations", asJSON, "", `{"instances":` + mixed + `}`},
		{"/invocations", asCSV, "", mixedCSV},
		{"/v1/models/tiny:predict", asJSON, "", `{"instances":` + mixed + `}`},
	} {
		w := send(s, form.path, form.body, "Content-Type", form.contentType, "Accept", form.accept)
		if w.Code != http.StatusOK {
			t.Errorf("%s, %s: status %d: %s", form.path, form.contentType, w.Code, w.Body)
			continue
		}
		var got api.Predictions
		text := w.Body.String()
		if form.accept == "" && form.contentType == "application/jsonl" {
			text = `{"predictions":[` + strings.ReplaceAll(strings.TrimSpace(text), "\n", ",") + `]}`
		}
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Errorf("%s, %s: %v: %s", form.path, form.contentType, err, text)
			continue
		}
		// A value is a number in one form and text in another, and shown so.
		details := cmpopts.AcyclicTransformer("quotes", func(w api.Warning) string { return strings.ReplaceAll(w.Column+w.Kind+w.Detail, `"`, "") })
		if diff := cmp.Diff(want, got.Predictions, details); diff != "" {
			t.Errorf("%s, %s, %.30s (-want +got):\n%s", form.path, form.contentType, form.body, diff)
		}
	}

	w := send(s, "/v2/models/tiny/infer", mixedTensors)
	var inference struct {
		ID      string
		Outputs []struct {
			Name  string
			Shape []int
			Data  []any
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &inference); err != nil || w.Code != http.StatusOK || inference.ID != "x" || len(inference.Outputs) != 4 {
		t.Fatalf("%v: %d %s", err, w.Code, w.Body)
	}
	for i, p := range want {
		label, probability, warnings := any(float64(p.Label)), any(p.Probability), ""
		if p.Excluded != "" {
			label, probability = -1.0, nil
		}
		if p.Warnings != nil {
			warnings = fmt.Sprint(len(p.Warnings))
			var list []api.Warning
			if err := json.Unmarshal([]byte(inference.Outputs[3].Data[i].(string)), &list); err != nil || len(list) != len(p.Warnings) {
				t.Errorf("record %d: warnings %v, %v", i, inference.Outputs[3].Data[i], err)
			}
			inference.Outputs[3].Data[i] = warnings
		}
		got := []any{inference.Outputs[0].Data[i], inference.Outputs[1].Data[i], inference.Outputs[2].Data[i], inference.Outputs[3].Data[i]}
		if diff := cmp.Diff([]any{label, probability, p.Excluded, warnings}, got); diff != "" {
			t.Errorf("record %d (-want +got):\n%s", i, diff)
		}
	}
	if used := s.memory.used.Load(); used < 0 || used > 64<<10 {
		t.Errorf("%d bytes are held afterwards", used)
	}
}

func TestCSVResponse(t *testing.T) {
	t.Parallel()
	s, _ := serving(t, 1)
	want := predict(t, s, mixed).Predictions
	before := metric(t, s, `mlops_predictions_total{label="1"}`)
	w := send(s, "/predict", mixedCSV, "Content-Type", asCSV)
	rows, err := csv.NewReader(w.Body).ReadAll()
	if err != nil || w.Header().Get("Content-Type") != "text/csv; charset=utf-8" {
		t.Fatalf("%v, %v", err, w.Header())
	}
	if diff := cmp.Diff([]string{"label", "probability", "excluded", "warnings"}, rows[0]); diff != "" {
		t.Error(diff)
	}
	for i, p := range want {
		row := rows[i+1]
		if p.Excluded != "" {
			if row[0]+row[1] != "" || row[2] != p.Excluded {
				t.Errorf("record %d: %q", i, row)
			}
			continue
		}
		if row[0] != fmt.Sprint(p.Label) || row[1] != fmt.Sprint(float32(p.Probability)) || (row[3] == "") != (p.Warnings == nil) {
			t.Errorf("record %d: %q, want %+v", i, row, p)
		}
	}
	if after := metric(t, s, `mlops_predictions_total{label="1"}`); after == before {
		t.Error("the predictions were not counted")
	}
}

// What is wrong has the same status, type and entries in every protocol.
func TestFormsFailAlike(t *testing.T) {
	t.Parallel()
	s, _ := serving(t, 1)
	for _, test := range []struct {
		path, contentType, body string
		status                  int
		field, detail           string
	}{
		{"/predict", asCSV, "size,nothing\n1,2\n", 422, "nothing", "no column"},
		{"/predict", asCSV, "Size\n1\n", 422, "Size", "did you mean"},
		{"/predict", asCSV, "size,size\n1,1\n", 422, "size", "given twice"},
		{"/predict", asCSV, ",size\n0,1\n", 422, "", "index=False"},
		{"/predict", asCSV, "size,count\n1,2\n1,x\n", 422, "count", ""},
		{"/predict", asCSV, "size\n-1\n", 422, "size", ""},
		{"/predict", asCSV, "size,count\n1\n", 400, "", "1 field, the header 2 (line 2"},
		{"/predict", asCSV, "size\n\"1\n", 400, "", "not terminated"},
		{"/predict", asCSV, "size\n\"1\"2\n", 400, "", "closing quote"},
		{"/predict", asCSV, "kind\n\xff\n", 400, "", "UTF-8"},
		{"/predict", asCSV, "size\n", 400, "", "no record"},
		{"/predict", asCSV, "", 400, "", "empty"},
		{"/predict", "application/x-ndjson", "{\"size\":1}\n{\"size\":]\n", 400, "", "line 2"},
		{"/invocations", asJSON, `{"dataframe_split":{"columns":["size"],"data":[[1],["x"]]}}`, 422, "size", ""},
		{"/invocations", asJSON, `{"instances":[]}`, 400, "", "no record"},
		{"/invocations", asJSON, `[1`, 400, "", "not JSON"},
		{"/invocations", "application/x-ndjson", `{}`, 400, "", "no JSON lines"},
		{"/v1/models/tiny:predict", asJSON, `{"instances":[{"size":-1}]}`, 422, "size", ""},
		{"/v1/models/other:predict", asJSON, `{"instances":[{"size":1}]}`, 404, "", `"other"`},
		{"/v2/models/tiny/infer", asJSON, `{"inputs":[{"name":"sise","shape":[1],"datatype":"FP32","data":[1]}]}`, 422, "sise", ""},
		{"/v2/models/tiny/infer", asJSON, `{"inputs":[{"name":"size","shape":[1,2],"datatype":"FP32","data":[1,2]}]}`, 400, "", "one tensor per column"},
		{"/v2/models/tiny/infer", asJSON, `{"inputs":[{"name":"size","shape":[1],"datatype":"FP32","data":[1]}],"outputs":[{"name":"label"},{"name":"lable"}]}`, 400, "", `no output "lable", only label, probability`},
		{"/v2/models/tiny/infer", asCSV, "size\n1\n", 415, "", ""},
		{"/v2/models/tiny/versions/2/infer", asJSON, `{}`, 404, "", "version"},
		{"/predict?explain=true", asCSV, "size\n1\n", 422, "", "nested"},
	} {
		w := send(s, test.path, test.body, "Content-Type", test.contentType)
		p := api.ParseProblem(w.Code, w.Body.Bytes())
		field := ""
		if len(p.Errors) > 0 {
			field = p.Errors[0].Field
		}
		if w.Code != test.status || !strings.Contains(p.Detail, test.detail) || field != test.field {
			t.Errorf("%s, %s, %q: %d %s", test.path, test.contentType, test.body, w.Code, w.Body)
		}
		want := map[int]string{400: api.InvalidJSON, 415: api.UnsupportedMedia, 404: api.NotFound, 422: api.InvalidRecord}[test.status]
		if test.status == 400 && test.contentType == asCSV {
			want = api.InvalidCSV
		}
		if p.Type != want && !(test.status == 422 && p.Type == api.NotExplained) {
			t.Errorf("%s, %s, %q: the problem is a %s, want %s", test.path, test.contentType, test.body, p.Type, want)
		}
		if kserve := strings.HasPrefix(test.path, "/v"); kserve != (p.Message != "") {
			t.Errorf("%s: the member error is %q", test.path, p.Message)
		}
	}
	binary := send(s, "/v2/models/tiny/infer", `{"inputs":[{"name":"size","shape":[1,1],"datatype":"FP64","parameters":{"binary_data_size":8}}]}`+"\x00\x00\x00\x00\x00\x00\x08\x40",
		"Content-Type", asJSON, "Inference-Header-Content-Length", "100")
	if binary.Code != http.StatusUnsupportedMediaType || !strings.Contains(api.ParseProblem(binary.Code, binary.Body.Bytes()).Message, "binary_data=False") {
		t.Errorf("binary tensors: %d %s", binary.Code, binary.Body)
	}
	for _, path := range []string{"/invocations", "/v1/models/tiny:predict", "/v2/models/tiny/infer"} {
		if w := ask(s, http.MethodGet, path, ""); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != http.MethodPost {
			t.Errorf("GET %s: %d, Allow %q", path, w.Code, w.Header().Get("Allow"))
		}
	}
}

func TestPacked(t *testing.T) {
	t.Parallel()
	s, _ := serving(t, 1)
	var body strings.Builder
	body.WriteString("size,kind\n")
	for i := range 2000 {
		fmt.Fprintf(&body, "%d.%d,%d\n", i%9, i, i%3)
	}
	want := send(s, "/predict", body.String(), "Content-Type", asCSV).Body.String()
	pack := func(text string, level int) string {
		var b bytes.Buffer
		w, err := gzip.NewWriterLevel(&b, level)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, text)
		w.Close()
		return b.String()
	}
	gz := func(text string) string { return pack(text, gzip.DefaultCompression) }
	zs := func(text string) string {
		w, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		return string(w.EncodeAll([]byte(text), nil))
	}
	for encoding, packed := range map[string]string{"gzip": gz(body.String()), "zstd": zs(body.String())} {
		w := send(s, "/predict", packed, "Content-Type", asCSV, "Content-Encoding", encoding, "Accept-Encoding", encoding+", br")
		if w.Code != http.StatusOK || w.Header().Get("Content-Encoding") != encoding || w.Header().Get("Vary") != "Accept-Encoding" || w.Header().Get("Content-Length") != "" {
			t.Fatalf("%s: %d %v", encoding, w.Code, w.Header())
		}
		var r io.Reader
		if encoding == "gzip" {
			var err error
			if r, err = gzip.NewReader(w.Body); err != nil {
				t.Fatal(err)
			}
		} else {
			z, err := zstd.NewReader(w.Body)
			if err != nil {
				t.Fatal(err)
			}
			defer z.Close()
			r = z
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != want {
			t.Errorf("%s: %v: differs from what comes uncompressed", encoding, err)
		}
	}
	if w := send(s, "/predict", "{}", "Accept-Encoding", "gzip, zstd"); w.Header().Get("Content-Encoding") != "" {
		t.Error("a short response is compressed")
	}
	for what, test := range map[string]struct {
		encoding, body string
		status         int
		detail         string
	}{
		"a bomb":     {"gzip", gz(strings.Repeat(" ", 16<<20)), 413, "250 times"},
		"too long":   {"gzip", pack(strings.Repeat(body.String(), 1+maxBody/body.Len()), gzip.BestSpeed), 413, "at most"},
		"a zstd one": {"zstd", zs(strings.Repeat(" ", 16<<20)), 413, "250 times"},
		"cut off":    {"gzip", gz(body.String())[:200], 400, "damaged"},
		"not zstd":   {"zstd", "size\n1\n", 400, "damaged"},
		"other":      {"br", "x", 415, "gzip or zstd"},
	} {
		w := send(s, "/predict", test.body, "Content-Type", asCSV, "Content-Encoding", test.encoding)
		if w.Code != test.status || !strings.Contains(w.Body.String(), test.detail) {
			t.Errorf("%s: %d %s", what, w.Code, w.Body)
		}
	}
	if used := s.memory.used.Load(); used < 0 || used > 2*maxPooled {
		t.Errorf("%d bytes are held afterwards", used)
	}
}

func TestProtocolDescriptions(t *testing.T) {
	t.Parallel()
	s, _ := serving(t, 1)
	none := newServer(t, newShelf(t), t.TempDir())
	for _, test := range []struct {
		path, want   string
		withoutModel int
	}{
		{"/ping", "ready", 503}, {"/health", "ready", 503}, {"/version", "0.", 200},
		{"/v2", `"name":"mlops"`, 200}, {"/v2/health/live", `{"live":true}`, 200}, {"/v2/health/ready", `{"ready":true}`, 503},
		{"/v2/models/tiny", `"inputs":[{"name":"size","shape":[-1,1],"datatype":"FP64"},{"name":"count","shape":[-1,1],"datatype":"INT64"}`, 503},
		{"/v2/models/tiny/versions/1/ready", `{"name":"tiny","ready":true}`, 503},
		{"/v1/models", `{"models":["tiny"]}`, 200}, {"/v1/models/tiny", `"ready":true`, 200},
	} {
		if w := ask(s, http.MethodGet, test.path, ""); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), test.want) {
			t.Errorf("%s: %d %s", test.path, w.Code, w.Body)
		}
		if w := ask(none, http.MethodGet, test.path, ""); w.Code != test.withoutModel {
			t.Errorf("%s without a model: %d %s", test.path, w.Code, w.Body)
		}
	}
}
