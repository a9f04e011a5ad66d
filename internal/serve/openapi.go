package serve

import (
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"

	"mlops/internal/api"
	"mlops/internal/dataset"
	"mlops/internal/headers"
)

// openAPI responds to GET /openapi.json. The schema of a record is that of the
// served version's data set; while no model is loaded, any object.
func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header()["Content-Type"] = jsonType
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	document := s.document()
	if s.keys != nil {
		lockDocument(document)
	}
	_ = enc.Encode(document) // fails only if the client has gone
}

type object = map[string]any

// predictionSchema is that of the served version's task; without one, of any task.
func predictionSchema(spec *dataset.Spec) object {
	probability := object{"type": "number", "minimum": 0, "maximum": 1}
	warnings := object{"type": "array", "description": "In what the record is unlike the training rows; left out if in nothing",
		"items": object{"$ref": "#/components/schemas/Warning"}}
	why := object{"$ref": "#/components/schemas/Contributions"}
	binary := object{"type": "object", "required": []string{"label", "probability"}, "properties": object{
		"label": object{"type": "integer", "enum": []int{0, 1}}, "probability": probability, "warnings": warnings, "contributions": why}}
	label, probabilities := object{"type": "string"}, object{"type": "object", "additionalProperties": probability}
	if spec != nil && spec.Task == dataset.Multiclass {
		each := object{}
		for _, c := range spec.Target.Classes {
			each[c] = probability
		}
		label["enum"] = spec.Target.Classes
		probabilities = object{"type": "object", "properties": each, "required": spec.Target.Classes}
	}
	classes := object{"type": "object", "required": []string{"label", "probabilities"}, "properties": object{
		"label": label, "probabilities": probabilities, "warnings": warnings, "contributions": why}}
	value := object{"type": "object", "required": []string{"value", "interval"}, "properties": object{
		"value":    object{"type": "number"},
		"interval": object{"type": "array", "items": object{"type": "number"}, "minItems": 2, "maxItems": 2, "description": "Where the true value is, with the coverage that GET /model says"},
		"warnings": warnings, "contributions": why}}
	switch {
	case spec == nil:
		return object{"oneOf": []any{binary, classes, value}}
	case spec.Task == dataset.Multiclass:
		return classes
	case spec.Task == dataset.Regression:
		return value
	}
	return binary
}

