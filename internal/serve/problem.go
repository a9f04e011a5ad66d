package serve

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"

	"mlops/internal/api"
	"mlops/internal/metrics"
)

// problemTypes are the types of problem that each handler may respond with.
var problemTypes = map[string][]string{
	"predict":  {api.InvalidJSON, api.InvalidCSV, api.InvalidRecord, api.NotExplained, api.TooLarge, api.UnsupportedMedia, api.IncompleteBody, api.Overloaded, api.NoModel, api.NotFound, api.Untyped},
	"model":    {api.NoModel, api.Untyped},
	"openapi":  {api.Untyped},
	"docs":     {api.Untyped},
	"protocol": {api.NotFound, api.NoModel, api.Untyped},
	"key":      {api.Unauthorized, api.Forbidden, api.RateLimited, api.Untyped},
	"other":    {api.NotFound, api.MethodNotAllowed, api.Untyped},
}

// fail responds with a problem.
func fail(w http.ResponseWriter, p api.Problem) {
	if p.Type == "" {
		p.Type = api.Untyped
	}
	if sw, ok := w.(*metrics.StatusWriter); ok {
		sw.Problem = p.Type
	}
	if p.Status >= 500 && p.Status != http.StatusServiceUnavailable && w.Header().Get(requestID) == "" {
		w.Header().Set(requestID, rand.Text()) // so that the log's line can be found
	}
	p.Write(w)
}

// noModel is the response when no model is loaded.
func (s *Server) noModel(title string) api.Problem {
	return api.Problem{Type: api.NoModel, Title: title, Status: http.StatusServiceUnavailable, Detail: s.whyNone()}
}

// bodyProblem is the response to a body that could not be read.
func bodyProblem(err error, read int) api.Problem {
	switch {
	case tooLarge(err):
		return scoreProblem(errTooLarge)
	case errors.Is(err, errBusy):
		return scoreProblem(err)
	case errors.Is(err, errRatio):
		return api.Problem{Type: api.TooLarge, Title: "The body is too large", Status: http.StatusRequestEntityTooLarge,
			Detail: err.Error() + "; send it in parts, or uncompressed"}
	case errors.As(err, new(unknownEncoding)):
		return api.Problem{Type: api.UnsupportedMedia, Status: http.StatusUnsupportedMediaType, Detail: err.Error()}
	case errors.As(err, new(errPacked)):
		return api.Problem{Type: api.IncompleteBody, Title: "The body can't be unpacked", Status: http.StatusBadRequest,
			Detail: "it is not what its Content-Encoding says, or is damaged: " + err.Error()}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return api.Problem{Type: api.IncompleteBody, Title: "The body did not arrive in time", Status: http.StatusRequestTimeout,
			Detail: fmt.Sprintf("only %d bytes arrived", read)}
	}
	// The error itself may name addresses on this side.
	return api.Problem{Type: api.IncompleteBody, Title: "The body is incomplete", Status: http.StatusBadRequest,
		Detail: fmt.Sprintf("it ended or broke off after %d bytes", read)}
}

// scoreProblem is the response to a request that could not be scored.
func scoreProblem(err error) api.Problem {
	var bad *requestError
	switch {
	case errors.Is(err, errBusy):
		return api.Problem{Type: api.Overloaded, Title: "The server is overloaded", Status: http.StatusServiceUnavailable,
			Detail: "there are more requests than the server can answer in time; try again later"}
	case errors.Is(err, errTooLarge):
		return api.Problem{Type: api.TooLarge, Title: "The body is too large", Status: http.StatusRequestEntityTooLarge,
			Detail: fmt.Sprintf("a request body may have at most %d bytes", maxBody)}
	case !errors.As(err, &bad):
		return api.Problem{Status: http.StatusInternalServerError}
	case bad.notJSON && bad.table:
		return api.Problem{Type: api.InvalidCSV, Title: "The body is not a valid table", Status: http.StatusBadRequest, Detail: bad.detail, Errors: bad.errors}
	case bad.notJSON:
		return api.Problem{Type: api.InvalidJSON, Title: "The body is not a valid request", Status: http.StatusBadRequest, Detail: bad.detail, Errors: bad.errors}
	}
	return api.Problem{Type: api.InvalidRecord, Title: "The request can't be scored", Status: http.StatusUnprocessableEntity, Detail: bad.detail, Errors: bad.errors}
}
