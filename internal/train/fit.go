package train

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"mlops/internal/dataset"
	"mlops/internal/evaluate"
	"mlops/internal/feature"
	"mlops/internal/inspect"
	"mlops/internal/model"
	"mlops/internal/xgboost"
)

// Fitted is a trained candidate with its metrics.
type Fitted struct {
	Candidate *dataset.Candidate // as it was trained, see Data.resolved

	UBJ       []byte // XGBoost's model, cut at the best round
	Trees     int
	Rounds    []float64                  // validation metric of every round boosted, see Data.RoundMetric
	Rated     map[string]*evaluate.Rated // the rows' outputs, measured, by split (validation and test)
	Threshold float64                    // of a binary task, chosen on validation by the spec's rule
	Interval  *model.Interval            // of a regression, measured on validation
	Metrics   map[string]float64         // validation_<name> and test_<name>
	Samples   []model.Sample
	Test      []float32 // outputs of the test rows, concatenated
	Report    *evaluate.Report
	Measuring time.Duration // that Report took
	Search    *Found        // that found the candidate; nil if it was listed
}

// Options of a fit.
type Options struct {
	Threads  int                             // XGBoost's threads
	Progress func(round int, metric float64) // called after each round; may be nil
	NoReport bool                            // leaves out Fitted.Report
}

// Fit boosts one candidate with early stopping on the validation rows, chooses
// the threshold or the interval there, and measures on the validation and test rows.
func Fit(ctx context.Context, lib *xgboost.Library, spec *dataset.Spec, candidate *dataset.Candidate, d *Data, o Options) (*Fitted, error) {
	candidate = d.resolved(spec, candidate)
	matrices := map[string]*xgboost.Matrix{}
	for split, p := range d.Parts {
		m, err := Matrix(lib, d.Encoder, p)
		if err != nil {
			return nil, fmt.Errorf("matrix of split %s: %w", split, err)
		}
		defer m.Close()
		matrices[split] = m
	}
	if w := d.weights(spec); w != nil {
		if err := matrices[dataset.Train].SetWeights(w); err != nil {
			return nil, err
		}
	}
	booster, result, err := lib.Train(ctx, xgboost.Config{
		Params:        Parameters(spec, candidate, o.Threads),
		Metric:        d.RoundMetric(spec, weighs(candidate)),
		Rounds:        candidate.Rounds,
		EarlyStopping: candidate.EarlyStopping,
		Progress:      o.Progress,
	}, matrices[dataset.Train], matrices[dataset.Validation])
	if err != nil {
		return nil, err
	}
	defer booster.Close()
	f := &Fitted{Candidate: candidate, Rounds: result.Rounds, Rated: map[string]*evaluate.Rated{}, Metrics: map[string]float64{}}
	if f.Trees, err = booster.Rounds(); err != nil {
		return nil, err
	}
	if f.UBJ, err = booster.SaveUBJ(); err != nil {
		return nil, err
	}
	scores := map[string][]float32{}
	for _, split := range []string{dataset.Validation, dataset.Test} {
		if scores[split], err = booster.Predict(matrices[split]); err != nil {
			return nil, fmt.Errorf("scoring split %s: %w", split, err)
		}
		if f.Rated[split], err = evaluate.Rate(spec, scores[split], d.Parts[split].Y); err != nil {
			return nil, fmt.Errorf("measuring split %s: %w", split, err)
		}
	}
	f.Test = scores[dataset.Test]
	if err := f.choose(spec); err != nil {
		return nil, err
	}
	for split, rated := range f.Rated {
		for _, name := range spec.Metrics {
			if f.Metrics[split+"_"+name], err = rated.Metric(name, f.Threshold); err != nil {
				return nil, fmt.Errorf("%s of split %s: %w", name, split, err)
			}
		}
	}
	if f.Samples, err = score(lib, booster, spec, d); err != nil || o.NoReport {
		return f, err
	}
	start := time.Now()
	err = f.evaluate(lib, booster, spec, d, scores)
	f.Measuring = time.Since(start)
	return f, err
}

// fewValidation is up to how many validation rows the loss chooses the number of rounds.
const fewValidation = 2000

