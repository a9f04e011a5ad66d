package serve

import (
	"encoding/json"
	"net/http"
)

// problem is an error answer, application/problem+json of RFC 9457.
type problem struct {
	Type   string        `json:"type"`
	Title  string        `json:"title"`
	Status int           `json:"status"`
	Detail string        `json:"detail,omitempty"`
	Errors []*fieldError `json:"errors,omitempty"`
}

// Types of problems; a client may tell them apart by these.
const (
	problemJSON     = "/problems/invalid-json"
	problemRecord   = "/problems/invalid-record"
	problemTooLarge = "/problems/too-large"
	problemMedia    = "/problems/unsupported-media-type"
	problemNoModel  = "/problems/no-model"
	problemNotFound = "/problems/not-found"
	problemMethod   = "/problems/method-not-allowed"
	problemRead     = "/problems/incomplete-body"
)

func (p problem) write(w http.ResponseWriter) {
	if p.Type == "" {
		p.Type = "about:blank"
	}
	if p.Title == "" {
		p.Title = http.StatusText(p.Status)
	}
	body, err := json.Marshal(p)
	if err != nil { // strings and ints only: can't happen
		http.Error(w, p.Title, p.Status)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	if p.Status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "5")
	}
	w.WriteHeader(p.Status)
	w.Write(append(body, '\n'))
}

// requestProblem turns what decode found into the answer.
func requestProblem(err *fieldError) problem {
	if err.syntax {
		return problem{Type: problemJSON, Title: "The body is not a request", Status: http.StatusBadRequest, Detail: err.Reason}
	}
	return problem{
		Type:   problemRecord,
		Title:  "A record can't be scored",
		Status: http.StatusUnprocessableEntity,
		Detail: err.Error(),
		Errors: []*fieldError{err},
	}
}
