package serve

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"mlops/internal/api"
	"mlops/internal/dataset"
)

// maxErrors is how many of a request's mistakes are reported.
const maxErrors = 20

// requestError says why a request can't be scored.
type requestError struct {
	detail  string // for people; the first mistake and how many there are
	errors  []api.FieldError
	notJSON bool // not JSON at all, or not in an accepted form; of a table: no CSV
	table   bool // it was read as CSV
}

func (e *requestError) Error() string { return e.detail }

// syntaxError is a mistake after which the rest of a body can't be read.
type syntaxError struct {
	detail string
	whole  bool // it is about the body as a whole, and about no record
}

func (e *syntaxError) Error() string { return e.detail }

// errTooMany ends the reading of a request with more than maxErrors mistakes.
var errTooMany = errors.New("too many mistakes")

// failure makes one error of all that is wrong with a request. err is what ended
// its reading; nil if it was read to its end.
func (d *decoder) failure(err error) error {
	e := &requestError{errors: slices.Clone(d.errs), notJSON: d.notJSON, table: d.table}
	var bad *syntaxError
	switch {
	case errors.As(err, &bad):
		e.notJSON, e.detail = true, bad.detail
		if d.within && !bad.whole && len(e.errors) < maxErrors {
			e.errors = append(e.errors, api.FieldError{Record: d.record, Detail: bad.detail})
		}
		if n := len(d.errs); n > 0 {
			e.detail += fmt.Sprintf("; %s before that, the first: %s", count(n), d.errs[0])
		}
		return e
	case err != nil && !errors.Is(err, errTooMany):
		return err // not the request's fault
	}
	e.detail = d.errs[0].String()
	switch n := len(d.errs); {
	case errors.Is(err, errTooMany):
		e.detail = fmt.Sprintf("more than %d errors, of which the first %d are listed; the first: %s", maxErrors, maxErrors, e.detail)
	case n > 1:
		e.detail = fmt.Sprintf("%s, the first: %s", count(n), e.detail)
	}
	return e
}

func count(n int) string {
	if n == 1 {
		return "1 error"
	}
	return fmt.Sprintf("%d errors", n)
}

// wrong notes what is wrong with a field of the record being read.
func (d *decoder) wrong(field, detail string) error {
	if d.back.within {
		field = fmt.Sprintf("%s[%d].%s", dataset.EarlierMember, d.back.index, field)
	}
	if len(d.errs) == maxErrors {
		return errTooMany
	}
	d.errs = append(d.errs, api.FieldError{Record: d.record, Field: field, Detail: detail})
	return nil
}

// skip notes what is wrong with a field and reads over its value.
func (d *decoder) skip(field, detail string) error {
	if err := d.wrong(field, detail); err != nil {
		return err
	}
	return d.over(field)
}

// syntax is an error about the request as JSON; it says where.
func (d *decoder) syntax(format string, args ...any) error {
	line := 1 + bytes.Count(d.text[:d.pos], []byte("\n"))
	column := d.pos - bytes.LastIndexByte(d.text[:d.pos], '\n')
	return &syntaxError{detail: fmt.Sprintf(format, args...) + fmt.Sprintf(" (line %d, byte %d)", line, column)}
}

// clip keeps a name short enough for an error message.
func clip(name []byte) string {
	const most = 80
	if len(name) > most {
		return string(bytes.ToValidUTF8(name[:most], nil)) + "..."
	}
	return string(name)
}
