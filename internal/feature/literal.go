package feature

import (
	"maps"
	"slices"
	"strings"

	"mlops/internal/dataset"
)

// literals are the texts of a category column that the spec or the training rows
// name, by what a JSON number, true or false means.
type literals struct {
	texts   map[string]bool
	numbers map[float64][]byte
	words   map[string][]byte // by "true" and "false"
}

func newLiterals(spec *dataset.Spec, column int, ops []op) literals {
	c := &spec.Columns[column]
	l := literals{texts: map[string]bool{}, numbers: map[float64][]byte{}, words: map[string][]byte{}}
	if c.Type != dataset.Category {
		return l
	}
	for i := range ops {
		for v := range ops[i].codes {
			l.texts[v] = true
		}
	}
	for v := range c.Codes {
		l.texts[v] = true
	}
	for _, v := range slices.Concat(c.Values, c.Markers()) {
		l.texts[v] = true
	}
	for i := range spec.Cohort {
		if spec.Cohort[i].Column == c.Name {
			for _, v := range spec.Cohort[i].Values {
				l.texts[v] = true
			}
		}
	}
	// Of several texts with the same value, the shortest is the plainest.
	shortest := func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	}
	for _, text := range slices.SortedFunc(maps.Keys(l.texts), shortest) {
		if x, ok := dataset.ParseNumber([]byte(text)); ok {
			if _, there := l.numbers[x]; !there {
				l.numbers[x] = []byte(text)
			}
		}
		if word := strings.ToLower(text); word == "true" || word == "false" {
			if _, there := l.words[word]; !there {
				l.words[word] = []byte(text)
			}
		}
	}
	return l
}

// Literal returns the text that a JSON number, true or false stands for in a
// column, as a string would have it. In a category column that is the level with
// its value: 1 and 1.0 find the level "1.0", true the level "True"; a number that
// no level has is written in its canonical form. It is not ok if the column has
// nothing that true or false could mean: no boolean, and no such level.
func (e *Encoder) Literal(column int, literal []byte) (text []byte, ok bool) {
	boolean := literal[0] == 't' || literal[0] == 'f'
	if t := e.spec.Columns[column].Type; t != dataset.Category {
		return literal, !boolean || t == dataset.Boolean
	}
	l := &e.literals[column]
	switch {
	case l.texts[string(literal)]:
		return literal, true
	case boolean:
		text, ok = l.words[string(literal)]
		return text, ok
	}
	x, number := dataset.ParseNumber(literal)
	if !number {
		return literal, true
	}
	if text, ok := l.numbers[x]; ok {
		return text, true
	}
	return dataset.AppendNumber(nil, x), true
}
