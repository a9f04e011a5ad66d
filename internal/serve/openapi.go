package serve

import (
	"encoding/json"
	"html/template"
	"net/http"
	"strconv"

	"mlops/internal/api"
	"mlops/internal/dataset"
)

// openAPI answers GET /openapi.json. The record's schema is that of the served
// version's data set; without a model it is any object.
func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header()["Content-Type"] = jsonType
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.Encode(s.document())
}

type object = map[string]any

func (s *Server) document() object {
	title, record := s.options.Model, object{"type": "object"}
	var example any
	if served := s.served.Load(); served != nil {
		spec := served.model.Spec
		title = spec.Title
		record = recordSchema(spec)
		example = served.model.Serving.Samples[0].Record
	}
	ref := func(name string) object { return object{"$ref": "#/components/schemas/" + name} }
	answer := func(text, schema string) object {
		media := "application/problem+json"
		if schema != "Problem" {
			media = "application/json"
		}
		return object{"description": text, "content": object{media: object{"schema": ref(schema)}}}
	}
	text := func(description string) object { return object{"description": description} }
	get := func(summary string, responses object) object {
		return object{"get": object{"summary": summary, "responses": responses}}
	}
	body := object{"schema": object{"anyOf": []any{
		ref("Record"),
		object{"type": "array", "items": ref("Record"), "minItems": 1},
		object{"type": "object", "required": []string{"instances"}, "properties": object{
			"instances": object{"type": "array", "items": ref("Record"), "minItems": 1}}},
	}}}
	if example != nil {
		body["example"] = example
	}
	return object{
		"openapi": "3.1.0",
		"info":    object{"title": title, "version": "1", "description": "Scores records with the model version that is in production."},
		"paths": object{
			"/predict": object{"post": object{
				"summary":     "Score one record, an array of them, or {\"instances\": [...]}",
				"requestBody": object{"required": true, "content": object{"application/json": body}},
				"responses": object{
					"200": answer("One prediction a record, in the order of the records", "Answer"),
					"400": answer("Not JSON, not of one of the three forms, or without a record", "Problem"),
					"413": answer("More than 32 MiB", "Problem"),
					"408": answer("The body did not arrive in time", "Problem"),
					"415": answer("Not application/json, or compressed", "Problem"),
					"422": answer("A record with an unknown column or a wrong value; nothing is scored", "Problem"),
					"500": answer("An error of the server", "Problem"),
					"503": answer("No model is in production, or there are more requests than can be answered in time; Retry-After says when to come again", "Problem"),
				},
			}},
			"/model":        get("The served version, its data set, metrics and samples", object{"200": text("What is served"), "503": answer("No model is in production", "Problem")}),
			"/healthz":      get("The process is alive", object{"200": text("Alive")}),
			"/readyz":       get("Requests may be sent", object{"200": text("Ready"), "503": answer("Not ready", "Problem")}),
			"/metrics":      get("Prometheus metrics", object{"200": text("Metrics")}),
			"/openapi.json": get("This document", object{"200": text("OpenAPI 3.1")}),
			"/docs":         get("This document for people", object{"200": text("HTML")}),
		},
		"components": object{"schemas": object{
			"Record": record,
			"Answer": object{"type": "object", "properties": object{
				"model": object{"type": "object", "properties": object{
					"name": object{"type": "string"}, "version": object{"type": "string"}, "run_id": object{"type": "string"}}},
				"predictions": object{"type": "array", "items": object{"type": "object", "properties": object{
					"label":       object{"type": "integer", "enum": []int{0, 1}},
					"probability": object{"type": "number", "minimum": 0, "maximum": 1}}}},
			}},
			"Problem": object{"type": "object", "properties": object{
				"type": object{"type": "string"}, "title": object{"type": "string"}, "status": object{"type": "integer"}, "detail": object{"type": "string"},
				"errors": object{"type": "array", "items": object{"type": "object", "properties": object{
					"record": object{"type": "integer"}, "field": object{"type": "string"}, "reason": object{"type": "string"}}}},
			}},
		}},
	}
}

func recordSchema(spec *dataset.Spec) object {
	properties := object{}
	for i := range spec.Columns {
		c := &spec.Columns[i]
		p := object{"description": c.Label, "type": []string{"number", "string", "null"}}
		if c.Type == dataset.Integer {
			p["type"] = []string{"integer", "string", "null"}
		}
		if len(c.Values) > 0 {
			p["examples"] = c.Values
		}
		if len(c.Codes) > 0 {
			var examples []string
			for _, v := range codes(c.Codes) {
				examples = append(examples, v.Code)
			}
			p["examples"] = examples
		}
		if c.Min != nil {
			p["minimum"] = *c.Min
		}
		if c.Max != nil {
			p["maximum"] = *c.Max
		}
		if spec.Ignored(i) {
			p["description"] = c.Label + " (accepted and ignored)"
		}
		properties[c.Name] = p
	}
	return object{"type": "object", "properties": properties, "additionalProperties": false}
}

// docs answers GET /docs: the same document for people.
func (s *Server) docs(w http.ResponseWriter, r *http.Request) {
	view := struct {
		Title, Model, Version, Example string
		Columns                        []api.Column
	}{Title: s.options.Model, Model: s.options.Model}
	if served := s.served.Load(); served != nil {
		spec := served.model.Spec
		view.Title, view.Version = spec.Title, strconv.Itoa(served.version.Number)
		view.Columns = columns(spec)
		if example, err := json.MarshalIndent(served.model.Serving.Samples[0].Record, "", "  "); err == nil {
			view.Example = string(example)
		}
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	if err := docsPage.Execute(w, view); err != nil {
		s.log.Debug("writing /docs", "error", err)
	}
}

var docsPage = template.Must(template.New("docs").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{.Title}}: API</title>
<style>
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
code,pre{font:14px/1.45 ui-monospace,monospace}
pre{padding:1rem;border:1px solid #8886;border-radius:8px;overflow:auto;max-height:24rem}
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #8884}
</style>
<h1>{{.Title}}</h1>
<p>{{if .Version}}Version {{.Version}} of <code>{{.Model}}</code> is in production.{{else}}No version of <code>{{.Model}}</code> is in production yet.{{end}}
The machine-readable form of this page is <a href="openapi.json">openapi.json</a>.</p>
<table>
<tr><td><code>POST /predict</code><td>scores a record (an object), an array of records, or <code>{"instances": [...]}</code>
<tr><td><code>GET /model</code><td>the served version, its data set, metrics and samples
<tr><td><code>GET /healthz</code>, <code>/readyz</code><td>the process is alive; requests may be sent
<tr><td><code>GET /metrics</code><td>for Prometheus
</table>
<p>Values are JSON numbers or the strings that the table has. A column that is left out, <code>null</code> and the table's own markers are missing values; the key and the target are accepted and ignored.
Errors are <code>application/problem+json</code> and name the record, the field and the reason; then nothing is scored.</p>
{{if .Example}}<h2>A record</h2><pre>{{.Example}}</pre>{{end}}
{{if .Columns}}<h2>Columns</h2>
<table><tr><th>Column<th>Type<th>Meaning<th>Values
{{range .Columns}}<tr><td><code>{{.Name}}</code><td>{{.Type}}<td>{{.Label}}<td>{{if .Min}}from {{.Min}} {{end}}{{if .Max}}to {{.Max}}{{end}}{{range $i, $v := .Values}}{{if $i}}, {{end}}{{$v}}{{end}}{{range $i, $c := .Codes}}{{if $i}}, {{end}}{{$c.Code}} = {{$c.Name}}{{end}}
{{end}}</table>{{end}}
</html>
`))