func (s *Server) document() object {
	title, record := s.options.Model, object{"type": "object"}
	prediction := predictionSchema(nil)
	var example any
	reasons := object{"type": "string"}
	if served := s.served.Load(); served != nil {
		spec := served.model.Spec
		title = spec.Title
		record = recordSchema(spec)
		prediction = predictionSchema(spec)
		example = served.description.Samples[0].Body(spec.LooksBack())
		if because := reasonsOf(spec); len(because) > 0 {
			reasons["enum"] = because
		}
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
	get := func(id, summary string, responses object) object {
		return object{"get": object{"operationId": id, "tags": []string{"server"}, "summary": summary, "responses": responses}}
	}
	failures := func(codes ...string) object {
		said := map[string]string{
			"400": "Not JSON, not in one of the forms of the path, without a record, or incomplete",
			"404": "There is no such path or model",
			"408": "The body did not arrive in time",
			"413": "The body is longer than 32 MiB, or unpacks to more",
			"415": "The body is in none of the path's formats, or has another Content-Encoding than gzip or zstd",
			"422": "A record has an unknown column or an invalid value, or lacks a required one; no record is scored",
			"500": "The server failed; its log says why",
			"503": "No model is loaded, or the server is overloaded; Retry-After says when to try again",
		}
		list := object{}
		for _, code := range codes {
			list[code] = answer(said[code], "Problem")
		}
		return list
	}
	predicted := failures("400", "408", "413", "415", "422", "500", "503")
	predicted["200"] = answer("One prediction per record, in the request's order; a record that the cohort leaves out has the reason instead", "Predictions")
	for _, media := range []string{"text/csv", "application/x-ndjson"} {
		predicted["200"].(object)["content"].(object)[media] = object{"schema": object{"type": "string"}}
	}
	predicted["422"].(object)["content"].(object)[api.ProblemMediaType].(object)["example"] = api.Problem{
		Type: api.InvalidRecord, Title: "The request can't be scored", Status: 422, Detail: "record 0, age: is required, and not given",
		Errors: []api.FieldError{{Record: 0, Field: "age", Detail: "is required, and not given"}}}
	body := object{"schema": object{"anyOf": []any{
		ref("Record"),
		object{"type": "array", "items": ref("Record"), "minItems": 1},
		object{"type": "object", "required": []string{"instances"}, "properties": object{
			"instances": object{"type": "array", "items": ref("Record"), "minItems": 1}}},
	}}}
	if example != nil {
		body["example"] = example
	}
	document := object{
		"openapi": "3.1.0",
		"info":    object{"title": title, "version": "1", "description": "Scores records with the model version in production."},
		"paths": object{
			"/predict": object{"post": object{
				"summary":     "Score one record, an array of records, or {\"instances\": [...]}",
				"operationId": "predict", "tags": []string{"predict"},
				"parameters": []any{object{"name": "explain", "in": "query", "description": "Adds to each prediction what it is made of: true, or how many of the largest contributions to list",
					"schema": object{"type": "string", "pattern": "^(true|false|[0-9]+)$"}, "example": "5"}},
				"requestBody": object{"required": true, "content": object{"application/json": body,
					"text/csv": object{"schema": object{"type": "string"}}, "application/x-ndjson": object{"schema": object{"type": "string"}}}},
				"responses": predicted,
			}},
			"/model":        get("model", "The served version, its data set, metrics and samples", object{"200": text("The served version"), "503": answer("No model is loaded", "Problem")}),
			"/healthz":      get("healthz", "Whether the process is alive", object{"200": text("Alive")}),
			"/readyz":       get("readyz", "Whether the server takes requests", object{"200": text("Ready"), "503": answer("Not ready", "Problem")}),
			"/metrics":      get("metrics", "Prometheus metrics", object{"200": text("Metrics")}),
			"/openapi.json": get("openapi", "This document", object{"200": text("OpenAPI 3.1")}),
			"/docs":         get("docs", "This document as a page", object{"200": text("HTML")}),
		},
		"components": object{"schemas": object{
			"Record": record,
			"Predictions": object{"type": "object", "required": []string{"model", "predictions"}, "properties": object{
				"model": object{"type": "object", "required": []string{"name", "version", "run_id"}, "properties": object{
					"name": object{"type": "string"}, "version": object{"type": "string"}, "run_id": object{"type": "string"}}},
				"predictions": object{"type": "array", "items": object{"oneOf": []any{ref("Prediction"), ref("Excluded")}}},
			}},
			"Warning": object{"type": "object", "required": []string{"column", "kind", "detail"}, "properties": object{
				"column": object{"type": "string", "description": "Empty if it is about the whole record"},
				"kind":   object{"type": "string", "enum": []string{api.UnseenLevel, api.OutOfRange, api.NotGiven, api.HardlyGiven, api.EarlierUnavailable}},
				"detail": object{"type": "string"},
			}},
			"Prediction":    prediction,
			"Contributions": contributionsSchema(),
			"Excluded": object{"type": "object", "required": []string{"excluded"}, "additionalProperties": false,
				"description": "No score: the cohort leaves the record out", "properties": object{"excluded": reasons}},
			"Problem": object{"type": "object", "required": []string{"type", "title", "status"}, "properties": object{
				"type": object{"type": "string"}, "title": object{"type": "string"}, "status": object{"type": "integer"}, "detail": object{"type": "string"}, "error": object{"type": "string", "description": "The detail again, on the paths of KServe's protocols"},
				"errors": object{"type": "array", "maxItems": maxErrors, "items": object{"type": "object", "properties": object{
					"record": object{"type": "integer"}, "field": object{"type": "string"}, "detail": object{"type": "string"}}}},
			}},
		}},
	}
	paths := document["paths"].(object)
	for path, item := range protocolPaths(s.options.Model, ref, example, failures) {
		paths[path] = item
	}
	for path, item := range paperPaths(failures) {
		paths[path] = item
	}
	return document
}

// reasonsOf lists why the cohort leaves records out, each reason once.
func reasonsOf(spec *dataset.Spec) []string {
	var list []string
	for _, e := range spec.Cohort {
		if !slices.Contains(list, e.Because) {
			list = append(list, e.Because)
		}
	}
	return list
}

func recordSchema(spec *dataset.Spec) object {
	properties, required := object{}, []string{}
	for i := range spec.Columns {
		c := &spec.Columns[i]
		p := object{"description": c.Label, "type": []string{"number", "string", "null"}}
		if c.Type == dataset.Integer {
			p["type"] = []string{"integer", "string", "null"}
		}
		switch c.Type {
		case dataset.Boolean:
			p["type"] = []string{"boolean", "number", "string", "null"}
		case dataset.Date:
			p["type"] = []string{"string", "null"}
			p["examples"] = []string{"2024-01-31"}
			if c.Format != "" {
				p["description"] = fmt.Sprintf("%s (a date of ISO 8601, or as %s)", c.Label, c.Format)
			}
		}
		if c.Required {
			types := p["type"].([]string)
			p["type"] = types[:len(types)-1] // not null
			required = append(required, c.Name)
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
			p["description"] = c.Label + " (accepted, but ignored)"
		}
		if spec.LooksBack() && c.Name == spec.Group {
			p["description"] = c.Label + " (the group whose earlier records are looked up)"
		}
		if spec.LooksBack() && c.Name == spec.Order {
			p["description"] = c.Label + " (only records before it are looked at; all, if it is left out)"
		}
		properties[c.Name] = p
	}
	if spec.LooksBack() {
		properties[dataset.EarlierMember] = object{"type": []string{"array", "null"}, "items": object{"type": "object"},
			"description": "Earlier records of the group, the newest last; if left out, the server looks them up"}
	}
	record := object{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		record["required"] = required
	}
	return record
}

// docs responds to GET /docs, the same document as a page.
func (s *Server) docs(w http.ResponseWriter, r *http.Request) {
	view := struct {
		Title, Model, Version, Example string
		Spec                           *dataset.Spec
		Columns                        []api.Column
		Cohort                         []dataset.Exclusion
	}{Title: s.options.Model, Model: s.options.Model}
	if served := s.served.Load(); served != nil {
		spec := served.model.Spec
		view.Spec, view.Title, view.Version = spec, spec.Title, strconv.Itoa(served.version.Number)
		view.Columns, view.Cohort = columns(served.model.Encoder), spec.Cohort
		if example, err := json.MarshalIndent(served.description.Samples[0].Body(spec.LooksBack()), "", "  "); err == nil {
			view.Example = string(example)
		}
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", headers.API+"; style-src 'unsafe-inline'")
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
<p>{{if .Version}}This server serves version {{.Version}} of <code>{{.Model}}</code>.{{else}}No version of <code>{{.Model}}</code> is in production yet.{{end}}
For programs, the same is in <a href="openapi.json">openapi.json</a>.</p>
<table>
<tr><td><code>POST /predict</code><td>Score one record (an object), an array of records, or <code>{"instances": [...]}</code>
<tr><td><code>GET /model</code><td>The served version, its data set, metrics and samples
<tr><td><code>GET <a href="model/card">/model/card</a></code><td>The served version's model card, as HTML, Markdown or JSON
<tr><td><code>GET <a href="model/history">/model/history</a></code><td>What was in production, when, by whom and why
<tr><td><code>GET /healthz</code><td>Whether the process is alive
<tr><td><code>GET /readyz</code><td>Whether the server takes requests
<tr><td><code>GET /metrics</code><td>Metrics for Prometheus
</table>
<p>Values are JSON numbers, or strings as they appear in the table. A column counts as missing if it is left out, <code>null</code>, empty or one of the table's own markers; a required column must not be missing. The key and the target are accepted, but ignored.</p>
<p>A record that is unlike the training rows is scored all the same, and its prediction has <code>warnings</code>, each with column, kind and detail: <code>unseen_level</code> (no training row has this value of a category), <code>out_of_range</code> (a number below or above all of training), <code>missing</code> (no value, though every training row has one), <code>hardly_given</code> (hardly any column has a value), <code>history_unavailable</code> (nobody knows the record's earlier ones).</p>
{{if and .Spec .Spec.LooksBack}}<p>The model looks at the earlier records of a record's group. They may be sent as <code>history</code> beside its columns: an array of records, the newest last, <code>[]</code> if there are none. Without it the server looks up the rows of <code>{{.Spec.Group}}</code> that are before <code>{{.Spec.Order}}</code>, or all of them where the record has none.</p>{{end}}
<p>Errors are <code>application/problem+json</code> with one entry in <code>errors</code> for each invalid value, up to 20: the record's index, the field and a detail. If any value is invalid, no record is scored.</p>
{{if .Cohort}}<h2>Records that get no score</h2>
<p>The model was not trained on such records. Each gets <code>{"excluded": "the reason"}</code> instead of a label and a probability; the other records of the request are scored.</p>
<table><tr><th>Column<th>Values<th>Because
{{range .Cohort}}<tr><td><code>{{.Column}}</code><td>{{range $i, $v := .Values}}{{if $i}}, {{end}}{{$v}}{{end}}<td>{{.Because}}
{{end}}</table>{{end}}
{{if .Example}}<h2>Example record</h2><pre>{{.Example}}</pre>{{end}}
{{if .Columns}}<h2>Columns</h2>
<table><tr><th>Column<th>Type<th>Meaning<th>Values<th>In training
{{range .Columns}}<tr><td><code>{{.Name}}</code><td>{{.Type}}{{if .Required}}, required{{end}}<td>{{.Label}}<td>{{if .Min}}at least {{.Min}}{{end}}{{if and .Min .Max}}, {{end}}{{if .Max}}at most {{.Max}}{{end}}{{if eq .Type "boolean"}}true or false{{end}}{{if eq .Type "date"}}ISO 8601{{with .Format}} or {{.}}{{end}}{{with .Earliest}}, from {{.}}{{end}}{{with .Latest}}, to {{.}}{{end}}{{end}}{{range $i, $v := .Values}}{{if $i}}, {{end}}{{$v}}{{end}}{{range $i, $c := .Codes}}{{if $i}}, {{end}}{{$c.Code}} = {{$c.Name}}{{end}}<td>{{with .Seen}}{{if .Min}}{{.Min}} to {{.Max}}{{end}}{{if .Levels}}{{.Levels}} values{{end}}{{if not .Missing}}, never missing{{end}}{{end}}
{{end}}</table>{{end}}
</html>
`))
