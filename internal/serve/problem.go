package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
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
	problemBusy     = "/problems/overloaded"

	problemBlank = "about:blank" // nothing that a client could act on
)

// problemTypes are the types that each handler may answer with.
var problemTypes = map[string][]string{
	"predict": {problemJSON, problemRecord, problemTooLarge, problemMedia, problemRead, problemBusy, problemNoModel, problemBlank},
	"model":   {problemNoModel, problemBlank},
	"openapi": {problemBlank},
	"docs":    {problemBlank},
	"other":   {problemNotFound, problemMethod, problemBlank},
}

func (p problem) write(w http.ResponseWriter) {
	if p.Type == "" {
		p.Type = problemBlank
	}
	if p.Title == "" {
		p.Title = http.StatusText(p.Status)
	}
	body, err := json.Marshal(p)
	if err != nil { // strings and ints only: can't happen
		http.Error(w, p.Title, p.Status)
		return
	}
	if counted, ok := w.(*statusWriter); ok {
		counted.problem = p.Type
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	switch {
	case p.Type == problemBusy:
		h.Set("Retry-After", "1")
	case p.Status == http.StatusServiceUnavailable:
		h.Set("Retry-After", "5")
	}
	w.WriteHeader(p.Status)
	w.Write(append(body, '\n'))
}

// noModel is the answer of who has nothing to answer with.
func (s *Server) noModel(title string) problem {
	return problem{Type: problemNoModel, Title: title, Status: http.StatusServiceUnavailable, Detail: s.whyNone()}
}

// bodyProblem turns what reading a body found into the answer.
func bodyProblem(err error, read int) problem {
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return scoreProblem(errTooLarge)
	case errors.Is(err, errTooLarge), errors.Is(err, errBusy):
		return scoreProblem(err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return problem{Type: problemRead, Title: "The body did not arrive in time", Status: http.StatusRequestTimeout,
			Detail: fmt.Sprintf("only %d bytes came", read)}
	}
	// The error itself may name addresses of this side.
	return problem{Type: problemRead, Title: "The body did not arrive whole", Status: http.StatusBadRequest,
		Detail: fmt.Sprintf("it ended or broke after %d bytes", read)}
}

// scoreProblem turns what kept a request from being scored into the answer.
func scoreProblem(err error) problem {
	var bad *fieldError
	switch {
	case errors.Is(err, errBusy):
		return problem{Type: problemBusy, Title: "Too much is under way", Status: http.StatusServiceUnavailable,
			Detail: "the server has more requests than it can answer in time; send this one again later"}
	case errors.Is(err, errTooLarge):
		return problem{Type: problemTooLarge, Title: "The body is too large", Status: http.StatusRequestEntityTooLarge,
			Detail: fmt.Sprintf("a request's body may have at most %d bytes", maxBody)}
	case !errors.As(err, &bad):
		return problem{Status: http.StatusInternalServerError}
	case bad.syntax:
		return problem{Type: problemJSON, Title: "The body is not a request", Status: http.StatusBadRequest, Detail: bad.Reason}
	}
	return problem{
		Type:   problemRecord,
		Title:  "A record can't be scored",
		Status: http.StatusUnprocessableEntity,
		Detail: bad.Error(),
		Errors: []*fieldError{bad},
	}
}
