package dataset

import "math"

// Promote says when a candidate takes the place of the version in production. All are
// optional; Gate has the values that count.
type Promote struct {
	Margin      *float64 `yaml:"margin"`       // by how much it has to be better, in units of the first metric
	Confidence  *Percent `yaml:"confidence"`   // how surely
	SliceMargin *float64 `yaml:"slice_margin"` // by how much it may be worse in a slice, in units of the first metric
	Calibration *Percent `yaml:"calibration"`  // by how much its predictions may say too much on average, as a share of the target's standard deviation
}

// What a spec without promote asks for; docs/decisions/0024 has the measurements.
const (
	defaultConfidence  Percent = 95
	defaultCalibration Percent = 25

	defaultSliceMargin = 0.02 // of a metric from 0 to 1
	defaultSliceShare  = 0.05 // of a loss: of the champion's
)

// Gate is what a candidate has to reach.
type Gate struct {
	Margin      float64 // better by more than that, in units of the first metric
	Confidence  float64 // in that share of the draws of the rows
	Calibration float64 // saying too much by no more than that share of the target's standard deviation; +Inf: any
}

// Gate returns what a candidate has to reach.
func (s *Spec) Gate() Gate {
	g := Gate{Confidence: float64(defaultConfidence) / 100, Calibration: float64(defaultCalibration) / 100}
	p := s.Promote
	if p.Margin != nil {
		g.Margin = *p.Margin
	}
	if p.Confidence != nil {
		g.Confidence = float64(*p.Confidence) / 100
	}
	if p.Calibration != nil {
		g.Calibration = float64(*p.Calibration) / 100
	}
	if g.Calibration >= 1 {
		g.Calibration = math.Inf(1)
	}
	return g
}

// SliceMargin returns by how much a candidate may be worse in a slice than a champion
// with that value of the first metric on all rows.
func (s *Spec) SliceMargin(champion float64) float64 {
	switch {
	case s.Promote.SliceMargin != nil:
		return *s.Promote.SliceMargin
	case metricOf(s.Task, s.Metrics[0]).lower:
		return defaultSliceShare * math.Abs(champion)
	}
	return defaultSliceMargin
}

// Gain returns how much better a value of the first metric is than another: below 0
// where it is worse.
func (s *Spec) Gain(value, than float64) float64 {
	if metricOf(s.Task, s.Metrics[0]).lower {
		return than - value
	}
	return value - than
}

// promote checks what a candidate has to reach.
func (c *checker) promote(s *Spec) {
	p := s.Promote
	for name, v := range map[string]*float64{"margin": p.Margin, "slice_margin": p.SliceMargin} {
		if v != nil && *v < 0 {
			c.bad(at("promote", name), "promote.%s is %g; it can be from 0 on", name, *v)
		}
	}
	if v := p.Confidence; v != nil && !(*v >= 50 && *v < 100) {
		c.bad(at("promote", "confidence"), "promote.confidence is %s; it can be from 50%% to below 100%%", *v)
	}
	if v := p.Calibration; v != nil && *v == 0 {
		c.bad(at("promote", "calibration"), "promote.calibration is 0%%: no model's predictions are never off; 100%% leaves the check out")
	}
}
