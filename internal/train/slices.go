package train

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"mlops/internal/dataset"
)

const (
	// maxLevelsShown is how many values of a column make a slice each. Numbers with more
	// are cut into quarters; of a category, the others are one slice together.
	maxLevelsShown = 20
	quarters       = 4
)

// levels are the values that rows have in a column of slices.
type levels struct {
	names []string
	known map[string]int32
}

func (l *levels) of(value []byte) int32 {
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

// describe keeps what is known of a row besides its vector.
func (d *Data) describe(spec *dataset.Spec, split string, p *Part, fields [][]byte) {
	var key []byte
	if g := spec.Column(spec.Group); g >= 0 {
		key = fields[g]
	}
	p.groups.Add(key)
	if w := spec.Column(spec.Weights.Column); w >= 0 && split == dataset.Train {
		weight := float32(1)
		if x, ok := dataset.ParseNumber(fields[w]); ok {
			weight = float32(x)
		}
		p.weight = append(p.weight, weight)
	}
	if split == dataset.Train {
		return
	}
	if p.levels == nil {
		p.levels = make([][]int32, len(spec.Slices))
	}
	for i, name := range spec.Slices {
		p.levels[i] = append(p.levels[i], d.levels[i].of(fields[spec.Column(name)]))
	}
	if split == dataset.Validation && len(p.Y)%d.every == 0 {
		row := make([][]byte, len(fields))
		for c := range fields {
			row[c] = bytes.Clone(fields[c])
		}
		d.probes = append(d.probes, row)
	}
}

// part is some rows of a split, those of one slice.
type part struct {
	level string
	rows  []int32
}

// slice parts the rows of a split by a column of slices: by value, the most frequent
// first (of numbers in their order), what is missing last.
func (d *Data) slice(spec *dataset.Spec, column int, p *Part) []part {
	names := d.levels[column].names
	byLevel := make([][]int32, len(names))
	for row, level := range p.levels[column] {
		byLevel[level] = append(byLevel[level], int32(row))
	}
	var missing []int32
	var parts []part
	for level, rows := range byLevel {
		switch {
		case names[level] == "":
			missing = rows
		case len(rows) > 0:
			parts = append(parts, part{names[level], rows})
		}
	}
	c := &spec.Columns[spec.Column(spec.Slices[column])]
	if numeric := c.Type == dataset.Integer || c.Type == dataset.Number; numeric {
		number := func(p part) float64 { x, _ := dataset.ParseNumber([]byte(p.level)); return x }
		slices.SortFunc(parts, func(a, b part) int { return cmp.Compare(number(a), number(b)) })
		if len(parts) > maxLevelsShown {
			parts = inQuarters(parts)
		}
	} else {
		slices.SortFunc(parts, func(a, b part) int {
			return cmp.Or(cmp.Compare(len(b.rows), len(a.rows)), cmp.Compare(a.level, b.level))
		})
		if len(parts) > maxLevelsShown {
			other := part{level: fmt.Sprintf("%d rarer values", len(parts)-maxLevelsShown)}
			for _, p := range parts[maxLevelsShown:] {
				other.rows = append(other.rows, p.rows...)
			}
			slices.Sort(other.rows)
			parts = append(parts[:maxLevelsShown:maxLevelsShown], other)
		}
	}
	if len(missing) > 0 {
		parts = append(parts, part{"missing", missing})
	}
	return parts
}

// inQuarters joins the parts of a number's values, in their order, into four of about
// as many rows.
func inQuarters(values []part) []part {
	total := 0
	for _, v := range values {
		total += len(v.rows)
	}
	var out []part
	var rows []int32
	first, done := "", 0
	for i, v := range values {
		if rows == nil {
			first = v.level
		}
		rows = append(rows, v.rows...)
		if (done+len(rows))*quarters < total*(len(out)+1) && i+1 < len(values) {
			continue
		}
		level := first
		if first != v.level {
			level += " to " + v.level
		}
		slices.Sort(rows)
		out = append(out, part{level, rows})
		done += len(rows)
		rows = nil
	}
	return out
}

// weights are how much each training row counts; nil if each counts 1.
func (d *Data) weights(spec *dataset.Spec) []float32 {
	p := d.Parts[dataset.Train]
	if !spec.Weights.Balanced {
		return p.weight
	}
	sums, all := map[float32]float64{}, 0.0
	weight := func(i int) float64 {
		if p.weight == nil {
			return 1
		}
		return float64(p.weight[i])
	}
	for i, y := range p.Y {
		sums[y] += weight(i)
		all += weight(i)
	}
	out := make([]float32, len(p.Y))
	for i, y := range p.Y {
		if sums[y] > 0 {
			out[i] = float32(weight(i) * all / float64(len(sums)) / sums[y])
		}
	}
	return out
}

// resolved is the candidate with a number for scale_pos_weight where it says balanced:
// how many times more negative training rows there are than positive ones, by weight.
func (d *Data) resolved(spec *dataset.Spec, c *dataset.Candidate) *dataset.Candidate {
	if c.Params["scale_pos_weight"] != dataset.Balanced {
		return c
	}
	p := d.Parts[dataset.Train]
	var of [2]float64
	for i, y := range p.Y {
		w := 1.0
		if p.weight != nil {
			w = float64(p.weight[i])
		}
		of[int(y)] += w
	}
	out := *c
	out.Params = map[string]any{}
	for name, value := range c.Params {
		out.Params[name] = value
	}
	ratio := 1.0
	if of[0] > 0 && of[1] > 0 {
		ratio = of[0] / of[1]
	}
	out.Params["scale_pos_weight"], _ = strconv.ParseFloat(strconv.FormatFloat(ratio, 'g', 6, 64), 64)
	return &out
}
