// Package synthetic makes a table of a data set's shape out of its spec and a
// seed, for a machine that can reach no real one. Its target depends on the
// other columns by made-up weights, so that there is something to learn; what
// is learnt says nothing about the world.
package synthetic

import (
	"bufio"
	"cmp"
	"encoding/csv"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"mlops/internal/dataset"
	"mlops/internal/source"
)

const (
	missingShare = 0.03
	groupShare   = 0.7  // groups per row, if rows are grouped
	intercept    = -1.5 // of the target's log odds
)

// Write writes a table of that many rows, in the way that the spec says its table is
// written. The same spec, rows and seed give the same bytes.
func Write(w io.Writer, spec *dataset.Spec, rows int, seed uint64) error {
	buffered := bufio.NewWriter(w)
	encoded := source.Encoder(buffered, source.Options{}.For(spec))
	out := csv.NewWriter(encoded)
	if c := spec.Source.Separates(); c != 0 {
		out.Comma = rune(c)
	}
	header := make([]string, len(spec.Columns))
	columns := make([]column, len(spec.Columns))
	for i := range spec.Columns {
		header[i] = spec.Columns[i].Header()
		columns[i] = newColumn(spec, i)
	}
	for range spec.Source.Skip {
		if err := out.Write([]string{"# invented"}); err != nil {
			return fmt.Errorf("writing a synthetic table: %w", err)
		}
	}
	if spec.Source.Header != dataset.NoHeader {
		if err := out.Write(header); err != nil {
			return fmt.Errorf("writing a synthetic table: %w", err)
		}
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	record := make([]string, len(columns))
	target := spec.Column(spec.Target.Column)
	for row := range rows {
		odds := intercept
		for i := range columns {
			record[i] = columns[i].draw(rng, row, rows, &odds)
		}
		record[target] = columns[target].outcome(spec, rng, odds)
		if err := out.Write(record); err != nil {
			return fmt.Errorf("writing a synthetic table: %w", err)
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("writing a synthetic table: %w", err)
	}
	if err := encoded.Close(); err != nil {
		return fmt.Errorf("writing a synthetic table: %w", err)
	}
	if err := buffered.Flush(); err != nil {
		return fmt.Errorf("writing a synthetic table: %w", err)
	}
	return nil
}

// column draws the values of one column.
type column struct {
	spec    *dataset.Column
	role    role
	levels  []string
	min     float64
	span    float64
	first   time.Time // of a date
	days    float64   // from the first date to the last
	missing string    // marker; empty: never missing
	decimal string    // between a number's whole and its fraction
}

type role int

const (
	plain role = iota
	key
	group
	answer
)

func newColumn(spec *dataset.Spec, i int) column {
	c := column{spec: &spec.Columns[i], span: 20, decimal: cmp.Or(spec.Source.Decimal, ".")}
	switch c.spec.Name {
	case spec.Target.Column:
		c.role = answer
	case spec.Key:
		c.role = key
	case spec.Group:
		c.role = group
	}
	if markers := c.spec.Markers(); len(markers) > 0 && !c.spec.Required {
		c.missing = markers[0]
	}
	if c.spec.Min != nil {
		c.min = *c.spec.Min
	}
	if c.spec.Max != nil {
		c.span = *c.spec.Max - c.min
	}
	c.levels = slices.Clone(c.spec.Values)
	for code := range c.spec.Codes {
		c.levels = append(c.levels, code)
	}
	switch {
	case c.spec.Type == dataset.Boolean:
		c.levels = []string{"false", "true"}
	case c.spec.Type == dataset.Date:
		c.first, c.days = period(c.spec)
	case len(c.levels) == 0 && c.spec.Type == dataset.Category:
		c.levels = ranges(spec, c.spec.Name)
	}
	if len(c.spec.Codes) > 0 {
		sort.Strings(c.levels) // a map has no order
	}
	return c
}

// period is the first date that a column may have, and the days to its last one.
func period(c *dataset.Column) (first time.Time, days float64) {
	first = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	if t, ok := dataset.ParseDate([]byte(c.Earliest)); ok {
		first = t
	}
	last := first.AddDate(4, 0, 0)
	if t, ok := dataset.ParseDate([]byte(c.Latest)); ok {
		if last = t; c.Earliest == "" {
			first = last.AddDate(-4, 0, 0)
		}
	}
	return first, last.Sub(first).Hours() / 24
}

// ranges makes levels of a column that the spec looks up in a table: the first
// value of each range.
func ranges(spec *dataset.Spec, name string) []string {
	levels := []string{"a", "b", "c"}
	for _, f := range spec.Features {
		if f.Ranges != name {
			continue
		}
		levels = nil
		for _, r := range f.Table {
			if r.Prefix != "" {
				levels = append(levels, r.Prefix+"10")
			} else {
				levels = append(levels, strconv.FormatFloat(*r.From, 'f', -1, 64))
			}
		}
	}
	return levels
}

// draw returns a row's value and adds to the log odds of its target.
func (c *column) draw(rng *rand.Rand, row, rows int, odds *float64) string {
	switch c.role {
	case answer:
		return ""
	case key:
		return strconv.Itoa(100_000 + row)
	case group:
		return strconv.Itoa(1 + rng.IntN(max(1, int(groupShare*float64(rows)))))
	}
	if c.missing != "" && rng.Float64() < missingShare {
		return c.missing
	}
	u := rng.Float64()
	switch {
	case len(c.levels) > 0:
		level := c.levels[int(u*u*float64(len(c.levels)))] // the first are the most frequent
		*odds += 0.5 * weight(c.spec.Name+"="+level)
		return level
	case c.spec.Type == dataset.Date:
		*odds += weight(c.spec.Name) * (u - 0.5)
		return string(dataset.AppendDate(nil, c.first.AddDate(0, 0, int(u*c.days))))
	case c.spec.Type == dataset.Integer:
		*odds += weight(c.spec.Name) * (u - 0.5)
		return strconv.Itoa(int(c.min + u*u*c.span))
	default:
		*odds += weight(c.spec.Name) * (u - 0.5)
		return strings.Replace(strconv.FormatFloat(c.min+u*c.span, 'f', 2, 64), ".", c.decimal, 1)
	}
}

// weight is between -1 and 1 and depends on the name alone.
func weight(name string) float64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return rand.New(rand.NewPCG(h.Sum64(), 2)).Float64()*2 - 1
}

// outcome returns a value of the target: the higher the odds, the likelier it means
// positive, the later the class or the larger the value.
func (c *column) outcome(spec *dataset.Spec, rng *rand.Rand, odds float64) string {
	switch spec.Task {
	case dataset.Multiclass:
		classes := spec.Target.Classes
		u := 1 / (1 + math.Exp(-2*(odds-intercept)-rng.NormFloat64()))
		return classes[min(len(classes)-1, int(u*float64(len(classes))))]
	case dataset.Regression:
		x := c.min + c.span/(1+math.Exp(-2*(odds-intercept)-0.5*rng.NormFloat64()))
		if c.spec.Type == dataset.Integer {
			return strconv.Itoa(int(x))
		}
		return strings.Replace(strconv.FormatFloat(x, 'f', 2, 64), ".", c.decimal, 1)
	}
	positive := spec.Target.Positive
	if rng.Float64() < 1/(1+math.Exp(-odds)) {
		return positive[0]
	}
	switch c.spec.Type {
	case dataset.Boolean:
		return map[string]string{"true": "false", "false": "true"}[positive[0]]
	case dataset.Integer, dataset.Number:
		for x := int(math.Ceil(c.min)); ; x++ {
			if v := strconv.Itoa(x); !slices.Contains(positive, v) {
				return v
			}
		}
	}
	for _, v := range c.spec.Values {
		if !slices.Contains(positive, v) {
			return v
		}
	}
	return "not " + positive[0]
}