// RoundMetric returns XGBoost's name of the metric by which rounds of boosting are
// compared. Of few validation rows it is the loss: by AUC, chance finds a round among the
// first that no later one beats. Where rows are weighted, by the spec or by the
// candidate, outputs are no probabilities and their loss says nothing.
func (d *Data) RoundMetric(spec *dataset.Spec, weighted bool) string {
	if len(d.Parts[dataset.Validation].Y) > fewValidation || weighted || spec.Weights != (dataset.Weights{}) {
		return spec.RoundMetric()
	}
	return spec.LossMetric()
}

// classWeight is XGBoost's parameter for how much positive rows count.
const classWeight = "scale_pos_weight"

// weighs reports whether a candidate weights rows by their class.
func weighs(c *dataset.Candidate) bool {
	_, set := c.Params[classWeight]
	return set
}

// choose chooses the threshold of a binary task, and measures the interval of a
// regression, on the validation rows.
func (f *Fitted) choose(spec *dataset.Spec) (err error) {
	validation := f.Rated[dataset.Validation]
	switch {
	case validation.Ranking != nil:
		f.Threshold, err = validation.Ranking.ChooseThreshold(spec.Threshold)
		if errors.Is(err, evaluate.ErrNoThreshold) {
			return &inspect.Error{Findings: []inspect.Finding{{Level: inspect.Stop, Kind: "threshold", Text: err.Error() + ", on the validation rows; ask for less"}}}
		}
		if err != nil {
			return fmt.Errorf("choosing the threshold: %w", err)
		}
	case validation.Values != nil:
		i := &model.Interval{Coverage: float64(spec.Coverage()) / 100}
		if i.HalfWidth, err = validation.Values.HalfWidth(i.Coverage); err != nil {
			return fmt.Errorf("measuring the interval on the validation rows: %w; bring more rows, or ask for a smaller interval", err)
		}
		i.Test = f.Rated[dataset.Test].Values.Covered(i.HalfWidth)
		f.Interval = i
	}
	return nil
}

// score gives the samples the outputs that the server has to reproduce.
func score(lib *xgboost.Library, booster *xgboost.Booster, spec *dataset.Spec, d *Data) ([]model.Sample, error) {
	part := &Part{Y: make([]float32, len(d.samples))}
	for _, s := range d.samples {
		part.X = append(part.X, s.vector...)
	}
	m, err := Matrix(lib, d.Encoder, part)
	if err != nil {
		return nil, fmt.Errorf("matrix of the samples: %w", err)
	}
	defer m.Close()
	outputs, err := booster.Predict(m)
	if err != nil {
		return nil, fmt.Errorf("scoring the samples: %w", err)
	}
	samples := make([]model.Sample, len(d.samples))
	each := len(outputs) / len(samples)
	for i, s := range d.samples {
		samples[i] = model.NewSample(spec, s.record, s.earlier, outputs[i*each:(i+1)*each])
	}
	return samples, nil
}

// Matrix copies a part into an XGBoost matrix.
func Matrix(lib *xgboost.Library, e *feature.Encoder, p *Part) (*xgboost.Matrix, error) {
	names := make([]string, e.Width())
	categorical := make([]bool, e.Width())
	for i, f := range e.Features {
		names[i], categorical[i] = f.Name, f.Categorical
	}
	m, err := lib.NewMatrix(p.X, len(p.Y), e.Width(), names, categorical)
	if err != nil {
		return nil, err
	}
	if err := m.SetLabels(p.Y); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// Parameters are XGBoost's parameters for a candidate: ours, then the candidate's
// by name.
func Parameters(spec *dataset.Spec, c *dataset.Candidate, threads int) [][2]string {
	params := [][2]string{
		{"objective", spec.Objective(c)},
		{"nthread", strconv.Itoa(threads)},
	}
	if n := len(spec.Target.Classes); n > 0 {
		params = append(params, [2]string{"num_class", strconv.Itoa(n)})
	}
	var own [][2]string
	for name, value := range c.Params {
		if name == "objective" {
			continue
		}
		own = append(own, [2]string{name, fmt.Sprint(value)})
	}
	if _, set := c.Params["tree_method"]; !set {
		own = append(own, [2]string{"tree_method", "hist"})
	}
	slices.SortFunc(own, func(a, b [2]string) int {
		if a[0] < b[0] {
			return -1
		}
		return 1
	})
	return append(params, own...)
}
