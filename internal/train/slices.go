package train

import (
	"bytes"
	"strconv"

	"mlops/internal/dataset"
)

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
	if spec.ByTime() {
		p.times = append(p.times, spec.Time(fields[spec.Column(spec.Split.By)]))
	}
	if p.levels == nil {
		p.levels = make([][]int32, len(spec.Slices))
	}
	for i, name := range spec.Slices {
		p.levels[i] = append(p.levels[i], d.levels[i].Of(fields[spec.Column(name)]))
	}
	if split == dataset.Validation && len(p.Y)%d.every == 0 {
		row := make([][]byte, len(fields))
		for c := range fields {
			row[c] = bytes.Clone(fields[c])
		}
		d.probes = append(d.probes, row)
	}
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
