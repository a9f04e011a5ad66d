package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

// ProblemMediaType is the media type of a Problem.
const ProblemMediaType = "application/problem+json"

// Problem is the body of an error response (RFC 9457), and an error.
type Problem struct {
	Type   string       `json:"type"`
	Title  string       `json:"title"`
	Status int          `json:"status"`
	Detail string       `json:"detail,omitempty"`
	Errors []FieldError `json:"errors,omitempty"` // what is wrong with a request, all of it up to 20

	// Message is the detail again, in responses to KServe's protocols, whose clients
	// read the member error.
	Message string `json:"error,omitempty"`
}

// FieldError says what is wrong with one value of a request.
type FieldError struct {
	Record int    `json:"record"`          // the record's index in the request
	Field  string `json:"field,omitempty"` // the column's name; empty if the record itself can't be read
	Detail string `json:"detail"`
}

func (e FieldError) String() string {
	if e.Field == "" {
		return fmt.Sprintf("record %d: %s", e.Record, e.Detail)
	}
	return fmt.Sprintf("record %d, %s: %s", e.Record, e.Field, e.Detail)
}

// Types of problems, by which clients can tell them apart.
const (
	InvalidJSON      = "/problems/invalid-json"
	InvalidCSV       = "/problems/invalid-csv"
	InvalidRecord    = "/problems/invalid-record"
	NotExplained     = "/problems/not-explained"
	TooLarge         = "/problems/too-large"
	UnsupportedMedia = "/problems/unsupported-media-type"
	NoModel          = "/problems/no-model"
	NotFound         = "/problems/not-found"
	MethodNotAllowed = "/problems/method-not-allowed"
	IncompleteBody   = "/problems/incomplete-body"
	Overloaded       = "/problems/overloaded"
	Unauthorized     = "/problems/unauthorized"
	Forbidden        = "/problems/forbidden"
	RateLimited      = "/problems/rate-limited"

	// Untyped problems say no more than their status.
	Untyped = "about:blank"
)

func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Title
	}
	return p.Title + ": " + p.Detail
}

// Write responds with the problem. A problem without a type is Untyped, one
// without a title is titled by its status. Retry-After tells clients when to come
// back: soon if the server is overloaded, later if it has no model.
func (p Problem) Write(w http.ResponseWriter) {
	if p.Type == "" {
		p.Type = Untyped
	}
	if p.Title == "" {
		p.Title = http.StatusText(p.Status)
	}
	body, err := json.Marshal(p)
	if err != nil { // strings and integers always marshal
		panic(err)
	}
	h := w.Header()
	h.Set("Content-Type", ProblemMediaType)
	h.Set("Content-Length", strconv.Itoa(len(body)+1)) // so that it ends before what is left of a refused body does
	h.Set("Cache-Control", "no-store")
	switch {
	case p.Type == Overloaded:
		h.Set("Retry-After", "1")
	case p.Status == http.StatusServiceUnavailable:
		h.Set("Retry-After", "5")
	}
	w.WriteHeader(p.Status)
	w.Write(append(body, '\n'))
}

// ParseProblem reads the body of an error response. A body that is not a problem,
// such as a proxy's page, gives one with the status alone.
func ParseProblem(status int, body []byte) *Problem {
	var p Problem
	if err := json.Unmarshal(body, &p); err != nil || p.Title+p.Detail == "" {
		p = Problem{Type: Untyped, Title: "The inference server responded with an error", Detail: http.StatusText(status)}
	}
	if p.Title == "" {
		p.Title = http.StatusText(status)
	}
	p.Status = status
	return &p
}
