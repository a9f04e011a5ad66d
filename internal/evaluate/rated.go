package evaluate

import "mlops/internal/dataset"

// Rated is a model's outputs on some rows, measured as the task does: exactly one of
// its fields is set.
type Rated struct {
	Ranking *Ranking // of a binary task
	Classes *Classes // of several classes
	Values  *Values  // of a regression
}

// Rate measures outputs, concatenated, against the rows' labels as Spec.Label gives
// them.
func Rate(spec *dataset.Spec, outputs, labels []float32) (*Rated, error) {
	r := &Rated{}
	var err error
	switch spec.Task {
	case dataset.Multiclass:
		r.Classes, err = rateClasses(outputs, labels, len(spec.Target.Classes))
	case dataset.Regression:
		r.Values, err = rateValues(outputs, labels)
	default:
		r.Ranking, err = Rank(outputs, labels)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Metric returns the metric of that name, one of the task's; those of a binary
// task's labels are taken at the threshold.
func (r *Rated) Metric(name string, threshold float64) (float64, error) {
	switch {
	case r.Classes != nil:
		return r.Classes.Metric(name)
	case r.Values != nil:
		return r.Values.Metric(name)
	}
	return r.Ranking.Metric(name, threshold)
}

// Skill says whether a model is better than a guess.
type Skill struct {
	What      string  // is measured
	Value     float64 // more is better
	Low, High float64 // its 95 % interval
	Guess     float64 // what a guess has
}

// Any reports whether the model is better than a guess beyond doubt.
func (s Skill) Any() bool { return s.Value > s.Guess && s.Low > s.Guess }

// Skill compares with a guess that knows no row: by the AUC; by the log loss, against
// the classes' shares; or by the errors, against the best constant. metric is the one
// that decides promotion.
func (r *Rated) Skill(metric string) Skill {
	gain, what := Gain{}, ""
	switch {
	case r.Classes != nil:
		gain, what = r.Classes.Gain(), "log loss below that of the classes' shares"
	case r.Values != nil && metric == "mae":
		gain, what = r.Values.Gain(metric), "absolute error below that of the median"
	case r.Values != nil:
		gain, what = r.Values.Gain(metric), "squared error below that of the mean"
	default:
		low, high := r.Ranking.AUCInterval()
		return Skill{"AUC", r.Ranking.AUC(), low, high, 0.5}
	}
	return Skill{what, gain.Mean, gain.Low, gain.High, 0}
}

// Gains returns, per row of those that were rated, how much smaller its loss is than that
// of the constant that Skill compares with; of a binary task the log loss, against the base
// rate.
func (r *Rated) Gains(metric string, outputs, labels []float32) []float64 {
	switch {
	case r.Classes != nil:
		return r.Classes.gains()
	case r.Values != nil:
		return r.Values.gains(metric)
	}
	out := make([]float64, len(labels))
	for i, y := range labels {
		out[i] = r.Ranking.saved(float64(outputs[i]), y == 1)
	}
	return out
}
