package dataset

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Problem is one thing that is wrong with a spec.
type Problem struct {
	Line   int // in the YAML, from 1
	Reason string
}

// Error is what Parse returns for a spec that can't be used: all that was
// found, in the order of the lines.
type Error struct{ Problems []Problem }

func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = fmt.Sprintf("line %d: %s", p.Line, p.Reason)
	}
	return strings.Join(lines, "\n")
}

// maxSpec bounds a spec's size; the shipped ones have some kilobytes.
const maxSpec = 1 << 20

// ReadFile reads the text of a data set's YAML, and no more of a file than one may have:
// a path may lead to a table, or to something without an end.
func ReadFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the data set's YAML: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxSpec+1))
	if err != nil {
		return nil, fmt.Errorf("reading the data set's YAML: %w", err)
	}
	if len(text) > maxSpec {
		return nil, fmt.Errorf("%s has more than %d bytes: it is no data set's YAML", path, maxSpec)
	}
	return text, nil
}

// Read reads a data set's YAML from a file, see Parse.
func Read(path string) (*Spec, error) {
	text, err := ReadFile(path)
	if err != nil {
		return nil, err
	}
	s, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s:\n%w", path, err)
	}
	return s, nil
}

// Parse reads a data set's YAML and checks it. What is wrong comes back as an
// *Error that names the lines.
func Parse(text []byte) (*Spec, error) {
	s, err := parse(text, columnName.MatchString)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// ParseFrame reads a spec as Parse does, of columns that are a data frame's and not in any
// database: their names may be longer and have letters of any script.
func ParseFrame(text []byte) (*Spec, error) {
	s, err := parse(text, isFrameName)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// maxFrameName is how many bytes the name of a data frame's column may have.
const maxFrameName = 200

// isFrameName reports whether a data frame's column may have the name: no text of JSON
// writes it otherwise, and no CSV file loses its blanks.
func isFrameName(name string) bool {
	seen := func(r rune) bool { return unicode.IsPrint(r) && r != '"' && r != '\\' }
	return name != "" && len(name) <= maxFrameName && utf8.ValidString(name) && strings.TrimSpace(name) == name && !strings.ContainsFunc(name, func(r rune) bool { return !seen(r) })
}

// Readable returns what can be used of a spec with mistakes to read a table by it and look
// at its cells: a column of an unknown type is a category, a key, group or target that is
// no column is none. It is nil where not even that can be done.
func Readable(text []byte) *Spec {
	s, err := parse(text, columnName.MatchString)
	if s == nil || err == nil || len(s.Columns) == 0 {
		return s
	}
	for i := range s.Columns {
		if c := &s.Columns[i]; !slices.Contains(Types, c.Type) {
			c.Type, c.Min, c.Max = Category, nil, nil
		}
	}
	for _, name := range []*string{&s.Key, &s.Group, &s.Target.Column} {
		if s.Column(*name) < 0 {
			*name = ""
		}
	}
	if s.ByTime() && !s.Split.sound {
		s.Split = Split{}
	}
	s.Cohort = slices.DeleteFunc(s.Cohort, func(e Exclusion) bool { return s.Column(e.Column) < 0 })
	return s
}

// parse returns the spec with the error as far as it could be read, nil where it could
// not. isName reports whether a column may have a name.
func parse(text []byte, isName func(string) bool) (*Spec, error) {
	if len(text) > maxSpec {
		return nil, fmt.Errorf("spec has %d bytes, more than %d", len(text), maxSpec)
	}
	var root yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&root); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, &Error{[]Problem{{1, "the spec is empty"}}}
		}
		return nil, yamlError(err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, &Error{[]Problem{{1, "a spec is one YAML document; this file holds more"}}}
	}
	s := &Spec{text: bytes.Clone(text)}
	r := &reader{garbled: map[*yaml.Node]bool{}, seen: map[*yaml.Node]bool{}}
	r.read(root.Content[0], reflect.TypeFor[Spec](), "the spec")
	if err := root.Content[0].Decode(s); err != nil {
		r.problems = append(r.problems, yamlError(err).Problems...)
	}
	c := &checker{root: root.Content[0], garbled: r.garbled, isName: isName}
	c.check(s)
	if c.problems = append(r.problems, c.problems...); len(c.problems) > 0 {
		c.sort()
		return s, &Error{c.problems}
	}
	return s, nil
}

var (
	yamlLine = regexp.MustCompile(`^(?:yaml: )?line (\d+): (.*)$`)
	goType   = regexp.MustCompile(` (?:in type|into) \S+$`)
)

// yamlError turns the YAML library's errors, which name lines in their text and
// Go types that mean nothing to the reader, into an *Error.
func yamlError(err error) *Error {
	texts := []string{err.Error()}
	var te *yaml.TypeError
	if errors.As(err, &te) {
		texts = te.Errors
	}
	e := &Error{}
	for _, t := range texts {
		p := Problem{Line: 1, Reason: strings.TrimPrefix(t, "yaml: ")}
		if m := yamlLine.FindStringSubmatch(t); m != nil {
			_, _ = fmt.Sscan(m[1], &p.Line) // the expression matches digits only
			p.Reason = m[2]
		}
		p.Reason = goType.ReplaceAllString(p.Reason, "")
		e.Problems = append(e.Problems, p)
	}
	return e
}
