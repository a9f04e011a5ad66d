// Package protocol turns the request bodies of other inference protocols into what
// POST /predict takes, an array of records, and writes their responses: MLflow's
// scoring protocol, the Open Inference Protocol (V2) and JSON lines. Values are copied
// as they are, so that one decoder judges them all.
package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Error says why a body is none of the protocol. Everything that is wrong with a value
// is left to the decoder of records.
type Error struct {
	Detail  string
	NotJSON bool
}

func (e *Error) Error() string { return e.Detail }

// ErrTooLarge means that the records would take more bytes than they may.
var ErrTooLarge = errors.New("the records are too large")

func bad(format string, args ...any) error { return &Error{Detail: fmt.Sprintf(format, args...)} }

// check returns a body that is JSON, or where it is not. Python's json writes NaN for a
// missing number, and so do MLflow's client and others that use it: it becomes null.
func check(body []byte) ([]byte, error) {
	if json.Valid(body) {
		return body, nil
	}
	if bytes.Contains(body, []byte("NaN")) {
		if without := withoutNaN(body); json.Valid(without) {
			return without, nil
		}
	}
	var v any
	err := json.Unmarshal(body, &v)
	at := len(body)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		at = min(at, int(syntax.Offset))
	}
	line := 1 + bytes.Count(body[:at], []byte("\n"))
	return nil, &Error{Detail: fmt.Sprintf("not JSON: %v (line %d, byte %d)", err, line, at-1-bytes.LastIndexByte(body[:at], '\n')), NotJSON: true}
}

// withoutNaN writes null for each NaN outside strings.
func withoutNaN(body []byte) []byte {
	out := make([]byte, 0, len(body)+len(body)/8)
	quoted := false
	for i := 0; i < len(body); i++ {
		switch b := body[i]; {
		case quoted && b == '\\' && i+1 < len(body):
			out = append(out, b, body[i+1])
			i++
			continue
		case b == '"':
			quoted = !quoted
		case !quoted && bytes.HasPrefix(body[i:], []byte("NaN")):
			out = append(out, "null"...)
			i += 2
			continue
		}
		out = append(out, body[i])
	}
	return out
}

// scanner reads over JSON that is known to be valid.
type scanner struct {
	text []byte
	pos  int
}

func (s *scanner) peek() byte {
	for s.pos < len(s.text) {
		switch b := s.text[s.pos]; b {
		case ' ', '\n', '\r', '\t', ',', ':':
			s.pos++
		default:
			return b
		}
	}
	return 0
}

// value reads over a value and returns it.
func (s *scanner) value() []byte {
	s.peek()
	start := s.pos
	for depth := 0; s.pos < len(s.text); {
		switch s.text[s.pos] {
		case '"':
			s.string()
		case '{', '[':
			depth++
			s.pos++
			continue
		case '}', ']':
			depth--
			s.pos++
		case ' ', '\n', '\r', '\t', ',', ':':
			s.pos++
			continue
		default:
			for s.pos < len(s.text) && !bytes.ContainsRune([]byte(" \n\r\t,:]}"), rune(s.text[s.pos])) {
				s.pos++
			}
		}
		if depth == 0 {
			break
		}
	}
	return s.text[start:s.pos]
}

func (s *scanner) string() {
	for s.pos++; s.text[s.pos] != '"'; s.pos++ {
		if s.text[s.pos] == '\\' {
			s.pos++
		}
	}
	s.pos++
}

// items calls each for the values of an array; they are not copied.
func items(array []byte, each func(i int, value []byte) error) error {
	s := &scanner{text: array, pos: 1}
	for i := 0; s.peek() != ']'; i++ {
		if err := each(i, s.value()); err != nil {
			return err
		}
	}
	return nil
}

// members calls each for the members of an object.
func members(object []byte, each func(name string, value []byte) error) error {
	s := &scanner{text: object, pos: 1}
	for s.peek() != '}' {
		var name string
		if err := json.Unmarshal(s.value(), &name); err != nil {
			return bad("a name is not a string: %v", err)
		}
		if err := each(name, s.value()); err != nil {
			return err
		}
	}
	return nil
}

// kind names a value for people.
func kind(value []byte) string {
	switch value[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	}
	return "a number"
}

// first is the first byte of a body that is not white space, 0 if there is none.
func first(body []byte) byte {
	if b := bytes.TrimLeft(body, " \n\r\t"); len(b) > 0 {
		return b[0]
	}
	return 0
}

// records appends an array of records, of rows values each.
type records struct {
	out  []byte
	most int // bytes
	err  error
}

func (r *records) add(parts ...[]byte) {
	for _, p := range parts {
		if len(r.out)+len(p) > r.most {
			r.err = ErrTooLarge
			return
		}
		r.out = append(r.out, p...)
	}
}

// columns appends the records of a table that is given column by column.
func (r *records) columns(names [][]byte, values [][][]byte) error {
	r.add([]byte{'['})
	for i := range values[0] {
		for j := range names {
			separator := []byte(",")
			switch {
			case j == 0 && i == 0:
				separator = []byte("{")
			case j == 0:
				separator = []byte(",{")
			}
			r.add(separator, names[j], []byte{':'}, values[j][i])
		}
		r.add([]byte{'}'})
		if r.err != nil {
			return r.err
		}
	}
	r.add([]byte{']'})
	return r.err
}
