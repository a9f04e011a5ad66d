package serve

import (
	"mlops/internal/api"
)

// contributionsSchema is that of a prediction's reasons.
func contributionsSchema() object {
	number, text := object{"type": "number"}, object{"type": "string"}
	entry := func(name string, more object) object {
		properties := object{name: text, "label": text, "value": object{}, "name": object{"type": "string", "description": "What a coded value means"}, "contribution": number}
		for k, v := range more {
			properties[k] = v
		}
		return object{"type": "array", "description": "The largest first, whatever the sign",
			"items": object{"type": "object", "required": []string{name, "label", "value", "contribution"}, "properties": properties}}
	}
	rest := object{"type": "object", "description": "Those that are not listed", "required": []string{"count", "contribution"},
		"properties": object{"count": object{"type": "integer"}, "contribution": number}}
	return object{"type": "object", "description": "Only if the request asks for it: what each feature, and each column, adds to the margin (Shapley values)",
		"required": []string{"scale", "base", "margin", "features", "columns"}, "properties": object{
			"scale": object{"type": "string", "enum": []string{"log-odds", "log", "score", "value"}}, "of": object{"type": "string", "description": "The class that is explained"},
			"base": number, "margin": number, "features": entry("feature", object{"columns": object{"type": "array", "items": text}}), "columns": entry("column", nil),
			"other_features": rest, "other_columns": rest}}
}

// paperPaths are the paths of what is for people.
func paperPaths(failures func(codes ...string) object) object {
	text, integer, number := object{"type": "string"}, object{"type": "integer"}, object{"type": "number"}
	list := func(items object) object { return object{"type": "array", "items": items} }
	interval := object{"type": "array", "items": number, "minItems": 2, "maxItems": 2, "description": "95 %, by draws of the rows"}
	card := object{"type": "object", "required": []string{"title", "blocks"}, "properties": object{"title": text, "blocks": list(object{
		"type": "object", "required": []string{"heading"}, "properties": object{
			"heading": text, "texts": list(text), "items": list(text), "head": list(text), "rows": list(list(text))}})}}
	figures := object{"type": "object", "description": "What versions scored on the same validation rows; left out if nothing was compared",
		"required": []string{"metric", "rows"}, "properties": object{"metric": text, "rows": integer, "from": number, "to": number, "from_interval": interval, "to_interval": interval,
			"rival": object{"type": "object", "description": "The best version that is neither", "required": []string{"version", "value"}, "properties": object{"version": integer, "value": number, "interval": interval}}}}
	events := object{"type": "object", "required": []string{"model", "written", "total", "events", "read"}, "properties": object{
		"model": text, "written": object{"type": "string", "format": "date-time", "description": "By the gate, with its last decision"},
		"total": object{"type": "integer", "description": "Events that there are, of which the newest are listed"}, "read": object{"type": "string", "format": "date-time"},
		"stale":   object{"type": "string", "description": "Why there may be newer events; left out if there are none"},
		"missing": object{"type": "string", "description": "Why there are no events; left out if there are"},
		"events": list(object{"type": "object", "required": []string{"at", "event", "by", "from", "to", "why"}, "properties": object{
			"at": object{"type": "string", "format": "date-time"}, "event": text, "by": object{"type": "string", "description": "A workflow or a person"},
			"from": object{"type": "integer", "description": "The version in production before; 0: none"}, "to": object{"type": "integer", "description": "And afterwards"},
			"why": text, "figures": figures}})}}
	plain := object{"schema": object{"type": "string"}}
	shown, happened := failures("404", "500", "503"), failures("500", "503")
	shown["200"] = object{"description": "The card, in the form that Accept likes best; Markdown if it likes none", "content": object{
		"text/markdown": plain, "text/html": plain, api.MediaType: object{"schema": card}}}
	happened["200"] = object{"description": "The events, the newest first", "content": object{api.MediaType: object{"schema": events}}}
	get := func(id, summary string, responses object) object {
		return object{"get": object{"operationId": id, "tags": []string{"server"}, "summary": summary, "responses": responses}}
	}
	return object{
		pathCard:   get("card", "The served version's model card", shown),
		pathEvents: get("history", "What was in production, when, by whom and why", happened),
	}
}

// tensorSchema is that of a tensor of the Open Inference Protocol.
func tensorSchema(data bool) object {
	required := []string{"name", "shape", "datatype"}
	properties := object{"name": object{"type": "string"}, "shape": object{"type": "array", "items": object{"type": "integer", "minimum": -1}},
		"datatype": object{"type": "string", "enum": []string{"BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES"}}}
	if data {
		required = append(required, "data")
		properties["data"] = object{"type": "array"}
	}
	return object{"type": "object", "required": required, "properties": properties}
}

