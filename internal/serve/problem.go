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

	problemBlank = "about:blank" // nothing that a client could act on
)

// problemTypes are the types that each handler may answer with.
var problemTypes = map[string][]string{
	"predict": {problemJSON, problemRecord, problemTooLarge, problemMedia, problemRead, problemNoModel, problemBlank},
	"model":   {problemNoModel, problemBlank},
	"other":   {problemNotFound, problemMethod},
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
	if p.Status == http.StatusServiceUnavailable {
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
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return problem{Type: problemTooLarge, Title: "The body is too large", Status: http.StatusRequestEntityTooLarge,
			Detail: fmt.Sprintf("a request's body may have at most %d bytes", tooLarge.Limit)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return problem{Type: problemRead, Title: "The body did not arrive in time", Status: http.StatusRequestTimeout,
			Detail: fmt.Sprintf("only %d bytes came", read)}
	}
	// The error itself may name addresses of this side.
	return problem{Type: problemRead, Title: "The body did not arrive whole", Status: http.StatusBadRequest,
		Detail: fmt.Sprintf("it ended or broke after %d bytes", read)}
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
