package evaluate

import (
	"math"
	"slices"
)

// Numbered numbers the groups that rows are of, for NewDraws.
type Numbered struct {
	Of     []int32 // each row's group, from 0
	groups int32
	known  map[string]int32
}

// Add adds the next row. Rows with the same key are of one group; a row without one,
// nil, is a group of its own.
func (g *Numbered) Add(key []byte) {
	group, known := g.known[string(key)]
	if key == nil || !known {
		group = g.groups
		g.groups++
	}
	if key != nil && !known {
		if g.known == nil {
			g.known = map[string]int32{}
		}
		g.known[string(key)] = group
	}
	g.Of = append(g.Of, group)
}

// Some returns the groups of some of the rows, numbered from 0 again.
func (g *Numbered) Some(rows []int32) []int32 {
	of := make([]int32, len(rows))
	known := map[int32]int32{}
	for i, row := range rows {
		group, ok := known[g.Of[row]]
		if !ok {
			group = int32(len(known))
			known[g.Of[row]] = group
		}
		of[i] = group
	}
	return of
}

// Estimate is a figure with the bounds of its 95 % interval.
type Estimate struct {
	Value    float64   `json:"value"`
	Interval []float64 `json:"interval,omitempty"` // low and high; none if the draws can't say
}

// Estimates measures rows, and how much the figures vary from draw to draw: by measure
// and name. All measures see the same draws. A figure that the rows don't have, such as
// the AUC of one class, is left out.
func Estimates(draws *Draws, measures ...*Measure) []map[string]Estimate {
	drawn := make([][][]float64, len(measures)) // by measure and name
	widest := 0
	for i, m := range measures {
		drawn[i] = make([][]float64, len(m.Names()))
		for k := range drawn[i] {
			drawn[i][k] = make([]float64, 0, draws.Count())
		}
		widest = max(widest, len(m.Names()))
	}
	values := make([]float64, widest)
	draws.Each(func(weights []int32) {
		for i, m := range measures {
			m.Values(weights, values)
			for k := range drawn[i] {
				if !math.IsNaN(values[k]) {
					drawn[i][k] = append(drawn[i][k], values[k])
				}
			}
		}
	})
	out := make([]map[string]Estimate, len(measures))
	for i, m := range measures {
		out[i] = map[string]Estimate{}
		m.Values(nil, values)
		for k, name := range m.Names() {
			if math.IsNaN(values[k]) {
				continue
			}
			e := Estimate{Value: values[k]}
			// Where a tenth of the draws don't have the figure, as of a slice with two
			// positive rows, the others say little.
			if d := drawn[i][k]; draws.Groups() > 1 && 10*len(d) >= 9*draws.Count() {
				slices.Sort(d)
				low, high := draws.Interval(d)
				e.Interval = []float64{low, high}
			}
			out[i][name] = e
		}
	}
	return out
}

// Widen widens intervals to hold those of other draws of the same measures too.
func Widen(estimates, others []map[string]Estimate) {
	for i := range estimates {
		for name, e := range estimates[i] {
			if o := others[i][name].Interval; len(e.Interval) == 2 && len(o) == 2 {
				e.Interval = []float64{min(e.Interval[0], o[0]), max(e.Interval[1], o[1])}
				estimates[i][name] = e
			}
		}
	}
}
