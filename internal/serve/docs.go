package serve

import (
	_ "embed"
	"encoding/json"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"mlops/internal/api"
	"mlops/internal/dataset"
	"mlops/internal/headers"
)

// The page /docs is one file that loads nothing: its style and its script stand in it,
// and the Content-Security-Policy names them by their digests.
//
//go:embed docs.html
var docsHTML string

//go:embed docs.css
var docsStyle string

//go:embed docs.js
var docsScript string

var docsPage = template.Must(template.New("docs").Parse(docsHTML))

var docsPolicy = headers.API + "; connect-src 'self'; script-src " + headers.Digest(docsScript) + "; style-src " + headers.Digest(docsStyle)

// operation is one of the OpenAPI document, to be tried on the page.
type operation struct {
	Method, Path, Summary string
	Parameters            []parameter
	Kinds                 []string // content types of the body; empty: it has none
	Body                  string   // an example
}

// parameter is one of the query.
type parameter struct {
	Name, Description, Example string
}

// operations lists a document's operations, those that score first.
func operations(document object) []operation {
	var list []operation
	paths := document["paths"].(object)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		for method, item := range paths[path].(object) {
			item, ok := item.(object)
			if !ok {
				continue
			}
			o := operation{Method: strings.ToUpper(method), Path: path}
			o.Summary, _ = item["summary"].(string)
			parameters, _ := item["parameters"].([]any)
			for _, p := range parameters {
				if p := p.(object); p["in"] == "query" {
					q := parameter{}
					q.Name, _ = p["name"].(string)
					q.Description, _ = p["description"].(string)
					q.Example, _ = p["example"].(string)
					o.Parameters = append(o.Parameters, q)
				}
			}
			if body, ok := item["requestBody"].(object); ok {
				content := body["content"].(object)
				o.Kinds = slices.Sorted(maps.Keys(content))
				if of, ok := content[api.MediaType].(object); ok && of["example"] != nil {
					if text, err := json.MarshalIndent(of["example"], "", "  "); err == nil {
						o.Body = string(text)
					}
				}
			}
			list = append(list, o)
		}
	}
	slices.SortStableFunc(list, func(a, b operation) int {
		rank := func(o operation) int {
			switch {
			case o.Path == "/predict":
				return 0
			case !strings.HasPrefix(o.Path, "/v") || o.Path == "/version":
				return 1
			}
			return 2 // other protocols
		}
		return rank(a) - rank(b)
	})
	return list
}

// docs responds to GET /docs, the same document as a page.
func (s *Server) docs(w http.ResponseWriter, _ *http.Request) {
	view := struct {
		Title, Model, Version, Example string
		Spec                           *dataset.Spec
		Columns                        []api.Column
		Cohort                         []dataset.Exclusion
		Operations                     []operation
		Style                          template.CSS
		Script                         template.JS
	}{
		Title: s.options.Model, Model: s.options.Model, Operations: operations(s.document()),
		Style: template.CSS(docsStyle), Script: template.JS(docsScript), // #nosec G203 -- our own files
	}
	if served := s.served.Load(); served != nil {
		spec := served.model.Spec
		view.Spec, view.Title, view.Version = spec, spec.Title, strconv.Itoa(served.version.Number)
		view.Columns, view.Cohort = columns(served.model.Encoder), spec.Cohort
		if example, err := json.MarshalIndent(served.description.Dataset.Example(served.description.Samples[0]), "", "  "); err == nil {
			view.Example = string(example)
		}
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", docsPolicy)
	if err := docsPage.Execute(w, view); err != nil {
		s.log.Debug("writing /docs", "error", err)
	}
}
