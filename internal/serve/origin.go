package serve

import (
	"net/http"
	"slices"
	"strconv"
)

// Names by which a request is found again elsewhere, in the header's form.
const (
	requestID   = "X-Request-Id"
	traceParent = "Traceparent"
)

// maxName bounds such a name.
const maxName = 128

// traced echoes the names that a request brings along.
func traced(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		echo(w, r, requestID)
		echo(w, r, traceParent)
		next.ServeHTTP(w, r)
	})
}

// echo takes a name over into the response if it can be one.
func echo(w http.ResponseWriter, r *http.Request, name string) {
	values := r.Header[name]
	if len(values) != 1 || values[0] == "" || len(values[0]) > maxName {
		return
	}
	for i := range len(values[0]) {
		if c := values[0][i]; c <= ' ' || c > '~' {
			return
		}
	}
	w.Header()[name] = []string{values[0]} // the request's own list is used again
}

// traceID returns the trace's id in a Traceparent header if the trace is recorded, else
// "" (https://www.w3.org/TR/trace-context/#traceparent-header).
func traceID(header []string) (trace string) {
	const size = len("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	if len(header) != 1 || len(header[0]) != size {
		return ""
	}
	h := header[0]
	for i := range size {
		c := h[i]
		if dash := i == 2 || i == 35 || i == 52; dash != (c == '-') || !dash && !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f') {
			return ""
		}
	}
	if trace = h[3:35]; h[:2] != "00" || trace == "00000000000000000000000000000000" {
		return ""
	}
	if flags, _ := strconv.ParseUint(h[53:], 16, 8); flags&1 == 0 {
		return ""
	}
	return trace
}

// logFailure logs a request that failed on the server's side, or that brought a name by
// which somebody will look for it.
func (s *Server) logFailure(w http.ResponseWriter, handler string, code int, problem string) {
	h := w.Header()
	server := code >= 500 && code != http.StatusServiceUnavailable
	id := h.Get(requestID)
	if id == "" && h.Get(traceParent) == "" {
		return
	}
	log := s.log.Info
	if server {
		log = s.log.Error
	}
	log("request failed", "handler", handler, "status", code, "problem", problem, "request_id", id, "traceparent", h.Get(traceParent))
}

// shared lets pages of some origins read responses (CORS, https://fetch.spec.whatwg.org).
// It stands in front of the keys: a browser asks beforehand without one.
func shared(origins []string, next http.Handler) http.Handler {
	if len(origins) == 0 {
		return next
	}
	any := slices.Contains(origins, "*")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Add("Vary", "Origin")
		origin := r.Header.Get("Origin")
		if origin == "" || !any && !slices.Contains(origins, origin) {
			next.ServeHTTP(w, r)
			return
		}
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Expose-Headers", "ETag, Retry-After, X-Request-Id, Traceparent")
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST")
			h.Set("Access-Control-Allow-Headers", "Authorization, X-API-Key, Content-Type, Content-Encoding, If-None-Match, X-Request-Id, Traceparent")
			h.Set("Access-Control-Max-Age", "600")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}
