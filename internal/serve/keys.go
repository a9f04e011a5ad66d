package serve

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"mlops/internal/api"
	"mlops/internal/apikey"
)

// RequireKeys makes the server ask for one of the API keys in a file, or in the files of
// a folder; see package apikey. Call it before Handler or Run.
func (s *Server) RequireKeys(path string) error {
	ring, err := apikey.Open(path, s.metrics.Keys)
	if err != nil {
		return err
	}
	if ring.Len() == 0 {
		s.log.Warn("there are no API keys: every request is refused until there is one", "path", path)
	}
	s.keys = ring
	return nil
}

// locked puts the API behind keys.
func (s *Server) locked(next http.Handler) http.Handler {
	guard := &apikey.Guard{Ring: s.keys, Scope: scope, Deny: func(w http.ResponseWriter, _ *http.Request, p api.Problem) {
		s.metrics.Requests.WithLabelValues("key", strconv.Itoa(p.Status)).Inc()
		s.metrics.Problems.WithLabelValues("key", problemLabel(p.Type)).Inc()
		fail(w, p)
	}}
	return guard.Wrap(next)
}

// scope is what a key has to be for. Probes and metrics need none: kubelets and
// Prometheus ask for them, and they hold no record.
func scope(r *http.Request) (need apikey.Scope, open bool) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		switch r.URL.Path {
		case "/healthz", "/readyz", "/metrics", "/ping", "/health", "/v2/health/live", "/v2/health/ready":
			return "", true
		}
		return apikey.Read, false
	case http.MethodPost:
		return apikey.Predict, false // all that is posted here is records
	}
	return apikey.Operate, false
}

// lockDocument adds the keys to the OpenAPI document: how to send one, which scope each
// operation needs, and the responses to a request without it.
func lockDocument(document object) {
	components := document["components"].(object)
	components["securitySchemes"] = object{
		"bearer": object{"type": "http", "scheme": "bearer", "description": "An API key"},
		"apiKey": object{"type": "apiKey", "in": "header", "name": "X-API-Key"},
	}
	problem := func(text string) object {
		return object{"description": text, "content": object{api.ProblemMediaType: object{"schema": object{"$ref": "#/components/schemas/Problem"}}}}
	}
	for path, item := range document["paths"].(object) {
		for method, operation := range item.(object) {
			operation, ok := operation.(object)
			if !ok {
				continue
			}
			need, open := scope(&http.Request{Method: strings.ToUpper(method), URL: &url.URL{Path: path}})
			if open {
				operation["security"] = []any{}
				continue
			}
			operation["security"] = []any{object{"bearer": []any{}}, object{"apiKey": []any{}}}
			responses := operation["responses"].(object)
			responses["401"] = problem("No API key, or not a valid one")
			responses["403"] = problem(fmt.Sprintf("The API key lacks the scope %s", need))
			responses["429"] = problem("The API key's rate is exceeded; Retry-After says when to try again")
		}
	}
}
