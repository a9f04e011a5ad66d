package draft

import (
	"bytes"
	"fmt"
	"regexp"

	"mlops/internal/progress"
	"mlops/internal/source"
)

// total is how a line begins that sums others up; average is the same of the last line
// only, since elsewhere it may be a level.
var (
	total   = regexp.MustCompile(`(?i)^(grand |sub[ -]?)?(total|sum|summe|gesamt|gesamtsumme|insgesamt|zwischensumme|totale?s?|somme|suma|razem)\b:?`)
	average = regexp.MustCompile(`(?i)^(average|mean|median|count|mittelwert|durchschnitt|moyenne|promedio|media)\b:?`)
)

// summing are a table's lines that may sum up others.
type summing struct {
	lines   int64
	first   int64
	example string

	last     string // of the last record
	lastLine int64
}

// add takes in a record: the first of its fields that has a value.
func (s *summing) add(rec *source.Record) {
	s.last, s.lastLine = "", rec.Line
	for _, f := range rec.Fields[:min(3, len(rec.Fields))] {
		f = bytes.TrimSpace(f)
		if len(f) == 0 {
			continue
		}
		if c := f[0]; c >= '0' && c <= '9' {
			return
		}
		if total.Match(f) {
			if s.lines++; s.lines == 1 {
				s.first, s.example = rec.Line, shorten(string(f), 40)
			}
			s.last = shorten(string(f), 40)
		} else if average.Match(f) {
			s.last = shorten(string(f), 40)
		}
		return
	}
}

// String says what is odd about a table of so many rows; "" if nothing is.
func (s *summing) String(rows int64) string {
	const remedy = "if it sums up the others it is not a record; take it out of the table"
	switch {
	case s.lines > 1 && s.lines*5 < rows:
		return fmt.Sprintf("%s begin as totals do, for example line %s: %q: if they sum up others they are not records; take them out of the table", progress.Counted(s.lines, "line"), progress.Count(s.first), s.example)
	case s.lines == 1 && s.first != s.lastLine:
		return fmt.Sprintf("line %s begins with %q: %s", progress.Count(s.first), s.example, remedy)
	case s.last != "" && s.lines*5 < rows:
		return fmt.Sprintf("line %s, the last one, begins with %q: %s", progress.Count(s.lastLine), s.last, remedy)
	}
	return ""
}
