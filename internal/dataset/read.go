package dataset

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// reader goes over a spec's YAML before it is decoded. It finds unknown keys, and
// makes every value what its place takes, whichever YAML version its author had
// in mind: null in a list of texts is the text null, and a number is written in
// plain decimal digits or refused (010 is 8 in YAML 1.1 and 10 in 1.2). A
// misspelt key is read as the one that was meant, so that it does not hide the
// mistakes below it or bring others about.
type reader struct {
	problems []Problem
	garbled  map[*yaml.Node]bool // values that stand for ones that can't be read
	seen     map[*yaml.Node]bool
}

func (r *reader) bad(n *yaml.Node, format string, args ...any) {
	r.problems = append(r.problems, Problem{n.Line, fmt.Sprintf(format, args...)})
}

var (
	decimalInteger = regexp.MustCompile(`^[-+]?(0|[1-9][0-9]*)$`)
	decimalNumber  = regexp.MustCompile(`^[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?$`)
)

func (r *reader) read(n *yaml.Node, t reflect.Type, where string) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if r.seen[n] {
		return
	}
	r.seen[n] = true
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[yaml.Unmarshaler]()) {
		if err := n.Decode(reflect.New(t).Interface()); err != nil {
			r.problems = append(r.problems, yamlError(err).Problems...)
			r.replace(n, "", "!!null")
		}
		return
	}
	if want := kindOf(t); want != 0 && n.Kind != want {
		r.bad(n, "%s has to be %s", where, map[yaml.Kind]string{yaml.MappingNode: "keys with their values", yaml.SequenceNode: "a list", yaml.ScalarNode: "one value"}[want])
		n.Kind, n.Content = want, nil
		r.replace(n, "", map[yaml.Kind]string{yaml.MappingNode: "!!map", yaml.SequenceNode: "!!seq", yaml.ScalarNode: "!!null"}[want])
		return
	}
	switch {
	case t.Kind() == reflect.Struct && n.Kind == yaml.MappingNode:
		r.fields(n, t, where)
	case t.Kind() == reflect.Slice && n.Kind == yaml.SequenceNode:
		var entries []*yaml.Node
		for _, e := range n.Content {
			if empty(e) && e.Value == "" {
				r.bad(e, "an entry of %s is empty", where)
				continue
			}
			r.read(e, t.Elem(), where)
			entries = append(entries, e)
		}
		if len(entries) < len(n.Content) {
			n.Content, r.garbled[n] = entries, true
		}
	case t.Kind() == reflect.Map && n.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			n.Content[i].Tag = "!!str"
			r.read(n.Content[i+1], t.Elem(), n.Content[i].Value)
		}
	case n.Kind == yaml.ScalarNode:
		r.scalar(n, t, where)
	}
}

// kindOf is what a YAML value has to be for a type; 0: anything.
func kindOf(t reflect.Type) yaml.Kind {
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return yaml.MappingNode
	case reflect.Slice:
		return yaml.SequenceNode
	case reflect.Interface:
		return 0
	}
	return yaml.ScalarNode
}

// empty reports whether a node is YAML's null.
func empty(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// fields reads a mapping whose keys are the struct's.
func (r *reader) fields(n *yaml.Node, t reflect.Type, where string) {
	known := map[string]reflect.Type{}
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("yaml"); name != "" {
			known[name] = t.Field(i).Type
		}
	}
	given := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		given[n.Content[i].Value] = true
	}
	var content []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Tag == "!!merge" {
			content = append(content, key, value)
			continue
		}
		if _, ok := known[key.Value]; !ok {
			names := slices.Sorted(maps.Keys(known))
			name := nearest(key.Value, names)
			if name == "" {
				r.bad(key, "%q is not known in %s; it takes: %s", key.Value, where, strings.Join(names, ", "))
				continue
			}
			r.bad(key, "%q is not known in %s; did you mean %q?", key.Value, where, name)
			if given[name] {
				continue
			}
			given[name], key.Value = true, name
		}
		if empty(value) {
			continue // as if the key were not there
		}
		r.read(value, known[key.Value], key.Value)
		content = append(content, key, value)
	}
	n.Content = content
}

