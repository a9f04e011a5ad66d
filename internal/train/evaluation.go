package train

import (
	"fmt"

	"mlops/internal/dataset"
	"mlops/internal/evaluate"
	"mlops/internal/progress"
	"mlops/internal/xgboost"
)

const (
	maxTrainRows = 5000 // training rows that are measured, an even choice
	maxProbes    = 1000 // validation rows by which importance is measured

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
		SplitRule: spec.SplitRule(), Metrics: spec.Metrics, Slices: []evaluate.Slice{},
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
	if r.Importance, err = d.importance(spec, gain, f.UBJ); err != nil {
		return fmt.Errorf("measuring what the columns are worth: %w", err)
	}
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
	if blocks := evaluate.NewBlockDraws(p.times, evaluate.Likeness(spec, outputs, p.Y)...); blocks != nil {
		m.split.Times, m.split.Block = blocks.Groups(), blocks.Block()
		evaluate.Widen(estimates, evaluate.Estimates(blocks, measures...))
	}
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
