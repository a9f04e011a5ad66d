package evaluate

import (
	"fmt"
	"slices"

	"mlops/internal/dataset"
)

// Weighed is a metric of rows each of which counts as often as its weight says. It is
// NaN if the rows that count don't determine it, such as an AUC without a row of one
// class. It serves one goroutine.
type Weighed func(weights []int32) float64

// WeighMean returns the mean of numbers, one per row.
func WeighMean(values []float64) Weighed {
	return func(weights []int32) float64 {
		var sum, total float64
		for i, v := range values {
			w := float64(weight(weights, int32(i)))
			sum, total = sum+w*v, total+w
		}
		return ratio(sum, total)
	}
}

// Weigh returns the metric of that name, one of the task's, of a model's outputs, those
// of each row behind one another, for rows with weights. With the weight 1 everywhere it
// is what Rated.Metric returns, and so it is without weights, nil. Those of a binary task's labels are taken at the
// threshold.
func Weigh(spec *dataset.Spec, metric string, threshold float64, outputs, labels []float32) (Weighed, error) {
	m, err := NewMeasure(spec, outputs, labels, threshold, nil)
	if err != nil {
		return nil, err
	}
	at := slices.Index(m.Names(), metric)
	if at < 0 {
		return nil, fmt.Errorf("unknown metric %q of task %s", metric, spec.Task)
	}
	values := make([]float64, len(m.Names()))
	return func(weights []int32) float64 {
		m.Values(weights, values)
		return values[at]
	}, nil
}
