package dataset

import (
	"fmt"
	"strings"
	"testing"
)

// of is a spec of a task with more of its keys.
func of(task, target, more string) string {
	return fmt.Sprintf(`name: things
model: things
task: %s
columns:
  - {name: a, type: number}
  - {name: kind, type: category}
  - {name: n, type: integer}
target: %s
split: {salts: [s], train: 60, validation: 20, test: 20}
features: [{number: a}]
%s
`, task, target, more)
}

const one = "candidates: [{name: one, rounds: 5}]"

func TestTasks(t *testing.T) {
	t.Parallel()
	classes, err := Parse([]byte(of("multiclass", "{column: n, classes: [3, 1, 2.0]}", one)))
	if err != nil {
		t.Fatal(err)
	}
	value, err := Parse([]byte(of("regression", "{column: n}", one)))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		spec  *Spec
		field string
		label float32
		bad   bool
	}{{classes, "3", 0, false}, {classes, "1.0", 1, false}, {classes, "2", 2, false}, {classes, "4", 0, true}, {value, "4", 4, false}} {
		v, err := test.spec.Cell(2, []byte(test.field))
		if (err != nil) != test.bad {
			t.Errorf("%s of %s: %v", test.field, test.spec.Task, err)
		}
		if label, known := test.spec.Label([][]byte{nil, nil, v}); !test.bad && (!known || label != test.label) {
			t.Errorf("%s of %s is label %v, %v; want %v", test.field, test.spec.Task, label, known, test.label)
		}
	}
	if !value.Better(1, 2) || classes.Better(2, 1) || value.RoundMetric() != "rmse" || classes.RoundMetric() != "mlogloss" {
		t.Error("of log_loss and rmse less is better")
	}
}

func TestTaskMistakes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, want string }{
		{of("clustering", "{column: kind}", one), `line 3: task "clustering" is not known; it can be: binary, multiclass, regression`},
		{of("multiclass", "{column: kind}", one), "target.classes has 0 values"},
		{of("multiclass", "{column: kind, classes: [x, y]}", one), "say task: binary"},
		{of("multiclass", "{column: kind, classes: [x, y, x]}", one), `line 8: class "x" is there twice`},
		{of("multiclass", "{column: kind, classes: [x, y, z], positive: [x]}", one), "positive goes with task: binary"},
		{of("multiclass", "{column: a, classes: [1, 2, 3]}", one), "say task: regression"},
		{of("multiclass", "{column: kind, classes: [x, y, z]}", one+"\nthreshold: {fixed: 0.5}"), "threshold goes with task: binary"},
		{of("multiclass", "{column: kind, classes: [x, y, z]}", one+"\nmetrics: [rmse]"), `metric "rmse" is not known for task: multiclass`},
		{of("regression", "{column: kind}", one), "a regression predicts a column of type integer or number"},
		{of("regression", "{column: n, classes: [1, 2, 3]}", one), "classes go with task: multiclass"},
		{of("regression", "{column: n}", one+"\ninterval: 100%"), "interval is 100%"},
		{of("multiclass", "{column: kind, classes: [x, y, z]}", one+"\ninterval: 90%"), "interval goes with task: regression"},
		{of("regression", "{column: n}", "candidates: [{name: one, rounds: 5, params: {objective: multi:softprob}}]"), "objective is multi:softprob; for task: regression it can be"},
		{of("regression", "{column: n}", "candidates: [{name: one, rounds: 5, params: {scale_pos_weight: 2}}]"), "scale_pos_weight goes with task: binary"},
	} {
		if _, err := Parse([]byte(test.text)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("got %v, want %q", err, test.want)
		}
	}
}

// A spec that lists both outcomes takes no third: a later file may write 1 for yes.
func TestBothOutcomes(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		`{column: kind, positive: ["yes"], negative: ["no"]}`:  "none of the target's values",
		`{column: kind, positive: ["yes"]}`:                    "<nil>",
		`{column: kind, positive: ["yes"], negative: ["yes"]}`: "is positive and negative",
	} {
		s, err := Parse([]byte(of("binary", target, "threshold: {fixed: 0.5}\n"+one)))
		if err == nil {
			_, err = s.Value(s.Column("kind"), []byte("1"))
		}
		if got := fmt.Sprint(err); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %q", target, got, want)
		}
	}
	if _, err := Parse([]byte(of("regression", "{column: n, negative: [1]}", one))); err == nil || !strings.Contains(err.Error(), "negative goes with task: binary") {
		t.Errorf("a regression with negative values: %v", err)
	}
}
