package train

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"mlops/internal/dataset"
	"mlops/internal/evaluate"
	"mlops/internal/tree"
)

// importance measures what the model goes by, on the probes.
func (d *Data) importance(spec *dataset.Spec, gain map[string]float64, ubj []byte) (*evaluate.Importance, error) {
	trees, err := tree.Parse(ubj)
	if err != nil {
		return nil, err
	}
	if err := trees.Explainable(); err != nil {
		return nil, err
	}
	width, p := d.Encoder.Width(), d.Parts[dataset.Validation]
	var x, labels []float32
	for i := range d.probes {
		at := i * d.every
		x, labels = append(x, p.X[at*width:(at+1)*width]...), append(labels, p.Y[at])
	}
	out := &evaluate.Importance{Gain: shares(gain), Contributions: contributions(spec, trees, x)}
	out.Permutation, err = d.permutation(spec, trees, x, labels)
	return out, err
}

// contributions are how far each column moves the margin of the rows with these vectors,
// up or down, on average; of several classes, the mean over the classes. They are summed
// by column as those of a prediction are.
func contributions(spec *dataset.Spec, trees *tree.Model, x []float32) evaluate.Contributions {
	width := len(spec.Features)
	names, of := spec.Contributors()
	out := evaluate.Contributions{Scale: string(trees.Scale()), Rows: len(x) / width, Columns: make([]evaluate.Weight, len(names))}
	values, columns := make([]float64, width+1), make([]float64, len(names))
	for i := range out.Rows {
		for output := range trees.Outputs() {
			trees.Contributions(x[i*width:(i+1)*width], output, values)
			clear(columns)
			for f, shared := range of {
				for _, c := range shared {
					columns[c] += values[f] / float64(len(shared))
				}
			}
			for c, v := range columns {
				out.Columns[c].Value += math.Abs(v)
			}
		}
	}
	for c, name := range names {
		out.Columns[c].Name = name
		out.Columns[c].Value /= float64(max(1, out.Rows*trees.Outputs()))
	}
	slices.SortFunc(out.Columns, byValue)
	return out
}

// shares are values as shares of their sum, the largest first.
func shares(values map[string]float64) []evaluate.Weight {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	list := []evaluate.Weight{}
	for name, v := range values {
		list = append(list, evaluate.Weight{Name: name, Value: v / sum})
	}
	slices.SortFunc(list, byValue)
	return list
}

func byValue(a, b evaluate.Weight) int {
	return cmp.Or(cmp.Compare(b.Value, a.Value), cmp.Compare(a.Name, b.Name))
}

// permutation measures how much worse the first metric of the probes gets when they
// exchange the values of a column. Features of several columns are made again of the
// row with the other value; those of earlier rows that look at the column are exchanged
// as a whole. Features of how many earlier rows there are count as a column of their own.
func (d *Data) permutation(spec *dataset.Spec, trees *tree.Model, base, labels []float32) (evaluate.Permutation, error) {
	out := evaluate.Permutation{Metric: spec.Metrics[0], Rows: len(d.probes), Columns: []evaluate.Weight{}}
	outputs := make([]float32, len(labels)*trees.Outputs())
	measure := func(x []float32) (float64, error) {
		trees.ScoreBatch(x, outputs)
		m, err := evaluate.Weigh(spec, out.Metric, 0, outputs, labels)
		if err != nil {
			return 0, err
		}
		return m(nil), nil
	}
	before, err := measure(base)
	if err != nil || math.IsNaN(before) {
		return out, err
	}
	from := rand.New(rand.NewPCG(1, 1)).Perm(len(labels))
	x := make([]float32, len(base))
	for _, column := range shuffled(spec) {
		copy(x, base)
		column.exchange(x, base, d, from)
		after, err := measure(x)
		if err != nil {
			return out, err
		}
		worse := before - after
		if spec.Better(0, 1) {
			worse = -worse
		}
		out.Columns = append(out.Columns, evaluate.Weight{Name: column.name, Value: worse})
	}
	slices.SortFunc(out.Columns, byValue)
	return out, nil
}

// shuffledColumn is a column with the features that are made of it.
type shuffledColumn struct {
	name   string
	column int   // of the spec; -1: none
	whole  []int // features whose values are exchanged
	remade []int // features of the row itself that are made of other columns too
}

func shuffled(spec *dataset.Spec) []shuffledColumn {
	var out []shuffledColumn
	for c := range spec.Columns {
		s := shuffledColumn{name: spec.Columns[c].Name, column: c}
		for i := range spec.Features {
			f := &spec.Features[i]
			of := f.Columns()
			switch {
			case !slices.Contains(of, s.name):
			case len(of) == 1 || f.Earlier != "":
				s.whole = append(s.whole, i)
			default:
				s.remade = append(s.remade, i)
			}
		}
		if len(s.whole)+len(s.remade) > 0 {
			out = append(out, s)
		}
	}
	for i := range spec.Features {
		if f := &spec.Features[i]; f.Earlier == dataset.EarlierCount {
			out = append(out, shuffledColumn{name: f.Name, column: -1, whole: []int{i}})
		}
	}
	return out
}

// exchange gives each row the column of another.
func (s *shuffledColumn) exchange(x, base []float32, d *Data, from []int) {
	width := d.Encoder.Width()
	vector := make([]float32, width)
	for i, other := range from {
		for _, f := range s.whole {
			x[i*width+f] = base[other*width+f]
		}
		if len(s.remade) == 0 {
			continue
		}
		fields := slices.Clone(d.probes[i])
		fields[s.column] = d.probes[other][s.column]
		d.Encoder.EncodeAfter(vector, fields, nil)
		for _, f := range s.remade {
			x[i*width+f] = vector[f]
		}
	}
}
