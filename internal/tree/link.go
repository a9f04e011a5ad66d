package tree

import "math"

// link is how margins become what a model predicts: the inverse of the link
// function of its objective.
type link int

const (
	identity    link = iota
	logistic         // probabilities
	exponential      // counts and other positive values
	softmax          // probabilities of classes that exclude each other

	oneVersusRest // probabilities of classes, each against all others; LightGBM's
	squareRoot    // the square, with the margin's sign; LightGBM's
)

// Scale is what a model's margins, and the contributions to them, are measured in.
type Scale string

// Scales.
const (
	LogOdds Scale = "log-odds" // of a probability
	Log     Scale = "log"      // the logarithm of the value
	Score   Scale = "score"    // of a class: of two, the one with the higher score is more probable
	Value   Scale = "value"    // the value itself
	Root    Scale = "root"     // of the value: it is the square, with the same sign
)

// Scale returns the scale of the model's margins.
func (m *Model) Scale() Scale {
	switch m.link {
	case logistic, oneVersusRest:
		return LogOdds
	case squareRoot:
		return Root
	case exponential:
		return Log
	case softmax:
		return Score
	}
	return Value
}

// links are the objectives that are read. multi:softmax is not one of them: it
// predicts the number of a class, which forgets how sure the model is.
var links = map[string]link{
	"binary:logistic":      logistic,
	"reg:logistic":         logistic,
	"binary:logitraw":      identity,
	"multi:softprob":       softmax,
	"reg:squarederror":     identity,
	"reg:squaredlogerror":  identity,
	"reg:absoluteerror":    identity,
	"reg:pseudohubererror": identity,
	"reg:quantileerror":    identity,
	"count:poisson":        exponential,
	"reg:gamma":            exponential,
	"reg:tweedie":          exponential,
}

// apply turns margins into predictions in place, in XGBoost's float32 steps.
// Softmax goes over outputs numbers at a time.
func (l link) apply(margins []float32, outputs int) {
	switch l {
	case logistic:
		for i, m := range margins {
			margins[i] = sigmoid(m)
		}
	case exponential:
		for i, m := range margins {
			margins[i] = exp(m)
		}
	case softmax:
		for ; len(margins) > 0; margins = margins[outputs:] {
			softmaxOf(margins[:outputs])
		}
	}
}

// sigmoid is XGBoost's (src/common/math.h), in its float32 steps.
func sigmoid(margin float32) float32 {
	e := float32(math.Exp(float64(min(-margin, 88.7))))
	return 1 / (e + 1)
}

func exp(x float32) float32 { return float32(math.Exp(float64(x))) }

// softmaxOf is XGBoost's (src/common/math.h): the sum is in float64.
func softmaxOf(margins []float32) {
	most := margins[0]
	for _, m := range margins[1:] {
		most = max(most, m)
	}
	sum := 0.0
	for i, m := range margins {
		margins[i] = exp(m - most)
		sum += float64(margins[i])
	}
	for i := range margins {
		margins[i] /= float32(sum)
	}
}

// base turns a base_score into a margin, in the float32 steps that XGBoost takes;
// ok is false if it is not in the range of the objective's predictions.
func (l link) base(score float32) (margin float32, ok bool) {
	switch l {
	case logistic:
		if !(score >= 0 && score <= 1) {
			return 0, false
		}
		q := min(max(score, minBase), 1-float32(minBase))
		return -float32(math.Log(float64(1/q - 1))), true
	case exponential:
		return float32(math.Log(float64(score))), score > 0 && !math.IsInf(float64(score), 0)
	}
	x := float64(score)
	return score, !math.IsNaN(x) && !math.IsInf(x, 0)
}
