package dataset

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// parameter is what a candidate may set a parameter of XGBoost to.
type parameter struct {
	words    []string // where it is a word
	whole    bool     // where it is a whole number
	min, max float64
	above    bool // min itself is not allowed
}

// parameters are those of XGBoost that a candidate may set, with their ranges as
// XGBoost 3 documents them, but that a model which learns nothing (eta 0,
// subsample 0) is not allowed. The objective is checked by the task, see objectives;
// the metric and the threads are the trainer's.
var parameters = map[string]parameter{
	"alpha":             {max: math.Inf(1)},
	"colsample_bylevel": {max: 1, above: true},
	"colsample_bynode":  {max: 1, above: true},
	"colsample_bytree":  {max: 1, above: true},
	"eta":               {max: 1, above: true},
	"gamma":             {max: math.Inf(1)},
	"grow_policy":       {words: []string{"depthwise", "lossguide"}},
	"lambda":            {max: math.Inf(1)},
	"max_bin":           {whole: true, min: 2, max: 65536},
	"max_cat_threshold": {whole: true, min: 1, max: math.MaxInt32},
	"max_cat_to_onehot": {whole: true, min: 1, max: math.MaxInt32},
	"max_delta_step":    {max: math.Inf(1)},
	"max_depth":         {whole: true, max: 64},
	"max_leaves":        {whole: true, max: math.MaxInt32},
	"min_child_weight":  {max: math.Inf(1)},
	"num_parallel_tree": {whole: true, min: 1, max: 10000},
	"sampling_method":   {words: []string{"uniform"}},
	"scale_pos_weight":  {max: math.Inf(1), above: true},
	"seed":              {whole: true, max: math.MaxInt32},
	"subsample":         {max: 1, above: true},
	"tree_method":       {words: []string{"auto", "exact", "approx", "hist"}},
}

// aliases are XGBoost's other names.
var aliases = map[string]string{
	"learning_rate": "eta", "min_split_loss": "gamma", "reg_lambda": "lambda", "reg_alpha": "alpha", "random_state": "seed", "random_seed": "seed",
}

// Parameters returns the names of the parameters that a candidate may set.
func Parameters() []string {
	return slices.Sorted(slices.Values(append(slices.Collect(maps.Keys(parameters)), "objective")))
}

// check says what the value has to be, "" where it is that.
func (p parameter) check(value any) string {
	if p.words != nil {
		if text, ok := value.(string); ok && slices.Contains(p.words, text) {
			return ""
		}
		return "one of " + strings.Join(p.words, ", ")
	}
	x, ok := 0.0, false
	switch v := value.(type) {
	case int:
		x, ok = float64(v), true
	case int64:
		x, ok = float64(v), true
	case float64:
		x, ok = v, true
	case string: // a number in quotes
		x, ok = ParseNumber([]byte(v))
	}
	if ok && finite(x) && x >= p.min && x <= p.max && !(p.above && x == p.min) && !(p.whole && x != math.Trunc(x)) {
		return ""
	}
	what := "a number"
	if p.whole {
		what = "a whole number"
	}
	switch {
	case math.IsInf(p.max, 1) && p.above:
		return fmt.Sprintf("%s above %g", what, p.min)
	case math.IsInf(p.max, 1), p.max == math.MaxInt32:
		return fmt.Sprintf("%s from %g on", what, p.min)
	case p.above:
		return fmt.Sprintf("%s above %g and at most %g", what, p.min, p.max)
	}
	return fmt.Sprintf("%s from %g to %g", what, p.min, p.max)
}
