package evaluate

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Values is rows with a predicted and a true number.
type Values struct {
	predicted, actual []float32
	mean              float64 // of the true ones
}

// rateValues takes a prediction and the true value per row. It is an error if there
// is no row, or if a number is not finite.
func rateValues(predicted, actual []float32) (*Values, error) {
	if len(predicted) != len(actual) || len(actual) == 0 {
		return nil, fmt.Errorf("%d predictions for %d values", len(predicted), len(actual))
	}
	v := &Values{predicted: predicted, actual: actual}
	for i, x := range actual {
		for _, x := range []float32{x, predicted[i]} {
			if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
				return nil, fmt.Errorf("row %d: predicted %v of %v", i, predicted[i], actual[i])
			}
		}
		v.mean += float64(x)
	}
	v.mean /= float64(len(actual))
	return v, nil
}

// Rows returns how many rows there are.
func (v *Values) Rows() int { return len(v.actual) }

// Points returns each row's predicted value as X and the true one as Y.
func (v *Values) Points() []Point {
	points := make([]Point, v.Rows())
	for i := range points {
		points[i] = Point{X: float64(v.predicted[i]), Y: float64(v.actual[i])}
	}
	return points
}

func (v *Values) residual(i int) float64 { return float64(v.actual[i]) - float64(v.predicted[i]) }

func (v *Values) mse() float64 {
	sum := 0.0
	for i := range v.actual {
		sum += square(v.residual(i))
	}
	return sum / float64(v.Rows())
}

// RMSE is the root of the mean squared error.
func (v *Values) RMSE() float64 { return math.Sqrt(v.mse()) }

// MAE is the mean absolute error.
func (v *Values) MAE() float64 {
	sum := 0.0
	for i := range v.actual {
		sum += math.Abs(v.residual(i))
	}
	return sum / float64(v.Rows())
}

// R2 is the coefficient of determination: the share of the true values' variance
// that the predictions explain, below 0 where their mean predicts better. It is 0 if
// all true values are the same.
func (v *Values) R2() float64 {
	variance := 0.0
	for _, y := range v.actual {
		variance += square(float64(y) - v.mean)
	}
	if variance == 0 {
		return 0
	}
	return 1 - v.mse()*float64(v.Rows())/variance
}

// Metric returns the metric of that name.
func (v *Values) Metric(name string) (float64, error) {
	switch name {
	case "rmse":
		return v.RMSE(), nil
	case "mae":
		return v.MAE(), nil
	case "r2":
		return v.R2(), nil
	}
	return 0, fmt.Errorf("unknown metric %q of a regression", name)
}

// Gain returns how much smaller a row's error is on average than that of the best
// constant: the squared error against the mean of the true values or, for the metric
// mae, the absolute one against their median.
func (v *Values) Gain(metric string) Gain { return meanGain(v.gains(metric)) }

// gains are those of the rows.
func (v *Values) gains(metric string) []float64 {
	loss, constant := square, v.mean
	if metric == "mae" {
		sorted := slices.Sorted(slices.Values(v.actual))
		loss, constant = math.Abs, float64(sorted[len(sorted)/2])
	}
	out := make([]float64, v.Rows())
	for i, y := range v.actual {
		out[i] = loss(float64(y)-constant) - loss(v.residual(i))
	}
	return out
}

// HalfWidth returns how far a prediction's interval has to reach to either side to
// hold at least that share of new values, if new rows are like these and these were
// not trained on: the smallest error that so many of them, and one more, do not
// exceed (split conformal prediction; Lei et al. 2018, "Distribution-free predictive
// inference for regression"). It is an error if there are too few rows to say.
func (v *Values) HalfWidth(share float64) (float64, error) {
	at := int(math.Ceil(share*float64(v.Rows()+1) - 1e-9))
	if !(share > 0 && share < 1) || at > v.Rows() {
		return 0, fmt.Errorf("%d rows are too few for intervals that hold %g%% of the values", v.Rows(), 100*share)
	}
	errs := make([]float64, v.Rows())
	for i := range errs {
		errs[i] = math.Abs(v.residual(i))
	}
	slices.SortFunc(errs, cmp.Compare[float64])
	return errs[max(at, 1)-1], nil
}

// Covered returns the share of rows whose true value is at most that far from the
// predicted one.
func (v *Values) Covered(halfWidth float64) float64 {
	n := 0
	for i := range v.actual {
		if math.Abs(v.residual(i)) <= halfWidth {
			n++
		}
	}
	return share(n, v.Rows())
}