// protocolPaths are the paths of the other protocols.
func protocolPaths(model string, ref func(string) object, bodies object, example any, failures func(codes ...string) object) object {
	content := func(schema object) object { return object{api.MediaType: object{"schema": schema}} }
	reply := func(text string, schema object) object {
		return object{"description": text, "content": content(schema)}
	}
	plain := func(text string) object {
		return object{"description": text, "content": object{"text/plain": object{"schema": object{"type": "string"}}}}
	}
	get := func(id, tag, summary string, responses object) object {
		return object{"get": object{"operationId": id, "tags": []string{tag}, "summary": summary, "responses": responses}}
	}
	with := func(responses object, ok object) object { responses["200"] = ok; return responses }
	records := object{"type": "array", "items": ref("Record"), "minItems": 1}
	bare := reply("One prediction per record", object{"type": "object", "required": []string{"predictions"}, "properties": object{
		"predictions": object{"type": "array", "items": object{"oneOf": []any{ref("Prediction"), ref("Excluded")}}}}})
	post := func(id, tag, summary string, body, ok object) object {
		return object{"post": object{"operationId": id, "tags": []string{tag}, "summary": summary,
			"requestBody": object{"required": true, "content": body}, "responses": with(failures("400", "404", "408", "413", "415", "422", "500", "503"), ok)}}
	}
	single := content(bodies) // KServe's clients send instances; records alone are read too
	invocations := object{api.MediaType: object{"schema": object{"type": "object", "minProperties": 1, "properties": object{
		"dataframe_split": object{"type": "object", "required": []string{"columns", "data"}, "properties": object{
			"columns": object{"type": "array", "items": object{"type": "string"}}, "data": object{"type": "array", "items": object{"type": "array"}}, "index": object{"type": "array"}}},
		"dataframe_records": records, "instances": records, "inputs": object{"type": []string{"object", "array"}}, "params": object{"type": "object", "maxProperties": 0}}}},
		"text/csv": object{"schema": object{"type": "string"}}}
	if example != nil {
		instances := object{"instances": []any{example}}
		single[api.MediaType].(object)["example"] = instances
		invocations[api.MediaType].(object)["example"] = instances
	}
	infer := content(object{"type": "object", "required": []string{"inputs"}, "properties": object{"id": object{"type": "string"}, "inputs": object{"type": "array", "items": tensorSchema(true), "minItems": 1},
		"outputs": object{"type": "array", "items": object{"type": "object", "required": []string{"name"}, "properties": object{"name": object{"type": "string"}}}}}})
	inferred := reply("A tensor per part of the prediction", object{"type": "object", "required": []string{"model_name", "model_version", "outputs"}, "properties": object{
		"model_name": object{"type": "string"}, "model_version": object{"type": "string"}, "id": object{"type": "string"}, "outputs": object{"type": "array", "items": tensorSchema(true)}}})
	tensors := object{"type": "array", "items": tensorSchema(false)}
	v1, v2 := "/v1/models/"+model, "/v2/models/"+model
	return object{
		"/invocations":     post("invocations", "mlflow", "Score records in MLflow's forms", invocations, bare),
		"/ping":            get("ping", "mlflow", "Whether a model is served", with(failures("503"), plain("It is"))),
		"/health":          get("health", "mlflow", "Whether a model is served", with(failures("503"), plain("It is"))),
		"/version":         get("version", "mlflow", "The server's version", object{"200": plain("The version")}),
		"/v1/models":       get("v1Models", "kserve", "The model's name", object{"200": reply("One name", object{"type": "object", "required": []string{"models"}, "properties": object{"models": object{"type": "array", "items": object{"type": "string"}}}})}),
		v1:                 get("v1Model", "kserve", "Whether the model is served", object{"200": reply("Its state", object{"type": "object", "required": []string{"name", "ready"}, "properties": object{"name": object{"type": "string"}, "ready": object{"type": "boolean"}}})}),
		v1 + ":predict":    post("v1Predict", "kserve", "Score records in KServe's first protocol", single, bare),
		"/v2":              get("v2Server", "open inference", "The server", object{"200": reply("Name, version and extensions", object{"type": "object", "required": []string{"name", "version", "extensions"}})}),
		"/v2/health/live":  get("v2Live", "open inference", "Whether the process is alive", object{"200": reply("Alive", object{"type": "object", "required": []string{"live"}})}),
		"/v2/health/ready": get("v2Ready", "open inference", "Whether a model is served", with(failures("503"), reply("Ready", object{"type": "object", "required": []string{"ready"}}))),
		v2:                 get("v2Model", "open inference", "The tensors that the model takes and gives", with(failures("503"), reply("Metadata", object{"type": "object", "required": []string{"name", "versions", "platform", "inputs", "outputs"}, "properties": object{"inputs": tensors, "outputs": tensors}}))),
		v2 + "/ready":      get("v2ModelReady", "open inference", "Whether the model is served", with(failures("503"), reply("Ready", object{"type": "object", "required": []string{"name", "ready"}}))),
		v2 + "/infer":      post("v2Infer", "open inference", "Score records given as a tensor per column", infer, inferred),
	}
}
