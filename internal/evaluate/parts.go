package evaluate

import (
	"cmp"
	"fmt"
	"slices"

	"mlops/internal/dataset"
)

const (
	// maxLevelsShown is how many values of a column make a slice each. Numbers with more
	// are cut into quarters; of a category, the others are one slice together.
	maxLevelsShown = 20
	quarters       = 4
)

// Levels are the values that rows have in a column of slices.
type Levels struct {
	names []string
	known map[string]int32
}

// Of returns the number of a value; rows without one share a number too.
func (l *Levels) Of(value []byte) int32 {
	i, known := l.known[string(value)]
	if !known {
		if l.known == nil {
			l.known = map[string]int32{}
		}
		i = int32(len(l.names))
		name := string(value)
		l.known[name], l.names = i, append(l.names, name)
	}
	return i
}

// Part is the rows of one slice.
type Part struct {
	Level string
	Rows  []int32
}

// Parts parts rows by their values in a column of slices, which are given by Of's
// numbers: by value, the most frequent first (of numbers in their order), what is
// missing last.
func (l *Levels) Parts(c *dataset.Column, numbers []int32) []Part {
	names := l.names
	byLevel := make([][]int32, len(names))
	for row, level := range numbers {
		byLevel[level] = append(byLevel[level], int32(row))
	}
	var missing []int32
	var parts []Part
	for level, rows := range byLevel {
		switch {
		case names[level] == "":
			missing = rows
		case len(rows) > 0:
			parts = append(parts, Part{names[level], rows})
		}
	}
	if numeric := c.Type == dataset.Integer || c.Type == dataset.Number; numeric {
		number := func(p Part) float64 { x, _ := dataset.ParseNumber([]byte(p.Level)); return x }
		slices.SortFunc(parts, func(a, b Part) int { return cmp.Compare(number(a), number(b)) })
		if len(parts) > maxLevelsShown {
			parts = inQuarters(parts)
		}
	} else {
		slices.SortFunc(parts, func(a, b Part) int {
			return cmp.Or(cmp.Compare(len(b.Rows), len(a.Rows)), cmp.Compare(a.Level, b.Level))
		})
		if len(parts) > maxLevelsShown {
			other := Part{Level: fmt.Sprintf("%d rarer values", len(parts)-maxLevelsShown)}
			for _, p := range parts[maxLevelsShown:] {
				other.Rows = append(other.Rows, p.Rows...)
			}
			slices.Sort(other.Rows)
			parts = append(parts[:maxLevelsShown:maxLevelsShown], other)
		}
	}
	if len(missing) > 0 {
		parts = append(parts, Part{"missing", missing})
	}
	return parts
}

// inQuarters joins the parts of a number's values, in their order, into four of about
// as many rows.
func inQuarters(values []Part) []Part {
	total := 0
	for _, v := range values {
		total += len(v.Rows)
	}
	var out []Part
	var rows []int32
	first, done := "", 0
	for i, v := range values {
		if rows == nil {
			first = v.Level
		}
		rows = append(rows, v.Rows...)
		if (done+len(rows))*quarters < total*(len(out)+1) && i+1 < len(values) {
			continue
		}
		level := first
		if first != v.Level {
			level += " to " + v.Level
		}
		slices.Sort(rows)
		out = append(out, Part{level, rows})
		done += len(rows)
		rows = nil
	}
	return out
}
