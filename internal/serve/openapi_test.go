package serve

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// The document's schemas are JSON Schema 2020-12, which OpenAPI 3.1 takes over. Every
// operation is asked, and its answer has to fit the schema that the document gives.
func TestOpenAPIAnswers(t *testing.T) {
	t.Parallel()
	s, _ := serving(t, 1)
	text := ask(s, http.MethodGet, "/openapi.json", "").Body.Bytes()
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("openapi.json", parsed); err != nil {
		t.Fatal(err)
	}
	var document struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Tags        []string
			RequestBody struct {
				Content map[string]struct {
					Example json.RawMessage
				}
			} `json:"requestBody"`
			Responses map[string]struct {
				Description string
				Content     map[string]struct{ Schema any }
			}
		}
	}
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	bodies := map[string][]string{
		"/predict":                {mixed, `{"size":3}`, `{"size":-1}`, `{`, `{"size":1,"nothing":2}`},
		"/invocations":            {mixedSplit, mixedInputs, `{}`, `{"instances":[{"size":-1}]}`},
		"/v1/models/tiny:predict": {`{"instances":` + mixed + `}`, `[]`},
		"/v2/models/tiny/infer":   {mixedTensors, `{"inputs":[]}`},
	}
	ids := map[string]bool{}
	for path, item := range document.Paths {
		for method, operation := range item {
			if operation.OperationID == "" || ids[operation.OperationID] || len(operation.Tags) == 0 {
				t.Errorf("%s %s: operationId %q, tags %q", method, path, operation.OperationID, operation.Tags)
			}
			ids[operation.OperationID] = true
			asked := []string{""}
			if method == "post" {
				if asked = bodies[path]; len(asked) == 0 {
					t.Fatalf("no body to post to %s", path)
				}
				if example := operation.RequestBody.Content[asJSON].Example; example != nil {
					asked = append(asked, string(example))
				}
			}
			for _, body := range asked {
				for _, query := range []string{"", "?explain=2"} {
					if query != "" && path != "/predict" {
						continue
					}
					w := ask(s, strings.ToUpper(method), path+query, body)
					response, ok := operation.Responses[fmt.Sprint(w.Code)]
					if !ok || response.Description == "" {
						t.Errorf("%s %s, %.40q: status %d is not in the document: %s", method, path, body, w.Code, w.Body)
						continue
					}
					media, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";")
					if _, ok := response.Content[media]; !ok || !strings.HasSuffix(media, "json") {
						if !ok && len(response.Content) > 0 {
							t.Errorf("%s %s: %d has the media type %q", method, path, w.Code, media)
						}
						continue
					}
					pointer := strings.NewReplacer("~", "~0", "/", "~1", ":", "%3A").Replace(path)
					schema, err := c.Compile("openapi.json#/paths/" + pointer + "/" + method + "/responses/" + fmt.Sprint(w.Code) + "/content/" + strings.ReplaceAll(media, "/", "~1") + "/schema")
					if err != nil {
						t.Fatalf("%s %s: %v", method, path, err)
					}
					answer, err := jsonschema.UnmarshalJSON(bytes.NewReader(w.Body.Bytes()))
					if err != nil {
						t.Fatal(err)
					}
					if err := schema.Validate(answer); err != nil {
						t.Errorf("%s %s, %.60q: %v\n%s", method, path, body, err, w.Body)
					}
				}
			}
			if len(operation.RequestBody.Content) > 0 && method == "post" {
				if w := ask(s, http.MethodPost, path, asked[len(asked)-1]); operation.RequestBody.Content[asJSON].Example != nil && w.Code != http.StatusOK {
					t.Errorf("%s: the example is answered with %d %s", path, w.Code, w.Body)
				}
			}
		}
	}
	if len(ids) < 20 {
		t.Errorf("%d operations", len(ids))
	}
}
