package dataset

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Threshold is the rule by which the decision threshold is chosen on the
// validation rows. Exactly one field is set in a binary task, none in another.
type Threshold struct {
	Maximize  string   `yaml:"maximize"`  // "f1" or "youden" (recall + specificity - 1)
	Recall    *float64 `yaml:"recall"`    // the highest threshold with at least this recall
	Precision *float64 `yaml:"precision"` // the lowest threshold with at least this precision
	Cost      *Cost    `yaml:"cost"`      // the threshold with the least cost
	Fixed     *float64 `yaml:"fixed"`
}

// Cost is what a wrong label costs, in any unit.
type Cost struct {
	FalsePositive float64 `yaml:"false_positive"`
	FalseNegative float64 `yaml:"false_negative"`
}

// Rules returns how many rules the threshold has.
func (t Threshold) Rules() int {
	n := 0
	for _, set := range []bool{t.Maximize != "", t.Recall != nil, t.Precision != nil, t.Cost != nil, t.Fixed != nil} {
		if set {
			n++
		}
	}
	return n
}

// Weights say how much a row counts in training. Figures count every row once.
type Weights struct {
	Column   string `yaml:"column"`   // of numbers from 0 on; a row without one counts 1
	Balanced bool   `yaml:"balanced"` // every class counts as much as another in sum
}

// Balanced is what scale_pos_weight says if positive rows should count as much as
// negative ones in sum.
const Balanced = "balanced"

// Candidate is one model to train.
type Candidate struct {
	Name          string         `yaml:"name"`
	Rounds        int            `yaml:"rounds"`         // at most
	EarlyStopping int            `yaml:"early_stopping"` // rounds without a better validation metric; 0: never
	Params        map[string]any `yaml:"params"`         // XGBoost's names; numbers, strings, booleans
}

// SearchName is the name of the candidate that a search finds.
const SearchName = "search"

// Search looks for a candidate's parameters.
type Search struct {
	Trials        int              `yaml:"trials"`         // sets of parameters that are tried
	Minutes       float64          `yaml:"minutes"`        // at most
	Seed          int              `yaml:"seed"`           // of the choice
	Rounds        int              `yaml:"rounds"`         // of each trial, at most
	EarlyStopping int              `yaml:"early_stopping"` // rounds without a better validation metric
	Space         map[string]Scope `yaml:"space"`          // by XGBoost's names
}

// Scope is what a parameter may be in a search: one of some values, or a number
// between two.
type Scope struct {
	OneOf []any    `yaml:"one_of"`
	From  *float64 `yaml:"from"`
	To    *float64 `yaml:"to"`
	Log   bool     `yaml:"log"` // small numbers are as likely as large ones: 0.01 to 0.1 as 0.1 to 1
}

// Whole reports whether a parameter is a whole number.
func Whole(parameter string) bool { return parameters[parameter].whole }

func (s *Search) candidate() *Candidate {
	return &Candidate{Name: SearchName, Rounds: s.Rounds, EarlyStopping: s.EarlyStopping, Params: map[string]any{}}
}

// Names returns the candidates' names: those that are listed, then the one that is
// searched for.
func (s *Spec) Names() []string {
	var names []string
	for _, c := range s.Candidates {
		names = append(names, c.Name)
	}
	if s.Search != nil {
		names = append(names, SearchName)
	}
	return names
}

// defaultSpace is where a search looks if the spec does not say.
func defaultSpace() map[string]Scope {
	between := func(from, to float64, log bool) Scope { return Scope{From: &from, To: &to, Log: log} }
	return map[string]Scope{
		"eta":              between(0.01, 0.2, true),
		"max_depth":        between(2, 8, false),
		"min_child_weight": between(1, 50, true),
		"colsample_bytree": between(0.3, 1, false),
		"subsample":        between(0.6, 1, false),
		"lambda":           between(0.1, 10, true),
	}
}

func (c *checker) threshold(s *Spec) {
	t := s.Threshold
	if t.Maximize != "" && t.Maximize != "f1" && t.Maximize != "youden" {
		c.bad(at("threshold", "maximize"), "maximize %q is not known; it can be: f1, youden", t.Maximize)
	}
	for name, v := range map[string]*float64{"recall": t.Recall, "precision": t.Precision, "fixed": t.Fixed} {
		if v != nil && !(*v > 0 && *v < 1) {
			c.bad(at("threshold", name), "threshold.%s is %g, not between 0 and 1", name, *v)
		}
	}
	if t.Cost != nil {
		for name, v := range map[string]float64{"false_positive": t.Cost.FalsePositive, "false_negative": t.Cost.FalseNegative} {
			if !(v > 0 && finite(v)) {
				c.bad(at("threshold", "cost", name), "threshold.cost.%s is %g; say what such a mistake costs, a number above 0", name, v)
			}
		}
	}
	switch {
	case s.Task != Binary && t.Rules() > 0:
		c.bad(at("threshold"), "threshold goes with task: binary")
	case s.Task == Binary && t.Rules() != 1 && c.sound(at("threshold"), "maximize", "recall", "precision", "cost", "fixed"):
		c.bad(at("threshold"), "threshold has exactly one of maximize, recall, precision, cost and fixed")
	}
	if s.Samples != "" && s.Samples != "synthetic" && !s.RealSamples() {
		c.bad(at("samples"), "samples %q is not known; it can be: synthetic (made-up records), real", s.Samples)
	}
}

