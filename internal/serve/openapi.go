package serve

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"

	"mlops/internal/api"
	"mlops/internal/dataset"
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
		example = served.description.Dataset.Example(served.description.Samples[0])
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
			"400": "Not JSON or CSV, not in one of the forms of the path, without a record, or incomplete",
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
		object{"type": "object", "required": []string{"instances"}, "additionalProperties": false, "properties": object{
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
				"parameters": []any{object{"name": "explain", "in": "query", "description": "Adds to each prediction what it is made of: true or nothing, or how many of the largest contributions to list",
					"schema": object{"type": "string", "pattern": "^(true|false|[0-9]+)?$"}, "example": "5"}},
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
	for path, item := range protocolPaths(s.options.Model, ref, body["schema"].(object), example, failures) {
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

// numberPattern is what a text has to look like in a column of numbers: a number, nothing
// or one of the markers for a missing value. Numbers are checked for more than that.
func numberPattern(missing []string) string {
	pattern := `[+-]?[0-9.]+([eE][+-]?[0-9]+)?`
	for _, m := range missing {
		if m != "" {
			pattern += "|" + regexp.QuoteMeta(m)
		}
	}
	return `^\s*(` + pattern + `)?\s*$`
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
		case dataset.Integer, dataset.Number:
			if c.Unit == "" {
				p["pattern"] = numberPattern(append(slices.Clone(spec.Missing), c.Missing...))
			}
		case dataset.Boolean:
			p["type"] = []string{"boolean", "number", "string", "null"}
		case dataset.Date:
			p["type"] = []string{"string", "null"}
			p["examples"] = []string{"2024-01-31"}
			if dataset.Counted(c.Format) {
				p["type"] = []string{"number", "string", "null"}
			}
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
		if c.Name == spec.Target.Column {
			p = object{"description": p["description"], "type": []string{"boolean", "number", "string", "null"}}
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
