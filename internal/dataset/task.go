package dataset

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Tasks: what a spec's task says.
const (
	Binary     = "binary"     // one outcome or the other: target.positive says which values are the one
	Multiclass = "multiclass" // one of several classes: target.classes lists them
	Regression = "regression" // a number
)

// Tasks are all of them.
var Tasks = []string{Binary, Multiclass, Regression}

const (
	minClasses = 3   // of a multiclass target; two are a binary one
	maxClasses = 200 // each has trees of its own in every round
)

// metric is one that a spec may name.
type metric struct {
	name   string
	lower  bool   // less is better
	decide bool   // it may come first, and so decides promotion
	rounds string // XGBoost's metric that compares rounds of boosting where it comes first
}

// metrics are those of each task. The rounds are compared by the metric itself where
// XGBoost has it, else by the nearest: R² rises as RMSE falls, and XGBoost has no F1.
var metrics = map[string][]metric{
	Binary: {
		{name: "auc", decide: true, rounds: "auc"},
		{name: "average_precision", decide: true, rounds: "aucpr"},
		{name: "precision"}, {name: "recall"}, {name: "accuracy"}, {name: "f1"},
		{name: "log_loss", lower: true},
	},
	Multiclass: {
		{name: "log_loss", lower: true, decide: true, rounds: "mlogloss"},
		{name: "accuracy", decide: true, rounds: "merror"},
		{name: "macro_f1", decide: true, rounds: "mlogloss"},
		{name: "auc", decide: true, rounds: "auc"},
	},
	Regression: {
		{name: "rmse", lower: true, decide: true, rounds: "rmse"},
		{name: "mae", lower: true, decide: true, rounds: "mae"},
		{name: "r2", decide: true, rounds: "rmse"},
	},
}

// defaultMetrics are those of a spec that names none.
var defaultMetrics = map[string][]string{
	Binary:     {"auc", "average_precision", "precision", "recall", "accuracy"},
	Multiclass: {"log_loss", "accuracy", "macro_f1", "auc"},
	Regression: {"rmse", "mae", "r2"},
}

// DefaultMetrics returns the names of the metrics of a spec that names none.
func DefaultMetrics(task string) []string { return defaultMetrics[task] }

// Metrics returns the names of the metrics of a task.
func Metrics(task string) []string {
	var names []string
	for _, m := range metrics[task] {
		names = append(names, m.name)
	}
	return names
}

func metricOf(task, name string) metric {
	i := slices.IndexFunc(metrics[task], func(m metric) bool { return m.name == name })
	if i < 0 {
		return metric{}
	}
	return metrics[task][i]
}

// Better reports whether a value of the first metric, which decides promotion, is
// better than another.
func (s *Spec) Better(a, b float64) bool {
	if metricOf(s.Task, s.Metrics[0]).lower {
		return a < b
	}
	return a > b
}

// RoundMetric returns XGBoost's name of the metric by which the rounds of boosting
// are compared on the validation rows, where these are many.
func (s *Spec) RoundMetric() string { return metricOf(s.Task, s.Metrics[0]).rounds }

// LossMetric returns XGBoost's name of the loss by which rounds are compared on few
// validation rows, where an order or a share of rows changes by leaps.
func (s *Spec) LossMetric() string {
	switch s.Task {
	case Binary:
		return "logloss"
	case Multiclass:
		return "mlogloss"
	}
	return s.RoundMetric()
}

