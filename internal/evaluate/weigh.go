package evaluate

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"mlops/internal/dataset"
)

// Weighed is a metric of rows each of which counts as often as its weight says. It is
// NaN if the rows that count don't determine it, such as an AUC without a row of one
// class. It serves one goroutine.
type Weighed func(weights []int32) float64

// Weigh returns the metric of that name, one of the task's, of a model's outputs, those
// of each row behind one another, for rows with weights. With the weight 1 everywhere it
// is what Rated.Metric returns. Those of a binary task's labels are taken at the
// threshold.
func Weigh(spec *dataset.Spec, metric string, threshold float64, outputs, labels []float32) (Weighed, error) {
	rated, err := Rate(spec, outputs, labels)
	if err != nil {
		return nil, err
	}
	if _, err := rated.Metric(metric, threshold); err != nil {
		return nil, err
	}
	switch {
	case rated.Classes != nil:
		return rated.Classes.weigh(metric)
	case rated.Values != nil:
		return rated.Values.weigh(metric)
	}
	positive, err := positives(labels)
	if err != nil {
		return nil, err
	}
	switch metric {
	case "auc":
		return weighedAUC(outputs, positive), nil
	case "average_precision":
		return weighedAveragePrecision(outputs, positive), nil
	case "log_loss":
		const epsilon = 0x1p-23
		return weighedMean(len(labels), func(i int) float64 {
			p := min(max(float64(outputs[i]), epsilon), 1-epsilon)
			if positive[i] {
				return -math.Log(p)
			}
			return -math.Log1p(-p)
		}), nil
	}
	of := map[string]func(Confusion) float64{
		"precision": Confusion.Precision, "recall": Confusion.Recall, "accuracy": Confusion.Accuracy, "f1": Confusion.F1,
	}[metric]
	if of == nil {
		return nil, fmt.Errorf("unknown metric %q", metric)
	}
	return func(weights []int32) float64 {
		var c Confusion
		for i, w := range weights {
			switch said := float64(outputs[i]) >= threshold; {
			case said && positive[i]:
				c.TruePositives += int(w)
			case said:
				c.FalsePositives += int(w)
			case positive[i]:
				c.FalseNegatives += int(w)
			default:
				c.TrueNegatives += int(w)
			}
		}
		if metric == "recall" && c.TruePositives+c.FalseNegatives == 0 {
			return math.NaN()
		}
		return of(c)
	}, nil
}

// weighedMean is the mean of a number per row.
func weighedMean(n int, of func(row int) float64) Weighed {
	values := make([]float64, n)
	for i := range values {
		values[i] = of(i)
	}
	return func(weights []int32) float64 {
		sum, rows := 0.0, 0
		for i, w := range weights {
			sum += float64(w) * values[i]
			rows += int(w)
		}
		return sum / float64(rows) // NaN without rows
	}
}

// ranks is the rows from the highest score to the lowest; last says of each whether
// the next one has a lower score.
func ranks(scores []float32) (order []int32, last []bool) {
	order, last = make([]int32, len(scores)), make([]bool, len(scores))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return cmp.Compare(scores[b], scores[a]) })
	for i, row := range order {
		last[i] = i == len(order)-1 || scores[order[i+1]] != scores[row]
	}
	return order, last
}

func weighedAUC(scores []float32, positive []bool) Weighed {
	order, last := ranks(scores)
	return func(weights []int32) float64 {
		// Pairs in halves: with each row, the positive ones above it count whole and
		// those of the same score half.
		var halves, above, same, negatives, negativesHere int64
		for i, row := range order {
			w := int64(weights[row])
			if positive[row] {
				same += w
			} else {
				negativesHere += w
			}
			if last[i] {
				halves += negativesHere * (2*above + same)
				above, negatives = above+same, negatives+negativesHere
				same, negativesHere = 0, 0
			}
		}
		return float64(halves) / 2 / float64(above) / float64(negatives) // NaN without a row of a class
	}
}

func weighedAveragePrecision(scores []float32, positive []bool) Weighed {
	order, last := ranks(scores)
	return func(weights []int32) float64 {
		var tp, rows, pos int64
		sum := 0.0
		for i, row := range order {
			w := int64(weights[row])
			rows += w
			if positive[row] {
				pos += w
			}
			if last[i] && pos > 0 {
				tp += pos
				sum += float64(pos) * float64(tp) / float64(rows)
				pos = 0
			}
		}
		return sum / float64(tp)
	}
}

func (c *Classes) weigh(metric string) (Weighed, error) {
	said := make([]int, c.Rows())
	for i := range said {
		said[i] = Best(c.scores[i*c.n : (i+1)*c.n])
	}
	switch metric {
	case "log_loss":
		return weighedMean(c.Rows(), c.loss), nil
	case "accuracy":
		return weighedMean(c.Rows(), func(i int) float64 {
			if said[i] == c.labels[i] {
				return 1
			}
			return 0
		}), nil
	case "macro_f1":
		return func(weights []int32) float64 {
			right, got, are := make([]int, c.n), make([]int, c.n), make([]int, c.n)
			for i, w := range weights {
				got[said[i]] += int(w)
				are[c.labels[i]] += int(w)
				if said[i] == c.labels[i] {
					right[said[i]] += int(w)
				}
			}
			sum := 0.0
			for k := range c.n {
				sum += share(2*right[k], got[k]+are[k])
			}
			return sum / float64(c.n)
		}, nil
	case "auc":
		var each []Weighed
		for k := range c.n {
			scores, is := make([]float32, c.Rows()), make([]bool, c.Rows())
			for i, l := range c.labels {
				scores[i], is[i] = c.scores[i*c.n+k], l == k
			}
			each = append(each, weighedAUC(scores, is))
		}
		return func(weights []int32) float64 {
			sum := 0.0
			for _, of := range each {
				sum += of(weights)
			}
			return sum / float64(c.n)
		}, nil
	}
	return nil, fmt.Errorf("unknown metric %q of several classes", metric)
}

func (v *Values) weigh(metric string) (Weighed, error) {
	squares := weighedMean(v.Rows(), func(i int) float64 { return square(v.residual(i)) })
	switch metric {
	case "rmse":
		return func(weights []int32) float64 { return math.Sqrt(squares(weights)) }, nil
	case "mae":
		return weighedMean(v.Rows(), func(i int) float64 { return math.Abs(v.residual(i)) }), nil
	case "r2":
		// Deviations from the mean of all rows keep the sums small.
		deviation := weighedMean(v.Rows(), func(i int) float64 { return float64(v.actual[i]) - v.mean })
		spread := weighedMean(v.Rows(), func(i int) float64 { return square(float64(v.actual[i]) - v.mean) })
		return func(weights []int32) float64 {
			variance := spread(weights) - square(deviation(weights))
			if !(variance > 0) {
				return 0
			}
			return 1 - squares(weights)/variance
		}, nil
	}
	return nil, fmt.Errorf("unknown metric %q of a regression", metric)
}
