package evaluate

import (
	"fmt"
	"math"
)

// Classes is rows with the probability of each class, and their true classes.
type Classes struct {
	scores []float32 // n per row
	labels []int
	n      int
	counts []int // rows by true class
}

// rateClasses takes n probabilities per row, concatenated, and the number of each
// row's true class. It is an error if there are not n times as many probabilities as
// labels, if one is not between 0 and 1, or if a label is no class.
func rateClasses(scores []float32, labels []float32, n int) (*Classes, error) {
	if n < 2 || len(scores) != n*len(labels) || len(labels) == 0 {
		return nil, fmt.Errorf("%d probabilities of %d classes for %d labels", len(scores), n, len(labels))
	}
	c := &Classes{scores: scores, labels: make([]int, len(labels)), n: n, counts: make([]int, n)}
	for i, p := range scores {
		if !(p >= 0 && p <= 1) {
			return nil, fmt.Errorf("row %d: the score of class %d is %v, not a probability", i/n, i%n, p)
		}
	}
	for i, l := range labels {
		if l != float32(int(l)) || l < 0 || int(l) >= n {
			return nil, fmt.Errorf("label of row %d is %v, want the number of one of %d classes", i, l, n)
		}
		c.labels[i] = int(l)
		c.counts[int(l)]++
	}
	return c, nil
}

// Rows returns how many rows there are.
func (c *Classes) Rows() int { return len(c.labels) }

// Best returns the class with the highest probability; of equal ones the first.
func Best(scores []float32) int {
	best := 0
	for k, p := range scores {
		if p > scores[best] {
			best = k
		}
	}
	return best
}

// Confusion counts rows by true class, then by the class with the highest
// probability.
func (c *Classes) Confusion() [][]int {
	counts := make([][]int, c.n)
	for k := range counts {
		counts[k] = make([]int, c.n)
	}
	for i, l := range c.labels {
		counts[l][Best(c.scores[i*c.n:(i+1)*c.n])]++
	}
	return counts
}

// Accuracy is the share of rows whose true class has the highest probability.
func (c *Classes) Accuracy() float64 {
	right := 0
	for k, row := range c.Confusion() {
		right += row[k]
	}
	return share(right, c.Rows())
}

// MacroF1 is the mean of the classes' F1, each against the rest; 0 for a class that
// no row has or gets.
func (c *Classes) MacroF1() float64 {
	confusion := c.Confusion()
	sum := 0.0
	for k := range c.n {
		got := 0
		for l := range c.n {
			got += confusion[l][k]
		}
		sum += share(2*confusion[k][k], got+c.counts[k])
	}
	return sum / float64(c.n)
}

// LogLoss returns the mean negative log likelihood of the true classes, their
// probabilities kept away from 0 and 1 as in scikit-learn.
func (c *Classes) LogLoss() float64 {
	sum := 0.0
	for i := range c.labels {
		sum += c.loss(i)
	}
	return sum / float64(c.Rows())
}

func (c *Classes) loss(i int) float64 {
	const epsilon = 0x1p-23 // of float32
	return -math.Log(min(max(float64(c.scores[i*c.n+c.labels[i]]), epsilon), 1-epsilon))
}

// AUC returns the mean of the classes' AUC, each against the rest, whatever their
// rows. The error is ErrOneClass if no row, or every row, is of a class.
func (c *Classes) AUC() (float64, error) {
	sum := 0.0
	scores, is := make([]float32, c.Rows()), make([]bool, c.Rows())
	for k := range c.n {
		for i, l := range c.labels {
			scores[i], is[i] = c.scores[i*c.n+k], l == k
		}
		r, err := Rank(scores, is)
		if err != nil {
			return 0, fmt.Errorf("class %d: %w", k, err)
		}
		sum += r.AUC()
	}
	return sum / float64(c.n), nil
}

// Metric returns the metric of that name.
func (c *Classes) Metric(name string) (float64, error) {
	switch name {
	case "log_loss":
		return c.LogLoss(), nil
	case "accuracy":
		return c.Accuracy(), nil
	case "macro_f1":
		return c.MacroF1(), nil
	case "auc":
		return c.AUC()
	}
	return 0, fmt.Errorf("unknown metric %q of several classes", name)
}

// Gain returns how much smaller a row's log loss is on average than that of a guess
// that knows only how frequent the classes are among these rows.
func (c *Classes) Gain() Gain { return meanGain(c.gains()) }

// gains are those of the rows.
func (c *Classes) gains() []float64 {
	out := make([]float64, c.Rows())
	for i, l := range c.labels {
		out[i] = -math.Log(share(c.counts[l], c.Rows())) - c.loss(i)
	}
	return out
}

// Gain is a mean over rows with the bounds of its 95 % interval.
type Gain struct{ Mean, Low, High float64 }

// moments sum up numbers by Welford's method.
type moments struct {
	n        int
	mean, m2 float64
}

func (m *moments) add(x float64) {
	m.n++
	d := x - m.mean
	m.mean += d / float64(m.n)
	m.m2 += d * (x - m.mean)
}

func meanGain(rows []float64) Gain {
	var m moments
	for _, x := range rows {
		m.add(x)
	}
	return m.gain()
}

// gain is the mean with 1.96 times its standard error to either side.
func (m *moments) gain() Gain {
	if m.n < 2 {
		return Gain{m.mean, math.Inf(-1), math.Inf(1)}
	}
	margin := normal * math.Sqrt(m.m2/float64(m.n-1)/float64(m.n))
	return Gain{m.mean, m.mean - margin, m.mean + margin}
}