// objectives are XGBoost's of each task; the first is the one of a candidate that
// names none.
var objectives = map[string][]string{
	Binary:     {"binary:logistic"},
	Multiclass: {"multi:softprob"},
	Regression: {"reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "count:poisson", "reg:gamma", "reg:tweedie"},
}

// Objective returns XGBoost's objective of a candidate.
func (s *Spec) Objective(c *Candidate) string {
	o, _ := c.Params["objective"].(string)
	return cmp.Or(o, objectives[s.Task][0])
}

// LeastTarget returns the least value of the target that an objective takes, and
// whether that value itself is taken; ok is false if it takes any.
func LeastTarget(objective string) (least float64, itself, ok bool) {
	switch objective {
	case "count:poisson", "reg:tweedie":
		return 0, true, true
	case "reg:gamma":
		return 0, false, true
	}
	return 0, false, false
}

// defaultInterval is the coverage of a regression's intervals where the spec does
// not say.
const defaultInterval Percent = 90

// Coverage returns the share of values that a regression's intervals should hold.
func (s *Spec) Coverage() Percent {
	if s.Interval == nil {
		return defaultInterval
	}
	return *s.Interval
}

// task checks what depends on the task, and takes in the classes.
func (c *checker) task(s *Spec) {
	if s.Task == "" {
		s.Task = Binary
	}
	if !slices.Contains(Tasks, s.Task) {
		c.bad(at("task"), "task %q is not known; it can be: %s%s", s.Task, strings.Join(Tasks, ", "), meant(s.Task, Tasks))
		s.Task = Binary
	}
	if s.Interval != nil && s.Task != Regression {
		c.bad(at("interval"), "interval goes with task: regression")
	}
	if s.Interval != nil && !(*s.Interval >= 50 && *s.Interval <= 99) {
		c.bad(at("interval"), "interval is %s; it can be from 50%% to 99%%", *s.Interval)
	}
}

// classes checks the target of a task of several classes.
func (c *checker) classes(s *Spec) {
	t := &s.Target
	col := &s.Columns[s.Column(t.Column)]
	if col.Type == Date || col.Type == Number {
		c.bad(at("target", "column"), "column %q is a %s: a class is a category, an integer or a boolean; read it as type: category, or say task: regression", t.Column, col.Type)
		return
	}
	c.values(s, at("target", "classes"), t.Column, t.Classes)
	if n := len(t.Classes); n < minClasses || n > maxClasses {
		remedy := ""
		if n == 2 {
			remedy = "; with two, say task: binary and which of them is positive"
		}
		c.bad(at("target", "classes"), "target.classes has %d values; list all that the model tells apart, %d to %d%s", n, minClasses, maxClasses, remedy)
	}
	t.index = make(map[string]int, len(t.Classes))
	for i, v := range t.Classes {
		if _, twice := t.index[v]; twice {
			c.bad(at("target", "classes", i), "class %q is there twice", v)
		}
		t.index[v] = i
	}
	col.takeOnly(t.Classes)
}

// takeOnly lists the values of a target. A row with another can't be cleaned: training
// would know nothing to do with it. What the cohort leaves out never gets there.
func (c *Column) takeOnly(lists ...[]string) {
	c.only = map[string]bool{}
	for _, v := range slices.Concat(lists...) {
		c.only[v] = true
	}
	for v := range c.excluded {
		c.only[v] = true
	}
}

// class is Value of a column that takes some values only.
func (s *Spec) class(column int, field []byte) ([]byte, error) {
	v, err := s.value(column, field)
	if err == nil && v != nil && !s.Columns[column].only[string(v)] {
		return nil, wrong(field, "none of the target's values")
	}
	return v, err
}

// Only returns the values that a column takes besides the missing one, sorted; nil
// if it takes any. Such a column is a target whose values the spec lists.
func (c *Column) Only() []string {
	if c.only == nil {
		return nil
	}
	all := make([]string, 0, len(c.only))
	for v := range c.only {
		all = append(all, v)
	}
	slices.Sort(all)
	return all
}

// Label returns what a row's target is to the model, and whether the row has one: 1
// or 0 of a binary task, the number of the class, or the value itself.
func (s *Spec) Label(fields [][]byte) (label float32, known bool) {
	v := fields[s.columns[s.Target.Column]]
	if v == nil {
		return 0, false
	}
	switch s.Task {
	case Multiclass:
		i, ok := s.Target.index[string(v)]
		return float32(i), ok
	case Regression:
		x, ok := ParseNumber(v)
		return float32(x), ok
	}
	if slices.Contains(s.Target.Positive, string(v)) {
		return 1, true
	}
	return 0, true
}

// Word is a label in words for people.
func (s *Spec) Word(label float32) string {
	switch s.Task {
	case Multiclass:
		return s.Target.Classes[int(label)]
	case Regression:
		return strconv.FormatFloat(float64(label), 'g', 6, 32)
	}
	if label == 1 {
		return s.Target.Labels.Positive
	}
	return s.Target.Labels.Negative
}

// metricNames lists the metrics for an error.
func metricNames(task string, decide bool) string {
	var names []string
	for _, m := range metrics[task] {
		if !decide || m.decide {
			names = append(names, m.name)
		}
	}
	return strings.Join(names, ", ")
}

// objective checks a candidate's objective.
func (c *checker) objective(s *Spec, where []any, value any) {
	allowed := objectives[s.Task]
	if text, ok := value.(string); !ok || !slices.Contains(allowed, text) {
		c.bad(where, "objective is %v; for task: %s it can be: %s%s", value, s.Task, strings.Join(allowed, ", "), meant(fmt.Sprint(value), allowed))
	}
}