// scalar makes a value what its place takes.
func (r *reader) scalar(n *yaml.Node, t reflect.Type, where string) {
	tag := n.ShortTag()
	switch t.Kind() {
	case reflect.String:
		n.Tag = "!!str"
	case reflect.Int:
		switch {
		case tag == "!!int" && decimalInteger.MatchString(n.Value):
			return
		case tag == "!!int":
			r.bad(n, "%s: %s is another number in YAML 1.1 than in 1.2; write a whole number in plain digits, with no zero in front", where, n.Value)
		default:
			r.bad(n, "%s: %q is not a whole number", where, n.Value)
		}
		r.replace(n, "1", "!!int")
	case reflect.Bool:
		if tag != "!!bool" {
			r.bad(n, "%s: %q is neither true nor false", where, n.Value)
			r.replace(n, "false", "!!bool")
		}
	case reflect.Float64:
		if (tag == "!!int" || tag == "!!float") && decimalNumber.MatchString(n.Value) {
			return
		}
		r.bad(n, "%s: %s is not a finite number in plain digits (12, 0.5, 1e6)", where, quoted(n))
		r.replace(n, "0.5", "!!float")
	case reflect.Interface:
		if (tag == "!!int" || tag == "!!float") && !decimalNumber.MatchString(n.Value) {
			r.bad(n, "%s: %s is not a finite number in plain digits (12, 0.5, 1e6)", where, n.Value)
			r.replace(n, "1", "!!int")
		}
	}
}

// replace puts a value in the place of one that can't be read, so that the rest
// is decoded.
func (r *reader) replace(n *yaml.Node, value, tag string) {
	n.Value, n.Tag, n.Style = value, tag, 0
	r.garbled[n] = true
}

func quoted(n *yaml.Node) string {
	if n.ShortTag() == "!!str" {
		return fmt.Sprintf("%q", n.Value)
	}
	return n.Value
}

// meant is the end of a message about a name that is not known, where another
// one is near.
func meant(name string, names []string) string {
	if n := nearest(name, slices.Sorted(slices.Values(names))); n != "" {
		return fmt.Sprintf("; did you mean %q?", n)
	}
	return ""
}

// meantType is meant for the names that other programs give to types.
func meantType(name string) string {
	for ours, theirs := range map[Type][]string{
		Integer:  {"int", "int64", "int32", "bigint", "long"},
		Number:   {"float", "double", "float64", "float32", "real", "numeric", "decimal", "num"},
		Category: {"string", "str", "text", "object", "categorical", "cat", "factor", "enum"},
		Boolean:  {"bool", "logical", "flag", "bit"},
		Date:     {"datetime", "timestamp", "datetime64", "time", "day"},
	} {
		if slices.Contains(theirs, strings.ToLower(name)) {
			return fmt.Sprintf("; did you mean %q?", ours)
		}
	}
	return meant(name, strings.Split(typeNames(), ", "))
}

// Nearest returns the name that a misspelt one is most like, "" where none is near.
func Nearest(name string, names []string) string {
	return nearest(name, slices.Sorted(slices.Values(names)))
}

// nearest returns the name that a misspelt one is most like, "" where none is
// near: at most a third of its letters differ, and at most three.
func nearest(name string, names []string) string {
	best, least := "", min(3, 1+len(name)/3)+1
	for _, n := range names {
		if d := distance(strings.ToLower(name), strings.ToLower(n)); d < least && d < len(n) {
			best, least = n, d
		}
	}
	return best
}

// distance is the least number of letters to add, drop, change or swap with
// their neighbour to make b of a (optimal string alignment).
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	before, last, row := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row[0] = i
		for j := 1; j <= len(y); j++ {
			change := 1
			if x[i-1] == y[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(y)]
}
