package train

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"mlops/internal/dataset"
	"mlops/internal/evaluate"
	"mlops/internal/progress"
	"mlops/internal/tree"
	"mlops/internal/xgboost"
)

const (
	maxTrainRows = 5000 // training rows that are measured, an even choice
	maxProbes    = 1000 // validation rows that are shuffled

	// Fewer rows, or fewer of a class, make a slice's figures say little.
	fewRows    = 100
	fewOfClass = 10
)

// splits are those that are measured, in the report's order.
var splits = []string{dataset.Train, dataset.Validation, dataset.Test}

// evaluate measures the model on every split and slice, with intervals.
func (f *Fitted) evaluate(lib *xgboost.Library, booster *xgboost.Booster, spec *dataset.Spec, d *Data, scores map[string][]float32) error {
	r := &evaluate.Report{
		Schema: evaluate.ReportSchema, Model: spec.Model, Dataset: spec.Name, Candidate: f.Candidate.Name, Task: spec.Task, Trees: f.Trees,
		Metrics: spec.Metrics, Slices: []evaluate.Slice{},
		Intervals: evaluate.Intervals{Method: "percentile bootstrap", Confidence: 0.95, Group: spec.Group},
	}
	switch spec.Task {
	case dataset.Binary:
		r.Threshold, r.Classes = &f.Threshold, []string{spec.Target.Labels.Negative, spec.Target.Labels.Positive}
	case dataset.Multiclass:
		r.Classes = spec.Target.Classes
	}
	for _, split := range splits {
		part, outputs, of := d.Parts[split], scores[split], len(d.Parts[split].Y)
		if split == dataset.Train {
			part = d.choice(split, maxTrainRows)
			m, err := Matrix(lib, d.Encoder, part)
			if err != nil {
				return fmt.Errorf("matrix of split %s: %w", split, err)
			}
			outputs, err = booster.Predict(m)
			m.Close()
			if err != nil {
				return fmt.Errorf("scoring split %s: %w", split, err)
			}
		}
		rated, err := evaluate.Rate(spec, outputs, part.Y)
		if err != nil {
			return fmt.Errorf("measuring split %s: %w", split, err)
		}
		measured, err := measure(spec, d, split, part, outputs, rated, f.Threshold)
		if err != nil {
			return fmt.Errorf("measuring split %s: %w", split, err)
		}
		measured.split.Of = of
		r.Splits, r.Slices = append(r.Splits, measured.split), append(r.Slices, measured.slices...)
	}
	gain, err := booster.Gain()
	if err != nil {
		return err
	}
	permutation, err := d.permutation(spec, f.UBJ)
	if err != nil {
		return fmt.Errorf("measuring what the columns are worth: %w", err)
	}
	r.Importance = &evaluate.Importance{Gain: shares(gain), Permutation: permutation}
	f.Report = r
	return nil
}

// measured is a split with its slices.
type measured struct {
	split  evaluate.Split
	slices []evaluate.Slice
}

func measure(spec *dataset.Spec, d *Data, split string, p *Part, outputs []float32, rated *evaluate.Rated, threshold float64) (m measured, err error) {
	draws := evaluate.NewDraws(p.groups.Of)
	m.split = evaluate.Split{Split: split, Rows: len(p.Y), Groups: draws.Groups(), Draws: draws.Count()}
	switch {
	case rated.Ranking != nil:
		c := rated.Ranking.At(threshold)
		m.split.Confusion = [][]int{{c.TrueNegatives, c.FalsePositives}, {c.FalseNegatives, c.TruePositives}}
		for _, point := range rated.Ranking.Calibration(10) {
			m.split.Calibration = append(m.split.Calibration, evaluate.Bin{Predicted: point.X, Actual: point.Y})
		}
	case rated.Classes != nil:
		m.split.Confusion = rated.Classes.Confusion()
	}
	whole, err := evaluate.NewMeasure(spec, outputs, p.Y, threshold, nil)
	if err != nil {
		return m, err
	}
	measures := []*evaluate.Measure{whole}
	each := len(outputs) / len(p.Y)
	for i := range p.levels {
		for _, part := range d.levels[i].Parts(&spec.Columns[spec.Column(spec.Slices[i])], p.levels[i]) {
			some, labels := make([]float32, 0, each*len(part.Rows)), make([]float32, 0, len(part.Rows))
			for _, row := range part.Rows {
				some, labels = append(some, outputs[int(row)*each:(int(row)+1)*each]...), append(labels, p.Y[row])
			}
			one, err := evaluate.NewMeasure(spec, some, labels, threshold, part.Rows)
			if err != nil {
				return m, err
			}
			measures = append(measures, one)
			m.slices = append(m.slices, evaluate.Slice{Column: spec.Slices[i], Level: part.Level, Split: split, Rows: len(labels), Warning: few(spec, labels)})
		}
	}
	estimates := evaluate.Estimates(draws, measures...)
	m.split.Figures = estimates[0]
	for i := range m.slices {
		m.slices[i].Figures = estimates[i+1]
	}
	return m, nil
}

// few says why figures of rows with these labels say little; "" if they don't.
func few(spec *dataset.Spec, labels []float32) string {
	if len(labels) < fewRows {
		return "only " + progress.Counted(int64(len(labels)), "row")
	}
	if spec.Task == dataset.Binary {
		of := map[float32]int{}
		for _, y := range labels {
			of[y]++
		}
		if n := min(of[0], of[1]); n < fewOfClass {
			return "only " + progress.Counted(int64(n), "row") + " of one class"
		}
	}
	return ""
}

// choice is at most that many rows of a split, every few.
func (d *Data) choice(split string, most int) *Part {
	p, width := d.Parts[split], d.Encoder.Width()
	every := (len(p.Y) + most - 1) / most
	if every <= 1 {
		return p
	}
	out := &Part{}
	var rows []int32
	for i := 0; i < len(p.Y); i += every {
		out.X, out.Y = append(out.X, p.X[i*width:(i+1)*width]...), append(out.Y, p.Y[i])
		rows = append(rows, int32(i))
	}
	out.groups.Of = p.groups.Some(rows)
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
func (d *Data) permutation(spec *dataset.Spec, ubj []byte) (evaluate.Permutation, error) {
	out := evaluate.Permutation{Metric: spec.Metrics[0], Rows: len(d.probes), Columns: []evaluate.Weight{}}
	trees, err := tree.Parse(ubj)
	if err != nil {
		return out, err
	}
	width, p := d.Encoder.Width(), d.Parts[dataset.Validation]
	var base, labels []float32
	for i := range d.probes {
		at := i * d.every
		base, labels = append(base, p.X[at*width:(at+1)*width]...), append(labels, p.Y[at])
	}
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
