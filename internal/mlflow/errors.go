package mlflow

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// What an Error can be, for errors.Is.
var (
	// ErrNotFound: MLflow responded, and the experiment, run, model, version,
	// alias or artifact is not there. An address that leads to no MLflow is not
	// ErrNotFound.
	ErrNotFound = errors.New("not found")

	// ErrExists: the name is taken.
	ErrExists = errors.New("already exists")

	// ErrUnavailable: no response, or one that says to try again later, and no
	// attempts are left.
	ErrUnavailable = errors.New("MLflow is unavailable")

	// ErrTooLarge: an artifact is larger than the caller's limit.
	ErrTooLarge = errors.New("artifact is larger than the limit")
)

// MLflow's error codes that matter here (databricks.proto).
const (
	codeNotFound     = "RESOURCE_DOES_NOT_EXIST"
	codeNotFoundAlso = "NOT_FOUND"
	codeExists       = "RESOURCE_ALREADY_EXISTS"
	codeExistsAlso   = "ALREADY_EXISTS"
	codeBadRequest   = "BAD_REQUEST" // among others what MLflow's database complains of
	codeInvalid      = "INVALID_PARAMETER_VALUE"
)

// Error is a call that failed.
type Error struct {
	Method  string
	Path    string // from the server's root, without host, user and query
	Status  int    // HTTP status; 0 without a response
	Code    string // MLflow's error_code; empty if the response was not MLflow's
	Message string
	Tries   int   // attempts made
	Err     error // why there was no complete response

	missing bool // this response means "not found" although its code is another
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "mlflow: %s %s: ", e.Method, e.Path)
	if e.Status != 0 {
		fmt.Fprintf(&b, "%d", e.Status)
		if e.Code != "" {
			b.WriteString(" " + e.Code)
		}
		if e.Message != "" {
			b.WriteString(": " + e.Message)
		}
	}
	if e.Err != nil {
		if e.Status != 0 {
			b.WriteString(": ")
		}
		b.WriteString(e.Err.Error())
	}
	if e.Tries > 1 {
		fmt.Fprintf(&b, " (tried %d times)", e.Tries)
	}
	return b.String()
}

// stopped adds why the retries ended to what was wrong with the server.
func (e *Error) stopped(ctx context.Context) *Error {
	switch {
	case e.Err == nil:
		e.Err = ctx.Err()
	case !errors.Is(e.Err, ctx.Err()):
		e.Err = fmt.Errorf("%w (%w)", e.Err, ctx.Err())
	}
	return e
}

// Unwrap returns what stopped the call, such as context.Canceled.
func (e *Error) Unwrap() error { return e.Err }

// Is says which of this package's sentinel errors e is.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrNotFound:
		return e.missing || e.Code == codeNotFound || e.Code == codeNotFoundAlso
	case ErrExists:
		return e.Code == codeExists || e.Code == codeExistsAlso
	case ErrUnavailable:
		return e.passing() || e.Status == 0 && !local(e.Err)
	}
	return false
}

// passing reports whether a response says that the same call may succeed later.
func (e *Error) passing() bool {
	switch e.Status {
	case http.StatusTooManyRequests, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	case http.StatusBadRequest:
		// Another caller wrote the same row at the same time, such as the table that two
		// runs have read; MLflow finds it the next time.
		return e.Code == codeBadRequest && (strings.Contains(e.Message, "UniqueViolation") || strings.Contains(e.Message, "UNIQUE constraint failed"))
	case http.StatusInternalServerError:
		// This is how the proxy responds while the store behind it is away; MLflow's
		// own errors have a code.
		return e.Code == "" && strings.Contains(e.Path, proxy)
	}
	return false
}
