package train

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"mlops/internal/dataset"
	"mlops/internal/evaluate"
	"mlops/internal/feature"
	"mlops/internal/model"
	"mlops/internal/xgboost"
)

// Fitted is a trained candidate with its metrics.
type Fitted struct {
	UBJ       []byte // XGBoost's model, cut at the best round
	Trees     int
	RoundAUC  []float64                    // validation AUC of every round boosted
	Scores    map[string][]float32         // probabilities, by split (validation and test)
	Rankings  map[string]*evaluate.Ranking // the rows by score, by split
	Threshold float64                      // chosen on validation by the spec's rule
	Metrics   map[string]float64           // validation_<name> and test_<name>
	Samples   []model.Sample
}

// Options of a fit.
type Options struct {
	Threads  int                          // XGBoost's threads
	Progress func(round int, auc float64) // called after each round; may be nil
}

// Fit boosts one candidate with early stopping on the validation rows, chooses
// the threshold there, and measures on the validation and test rows.
func Fit(ctx context.Context, lib *xgboost.Library, spec *dataset.Spec, candidate *dataset.Candidate, d *Data, o Options) (*Fitted, error) {
	matrices := map[string]*xgboost.Matrix{}
	for split, p := range d.Parts {
		m, err := Matrix(lib, d.Encoder, p)
		if err != nil {
			return nil, fmt.Errorf("matrix of split %s: %w", split, err)
		}
		defer m.Close()
		matrices[split] = m
	}
	booster, result, err := lib.Train(ctx, xgboost.Config{
		Params:        Parameters(candidate, o.Threads),
		Rounds:        candidate.Rounds,
		EarlyStopping: candidate.EarlyStopping,
		Progress:      o.Progress,
	}, matrices[dataset.Train], matrices[dataset.Validation])
	if err != nil {
		return nil, err
	}
	defer booster.Close()
	f := &Fitted{RoundAUC: result.Rounds, Scores: map[string][]float32{}, Rankings: map[string]*evaluate.Ranking{}, Metrics: map[string]float64{}}
	if f.Trees, err = booster.Rounds(); err != nil {
		return nil, err
	}
	if f.UBJ, err = booster.SaveUBJ(); err != nil {
		return nil, err
	}
	for _, split := range []string{dataset.Validation, dataset.Test} {
		if f.Scores[split], err = booster.Predict(matrices[split]); err != nil {
			return nil, fmt.Errorf("scoring split %s: %w", split, err)
		}
	}
	for _, split := range []string{dataset.Validation, dataset.Test} {
		if f.Rankings[split], err = evaluate.Rank(f.Scores[split], d.Parts[split].Y); err != nil {
			return nil, fmt.Errorf("measuring split %s: %w", split, err)
		}
	}
	if f.Threshold, err = f.Rankings[dataset.Validation].ChooseThreshold(spec.Threshold); err != nil {
		return nil, fmt.Errorf("choosing the threshold: %w", err)
	}
	for split, ranking := range f.Rankings {
		for _, name := range spec.Metrics {
			if f.Metrics[split+"_"+name], err = ranking.Metric(name, f.Threshold); err != nil {
				return nil, fmt.Errorf("%s of split %s: %w", name, split, err)
			}
		}
	}
	f.Samples, err = score(lib, booster, d)
	return f, err
}

// score gives the samples the probabilities that the server has to reproduce.
func score(lib *xgboost.Library, booster *xgboost.Booster, d *Data) ([]model.Sample, error) {
	part := &Part{Y: make([]float32, len(d.samples))}
	for _, s := range d.samples {
		part.X = append(part.X, s.vector...)
	}
	m, err := Matrix(lib, d.Encoder, part)
	if err != nil {
		return nil, fmt.Errorf("matrix of the samples: %w", err)
	}
	defer m.Close()
	probabilities, err := booster.Predict(m)
	if err != nil {
		return nil, fmt.Errorf("scoring the samples: %w", err)
	}
	samples := make([]model.Sample, len(d.samples))
	for i, s := range d.samples {
		samples[i] = model.Sample{Record: s.record, History: s.history, Probability: float64(probabilities[i])}
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
func Parameters(c *dataset.Candidate, threads int) [][2]string {
	params := [][2]string{
		{"objective", "binary:logistic"},
		{"nthread", strconv.Itoa(threads)},
	}
	var own [][2]string
	for name, value := range c.Params {
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