// weights checks how much rows count in training.
func (c *checker) weights(s *Spec) {
	if s.Weights.Balanced && s.Task == Regression {
		c.bad(at("weights", "balanced"), "balanced goes with task: binary and task: multiclass: a number has no classes")
	}
	if s.Weights.Column == "" {
		return
	}
	here := at("weights", "column")
	col := c.column(s, here, s.Weights.Column)
	if col == nil {
		return
	}
	if col.Type != Integer && col.Type != Number {
		c.bad(here, "column %q is a %s: a weight is an integer or a number", col.Name, col.Type)
		return
	}
	if col.Min == nil || *col.Min < 0 {
		c.bad(here, "column %q can be below 0; a weight can't: give the column min: 0, so that such rows are rejected", col.Name)
	}
	switch s.Weights.Column {
	case s.Target.Column, s.Key, s.Group:
		c.bad(here, "column %q is the target, the key or the group: it can't be the weight too", col.Name)
	}
	for i := range s.Features {
		if slices.Contains(s.Features[i].Columns(), s.Weights.Column) {
			c.bad(at("features", i), "column %q is the weight: it says how much a row counts and is ignored in a prediction, so it can't be a feature too", s.Weights.Column)
		}
	}
}

// maxSlices bounds the columns of slices: each is measured for every candidate.
const maxSlices = 20

func (c *checker) slices(s *Spec) {
	if len(s.Slices) > maxSlices {
		c.bad(at("slices"), "slices has %d columns; at most %d", len(s.Slices), maxSlices)
	}
	for i, name := range s.Slices {
		here := at("slices", i)
		col := c.column(s, here, name)
		switch {
		case col == nil:
		case col.Type == Date:
			c.bad(here, "column %q is a date: a slice is a category, a boolean or a number", name)
		case name == s.Target.Column || name == s.Key || name == s.Group:
			c.bad(here, "column %q is the target, the key or the group: its values are no slices", name)
		case slices.Contains(s.Slices[:i], name):
			c.bad(here, "column %q is there twice", name)
		}
	}
}

// search checks a search, and completes it.
func (c *checker) search(s *Spec) {
	k := s.Search
	if k == nil {
		return
	}
	if slices.ContainsFunc(s.Candidates, func(c Candidate) bool { return c.Name == SearchName }) {
		c.bad(at("search"), "a candidate is called %q, as the one that is searched for; give it another name", SearchName)
	}
	for _, n := range []struct {
		name      string
		value     *int
		byDefault int
		low, high int
	}{{"trials", &k.Trials, 20, 1, 1000}, {"rounds", &k.Rounds, 1500, 1, 100000}, {"early_stopping", &k.EarlyStopping, 50, 1, 100000}, {"seed", &k.Seed, 0, 0, 1 << 30}} {
		if *n.value == 0 {
			*n.value = n.byDefault
		}
		if *n.value < n.low || *n.value > n.high {
			c.bad(at("search", n.name), "search.%s is %d; it can be from %d to %d", n.name, *n.value, n.low, n.high)
		}
	}
	if k.Minutes == 0 {
		k.Minutes = 5
	}
	if !(k.Minutes > 0 && k.Minutes <= 110) { // the step itself ends after two hours
		c.bad(at("search", "minutes"), "search.minutes is %g; it can be above 0 and at most 110", k.Minutes)
	}
	if len(k.Space) == 0 {
		k.Space = defaultSpace()
	}
	for _, name := range slices.Sorted(maps.Keys(k.Space)) {
		c.scope(s, name, k.Space[name])
	}
}

func (c *checker) scope(s *Spec, name string, scope Scope) {
	here := at("search", "space", name)
	between := scope.From != nil || scope.To != nil
	switch {
	case between == (len(scope.OneOf) > 0) || between && (scope.From == nil || scope.To == nil):
		c.bad(here, "%s takes one_of, or from and to", name)
		return
	case scope.Log && !between:
		c.bad(here, "%s: log goes with from and to", name)
		return
	case between && !(*scope.From < *scope.To):
		c.bad(here, "%s: from %g is not below to %g", name, *scope.From, *scope.To)
		return
	case scope.Log && !(*scope.From > 0):
		c.bad(here, "%s: with log, from has to be above 0", name)
		return
	}
	values := scope.OneOf
	if between {
		if parameters[name].words != nil || name == "objective" {
			c.bad(here, "%s is a word: it takes one_of", name)
			return
		}
		values = []any{*scope.From, *scope.To}
	}
	for _, v := range values {
		c.parameter(s, here, name, v)
	}
}

// parameter checks what a candidate sets a parameter to.
func (c *checker) parameter(s *Spec, there []any, p string, v any) {
	switch {
	case p == "objective":
		c.objective(s, there, v)
		return
	case p == "scale_pos_weight" && s.Task != Binary:
		c.bad(there, "scale_pos_weight goes with task: binary")
		return
	case p == "scale_pos_weight" && s.Weights.Balanced:
		c.bad(there, "weights says balanced: with scale_pos_weight the classes would be weighed twice")
		return
	case p == "scale_pos_weight" && v == Balanced:
		return
	}
	rule, known := parameters[p]
	if !known {
		if other := aliases[p]; other != "" {
			c.bad(there, "parameter %q is called %q here", p, other)
		} else {
			c.bad(there, "parameter %q can't be set here; these can: %s%s", p, strings.Join(Parameters(), ", "), meant(p, Parameters()))
		}
		return
	}
	if err := rule.check(v); err != "" {
		if p == "scale_pos_weight" {
			err = fmt.Sprintf("%s, or %s", err, Balanced)
		}
		c.bad(there, "parameter %s is %v; it has to be %s", p, v, err)
	}
}
