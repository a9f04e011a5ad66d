package promote_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/dataset"
	"mlops/internal/evaluate"
	"mlops/internal/promote"
	"mlops/internal/registry"
)

const small = `name: things
title: Things
model: things
task: binary
columns:
  - {name: a, type: integer}
  - {name: kind, type: category}
  - {name: good, type: category}
target: {column: good, positive: ["yes", "maybe"]}
cohort:
  - {column: kind, values: [dead, gone], because: nothing is to be predicted}
split: {salts: [s1], train: 60, validation: 20, test: 20}
features: [{number: a}]
threshold: {maximize: f1}
metrics: [auc]
candidates: [{name: one, rounds: 5}]
`

func parse(t *testing.T, oldNew ...string) *dataset.Spec {
	t.Helper()
	spec, err := dataset.Parse([]byte(strings.NewReplacer(oldNew...).Replace(small)))
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// scored is a candidate with that metric, which is also its AUC, surely better
// than chance.
func scored(number int, metric float64) promote.Contender {
	return promote.Contender{
		Version:   registry.Version{Name: "things", Number: number, Candidate: fmt.Sprint("c", number)},
		Candidate: true,
		Metric:    metric,
		Skill:     evaluate.Skill{What: "AUC", Value: metric, Low: metric - 0.01, High: metric + 0.01, Guess: 0.5},
	}
}

// outsider is the champion where it is not of this training.
func outsider(c promote.Contender, outcome registry.Outcome) promote.Contender {
	c.Candidate, c.Version.Outcome, c.Version.Reason = false, outcome, "as it was"
	return c
}

func interval(c promote.Contender, low, high float64) promote.Contender {
	c.Skill.Low, c.Skill.High = low, high
	return c
}

// paired compares each contender with the champion, on draws that all say the same.
func paired(champion int, contenders []promote.Contender) []promote.Contender {
	for i := range contenders {
		for _, c := range contenders {
			e := &contenders[i]
			if c.Version.Number != champion || c.Unusable != nil || e.Version.Number == champion || e.Against != nil {
				continue
			}
			gain := e.Metric - c.Metric
			e.Against = &promote.Against{Gain: gain, Low: gain, High: gain, Draws: 1000, Groups: 90}
			if gain > 0 {
				e.Against.Better = 1
			}
		}
	}
	return contenders
}

// better sets in what share of the draws a contender is better than the champion.
func better(c promote.Contender, share float64) promote.Contender {
	c.Against = &promote.Against{Gain: 0.01, Low: -0.005, High: 0.02, Better: share, Draws: 1000, Groups: 90}
	return c
}

// inSlice is a candidate that gains in all, and is worse in a slice in that share of
// the draws.
func inSlice(c promote.Contender, worse float64) promote.Contender {
	c = better(c, 1)
	c.Against.Slices = []promote.SliceGain{{Column: "kind", Level: "x", Rows: 200, Gain: 0.01}, {Column: "kind", Level: "y", Rows: 60, Gain: -0.05, Worse: worse}}
	return c
}

// off has predictions that are off by a share of the target's standard deviation.
func off(c promote.Contender, share, sure float64) promote.Contender {
	c.Reliability = evaluate.Reliability{Off: share / 2, Share: share, Sure: sure}
	return c
}

func loose(c promote.Contender) promote.Contender {
	c.Loose = "its rows are weighted"
	return c
}

// saved is what the log loss of a contender is below a constant's.
func saved(c promote.Contender, x float64) promote.Contender {
	c.Constant = &evaluate.Gain{Mean: x, Low: x - 0.01, High: x + 0.01}
	return c
}

func unusable(c promote.Contender) promote.Contender {
	c.Unusable = fmt.Errorf("version %d is broken", c.Version.Number)
	return c
}

func rolledBack(c promote.Contender) promote.Contender {
	c.Version.Outcome, c.Version.Reason = registry.RolledBack, "rolled back to version 1: complaints"
	return c
}

// Nothing is promoted while the champion is pinned, however good; the rest is as
// ever.
func TestDecidePinned(t *testing.T) {
	t.Parallel()
	spec := parse(t)
	c := promote.Comparison{Spec: spec, Rows: 100, Pinned: "an audit", Champion: registry.Version{Name: "things", Number: 1}, ChampionSpec: spec,
		Contenders: paired(1, []promote.Contender{scored(2, 0.8), outsider(scored(1, 0.7), registry.Promoted)})}
	d := promote.Decide(c)
	if d.Version != 1 || d.Promoted || d.Err != nil {
		t.Errorf("version %d, promoted %v, %v; want version 1 to stay", d.Version, d.Promoted, d.Err)
	}
	contains(t, "reason", d.Reason, "version 1 in production is pinned (an audit)", "version 2 (c2) with 0.8 is the best")
	c.Champion, c.ChampionSpec, c.Contenders = registry.Version{}, nil, c.Contenders[:1]
	if d := promote.Decide(c); !d.Promoted || d.Version != 2 {
		t.Errorf("with nothing in production: version %d, promoted %v; want version 2", d.Version, d.Promoted)
	}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	const promoted, replaced, lost, refused, rolled = registry.Promoted, registry.Replaced, registry.Lost, registry.Refused, registry.RolledBack
	for _, test := range []struct {
		name       string
		champion   int
		contenders []promote.Contender
		version    int
		promoted   bool
		outcomes   map[int]registry.Outcome
		says       []string // of the reason
		refused    bool
		fails      bool
	}{
		{"the first", 0, []promote.Contender{scored(1, 0.6), scored(2, 0.7)},
			2, true, map[int]registry.Outcome{1: lost, 2: promoted}, []string{"promoted: version 2 (c2) with 0.7 is the best", "by auc on 100 validation rows", "nothing was in production"}, false, false},
		{"of equal candidates the oldest", 0, []promote.Contender{scored(1, 0.7), scored(2, 0.7)},
			1, true, map[int]registry.Outcome{1: promoted, 2: lost}, nil, false, false},
		{"of equal candidates the one in production", 2, []promote.Contender{scored(1, 0.7), scored(2, 0.7)},
			2, false, map[int]registry.Outcome{1: lost, 2: promoted}, []string{"in production: version 2", "still the best"}, false, false},
		{"better than the champion", 1, []promote.Contender{scored(2, 0.8), scored(3, 0.75), outsider(scored(1, 0.7), promoted)},
			2, true, map[int]registry.Outcome{1: replaced, 2: promoted, 3: lost}, []string{"version 2 (c2) with 0.8 is better than version 1", "same 100 validation rows"}, false, false},
		{"no better than the champion", 1, []promote.Contender{scored(2, 0.7), outsider(scored(1, 0.7), promoted)},
			1, false, map[int]registry.Outcome{1: promoted, 2: lost}, []string{"not promoted: version 2 (c2) with 0.7 is no better than version 1 (c1) with 0.7 in production"}, false, false},
		{"the champion can't be scored", 1, []promote.Contender{scored(2, 0.6), unusable(outsider(scored(1, 0), promoted))},
			2, true, map[int]registry.Outcome{2: promoted}, []string{"version 1, in production until now, can't be scored: version 1 is broken"}, false, false},
		{"the best candidate can't be served", 0, []promote.Contender{unusable(scored(1, 0)), scored(2, 0.6)},
			2, true, map[int]registry.Outcome{1: refused, 2: promoted}, nil, false, false},
		{"one that was rolled back can't be served", 2, []promote.Contender{unusable(rolledBack(scored(1, 0))), scored(3, 0.8), outsider(scored(2, 0.6), promoted)},
			2, false, map[int]registry.Outcome{2: promoted, 3: lost}, []string{"in production: version 2", "version 1 (c1) was rolled back, and nothing of that training is promoted"}, false, false},
		{"no candidate can be served", 3, []promote.Contender{unusable(scored(1, 0)), outsider(scored(3, 0.6), promoted)},
			3, false, map[int]registry.Outcome{1: refused, 3: promoted}, []string{"none of the 1 candidates", "version 1 is broken"}, false, true},
		{"a champion whose promotion was cut short", 1, []promote.Contender{scored(2, 0.6), outsider(scored(1, 0.7), "")},
			1, false, map[int]registry.Outcome{1: promoted, 2: lost}, nil, false, false},

		{"one that was rolled back is not promoted again", 1, []promote.Contender{rolledBack(scored(2, 0.8)), outsider(scored(1, 0.7), promoted)},
			1, false, map[int]registry.Outcome{1: promoted, 2: rolled}, []string{"in production: version 1", "version 2 (c2) with 0.8 was rolled back, and nothing of that training is promoted"}, false, false},
		{"nor another of that training", 1, []promote.Contender{rolledBack(scored(2, 0.8)), scored(3, 0.75), outsider(scored(1, 0.7), promoted)},
			1, false, map[int]registry.Outcome{1: promoted, 2: rolled, 3: lost}, []string{"in production: version 1", "nothing of that training is promoted"}, false, false},
		{"a rollback that was cut short", 2, []promote.Contender{rolledBack(scored(2, 0.8)), outsider(scored(1, 0.7), replaced)},
			2, false, map[int]registry.Outcome{1: lost, 2: promoted}, []string{"in production: version 2", "still the best"}, false, false},
		{"rolled back, and what replaced it can't be scored", 1, []promote.Contender{rolledBack(scored(2, 0.8)), unusable(outsider(scored(1, 0), promoted))},
			1, false, map[int]registry.Outcome{2: rolled}, []string{"version 1 in production can't be scored", "version 2 (c2) with 0.8, the best candidate, was rolled back", "mlops rollback -to N"}, false, true},

		{"better, but not surely", 1, []promote.Contender{better(scored(2, 0.71), 0.949), outsider(scored(1, 0.7), promoted)},
			1, false, map[int]registry.Outcome{1: promoted, 2: lost}, []string{"not promoted: version 2 (c2) with 0.71 is not surely better than version 1 (c1) with 0.7 in production", "the gain is +0.01, 95 % interval -0.005 to +0.02", "better in 94.9 % of 1000 draws of 90 groups, 95 % are asked for"}, false, false},
		{"just surely better", 1, []promote.Contender{better(scored(2, 0.71), 0.95), outsider(scored(1, 0.7), promoted)},
			2, true, map[int]registry.Outcome{1: replaced, 2: promoted}, []string{"in 95.0 % of 1000 draws"}, false, false},
		{"nobody compared them", 1, []promote.Contender{{Version: registry.Version{Number: 2}, Candidate: true, Metric: 0.8, Skill: scored(2, 0.8).Skill, Against: &promote.Against{}}, outsider(scored(1, 0.7), promoted)},
			1, false, map[int]registry.Outcome{1: promoted, 2: lost}, []string{"is not surely better"}, false, false},
		{"the second best is surely better", 1, []promote.Contender{better(scored(2, 0.72), 0.9), better(scored(3, 0.71), 0.99), outsider(scored(1, 0.7), promoted)},
			3, true, map[int]registry.Outcome{1: replaced, 2: lost, 3: promoted}, []string{"version 3 (c3) with 0.71 is better than version 1"}, false, false},

		{"worse in a slice", 1, []promote.Contender{inSlice(scored(2, 0.8), 0.95), outsider(scored(1, 0.7), promoted)},
			1, false, map[int]registry.Outcome{1: promoted, 2: lost}, []string{"not promoted: version 2 (c2) with 0.8 is surely worse in a slice than version 1 (c1)", "where kind is y (60 rows) the gain is -0.05, and it is worse by more than 0.02 in 95.0 % of the draws"}, false, false},
		{"maybe worse in a slice", 1, []promote.Contender{inSlice(scored(2, 0.8), 0.94), outsider(scored(1, 0.7), promoted)},
			2, true, map[int]registry.Outcome{1: replaced, 2: promoted}, []string{"in none of 2 slices with at least 30 rows is it surely worse by more than 0.02"}, false, false},

		{"off on average", 0, []promote.Contender{off(scored(1, 0.8), 0.4, 9)},
			0, false, map[int]registry.Outcome{1: refused}, []string{"none of the 1 candidates of things is calibrated", "too much by 0.2 on average", "40 % of the target's standard deviation, 25 % is the bound", "promote: {calibration: ...}"}, true, true},
		{"off within the bound", 0, []promote.Contender{off(scored(1, 0.8), 0.25, 9)},
			1, true, map[int]registry.Outcome{1: promoted}, nil, false, false},
		{"off, maybe by chance", 0, []promote.Contender{off(scored(1, 0.8), 0.4, 2.9)},
			1, true, map[int]registry.Outcome{1: promoted}, nil, false, false},
		{"off on purpose", 0, []promote.Contender{loose(saved(off(scored(1, 0.8), 0.4, 9), -0.1))},
			1, true, map[int]registry.Outcome{1: promoted}, nil, false, false},
		{"the best is off", 3, []promote.Contender{off(scored(1, 0.8), 0.4, 9), scored(2, 0.75), outsider(scored(3, 0.7), promoted)},
			2, true, map[int]registry.Outcome{1: refused, 2: promoted, 3: replaced}, nil, false, false},
		{"a constant is better", 0, []promote.Contender{saved(scored(1, 0.8), -0.02)},
			0, false, map[int]registry.Outcome{1: refused}, []string{"none of the 1 candidates of things is better than a constant", "below that of always saying how frequent the outcome is by -0.02, 95 % interval -0.03 to -0.01"}, true, true},
		{"maybe as good as a constant", 0, []promote.Contender{saved(scored(1, 0.8), -0.009)},
			1, true, map[int]registry.Outcome{1: promoted}, nil, false, false},
		{"each lacks something else", 0, []promote.Contender{saved(scored(1, 0.8), -0.02), off(scored(2, 0.8), 0.4, 9)},
			0, false, map[int]registry.Outcome{1: refused, 2: refused}, []string{"is fit for production"}, true, true},

		{"worse than chance", 0, []promote.Contender{interval(scored(1, 0.48), 0.4, 0.56)},
			0, false, map[int]registry.Outcome{1: refused}, []string{"refused: none of the 1 candidates of things is better than chance", "version 1 (c1)", "0.4800 on 100 validation rows", "0.4000 to 0.5600", "a guess has 0.5"}, true, true},
		{"exactly chance", 0, []promote.Contender{interval(scored(1, 0.5), 0.5, 0.5)},
			0, false, map[int]registry.Outcome{1: refused}, nil, true, true},
		{"the interval includes chance", 3, []promote.Contender{interval(scored(1, 0.55), 0.5, 0.6), interval(scored(2, 0.54), 0.49, 0.6), outsider(scored(3, 0.7), promoted)},
			3, false, map[int]registry.Outcome{1: refused, 2: refused, 3: promoted}, []string{"nearest is version 1"}, true, true},
		{"too few rows to tell", 0, []promote.Contender{interval(scored(1, 0.55), 0.45, 0.65)},
			0, false, map[int]registry.Outcome{1: refused}, []string{"a guess has 0.5, so it can't be told from chance on so few rows: if it is as good on others, about 400 validation rows would tell; check that"}, true, true},
		{"one is better than chance", 0, []promote.Contender{interval(scored(1, 0.9), 0.4, 1), scored(2, 0.6)},
			2, true, map[int]registry.Outcome{1: refused, 2: promoted}, nil, false, false},
		{"an unknown AUC", 0, []promote.Contender{interval(scored(1, 0.6), 0, 1)},
			0, false, map[int]registry.Outcome{1: refused}, nil, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			spec := parse(t)
			c := promote.Comparison{Spec: spec, Rows: 100, Contenders: paired(test.champion, test.contenders)}
			if test.champion != 0 {
				c.Champion, c.ChampionSpec = registry.Version{Name: "things", Number: test.champion}, spec
			}
			d := promote.Decide(c)
			if d.Version != test.version || d.Promoted != test.promoted {
				t.Errorf("version %d, promoted %v; want %d, %v", d.Version, d.Promoted, test.version, test.promoted)
			}
			outcomes := map[int]registry.Outcome{}
			for _, n := range d.Notes {
				outcomes[n.Version.Number] = n.Outcome
				if n.Reason == "" {
					t.Errorf("version %d has no reason", n.Version.Number)
				}
			}
			if diff := cmp.Diff(test.outcomes, outcomes); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s", diff)
			}
			contains(t, "reason", d.Reason, test.says...)
			if got := errors.Is(d.Err, promote.ErrRefused); got != test.refused || (d.Err != nil) != test.fails {
				t.Errorf("error %v, refused %v; want an error %v, refused %v", d.Err, got, test.fails, test.refused)
			}
		})
	}
}

// What stays in production keeps its reason, unless the run that promoted it
// left none.
func TestDecideKeepsTheReason(t *testing.T) {
	t.Parallel()
	for outcome, want := range map[registry.Outcome]string{
		registry.Promoted: "as it was",
		registry.Lost:     "promoted: by a run that was interrupted before it noted why; 0.7 by auc on 100 validation rows",
	} {
		spec := parse(t)
		d := promote.Decide(promote.Comparison{Spec: spec, Rows: 100, Champion: registry.Version{Name: "things", Number: 1}, ChampionSpec: spec,
			Contenders: []promote.Contender{scored(2, 0.6), outsider(scored(1, 0.7), outcome)}})
		if got := d.Notes[1].Reason; got != want {
			t.Errorf("after %q: reason %q, want %q", outcome, got, want)
		}
	}
}

// A champion that predicts something else is neither compared nor replaced.
func TestDecideRefusesAnotherQuestion(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		dataset string   // tag of the champion
		change  []string // of its spec; nil: it can't be read
		says    []string // nothing: no conflict
	}{
		{"the same", "things", []string{}, nil},
		{"other words, columns and features", "things", []string{"title: Things", "title: Objects", "because: nothing", "because: nothing at all", "rounds: 5", "rounds: 6", "metrics: [auc]", "metrics: [average_precision]"}, nil},
		{"the same in another order", "things", []string{`["yes", "maybe"]`, `["maybe", "yes"]`, "values: [dead, gone], because: nothing is to be predicted}", "values: [gone], because: x}\n  - {column: kind, values: [dead], because: y}"}, nil},
		{"another data set", "others", []string{"name: things", "name: others"}, []string{`data set "others" in production, "things" in the spec`}},
		{"another target column", "things", []string{"target: {column: good", "target: {column: kind", "  - {column: kind, values: [dead, gone], because: nothing is to be predicted}", "  - {column: good, values: [dead, gone], because: x}"}, []string{`target column "kind" in production, "good" in the spec`}},
		{"other positive values", "things", []string{`["yes", "maybe"]`, `["yes"]`}, []string{`positive values "yes" in production, "maybe, yes" in the spec`}},
		{"another cohort", "things", []string{"values: [dead, gone]", "values: [dead]"}, []string{`cohort leaves out "kind = dead" in production, "kind = dead, gone" in the spec`}},
		{"two differences", "others", []string{"name: things", "name: others", `["yes", "maybe"]`, `["yes"]`}, []string{"data set", "positive values"}},
		{"unreadable, of another data set", "others", nil, []string{`data set "others" in production, "things" in the spec`}},
		{"unreadable, of the same", "things", nil, nil},
		{"unreadable, of an unknown one", "", nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := promote.Comparison{Spec: parse(t), Rows: 100, Champion: registry.Version{Name: "things", Number: 1, Dataset: test.dataset},
				Contenders: paired(1, []promote.Contender{scored(2, 0.8), outsider(scored(1, 0.7), registry.Promoted)})}
			if test.change != nil {
				c.ChampionSpec = parse(t, test.change...)
			}
			d := promote.Decide(c)
			if len(test.says) == 0 {
				if d.Err != nil || !d.Promoted {
					t.Errorf("promoted %v, %v; want no conflict", d.Promoted, d.Err)
				}
				return
			}
			if !errors.Is(d.Err, promote.ErrRefused) || d.Promoted || d.Version != 1 {
				t.Fatalf("version %d, promoted %v, error %v; want version 1 to stay and ErrRefused", d.Version, d.Promoted, d.Err)
			}
			contains(t, "error", d.Err.Error(), append(test.says, "version 1 of things in production", "another name under model:")...)
			if len(d.Notes) != 1 || d.Notes[0].Version.Number != 2 || d.Notes[0].Outcome != registry.Refused || d.Notes[0].Reason != d.Reason {
				t.Errorf("notes %+v, want the reason on version 2 alone", d.Notes)
			}
		})
	}
}

// A training whose target has other classes than the model in production is refused, with
// both sides and what came and went: a client of the one would not know the other's.
func TestDecideRefusesOtherClasses(t *testing.T) {
	t.Parallel()
	of := func(classes string) *dataset.Spec {
		return parse(t, "task: binary", "task: multiclass", `positive: ["yes", "maybe"]`, "classes: ["+classes+"]", "threshold: {maximize: f1}\n", "", "metrics: [auc]", "metrics: [log_loss]")
	}
	for _, test := range []struct{ production, spec, want string }{
		{"a, b, c", "a, b, c, d", `classes "a, b, c" in production, "a, b, c, d" in the spec (new: d)`},
		{"a, b, c, d", "a, c, d", `classes "a, b, c, d" in production, "a, c, d" in the spec (gone: b)`},
		{"a, b, c", "a, c, d, e", `classes "a, b, c" in production, "a, c, d, e" in the spec (new: d, e; gone: b)`},
		{"a, b, c", "b, a, c", `classes "a, b, c" in production, "b, a, c" in the spec (the same in another order)`},
		{"a, b, c", "a, b, c", ""},
	} {
		d := promote.Decide(promote.Comparison{Spec: of(test.spec), Rows: 100, Champion: registry.Version{Name: "things", Number: 1, Dataset: "things"}, ChampionSpec: of(test.production),
			Contenders: []promote.Contender{scored(2, 0.8), outsider(scored(1, 0.7), registry.Promoted)}})
		if test.want == "" {
			if d.Err != nil {
				t.Errorf("the same classes: %v", d.Err)
			}
			continue
		}
		if !errors.Is(d.Err, promote.ErrRefused) || d.Promoted || d.Version != 1 || !strings.Contains(d.Err.Error(), test.want) {
			t.Errorf("%s, then %s: version %d, %v; want it refused with %s", test.production, test.spec, d.Version, d.Err, test.want)
		}
	}
	binary := promote.Decide(promote.Comparison{Spec: of("a, b, c"), Rows: 100, Champion: registry.Version{Name: "things", Number: 1, Dataset: "things"}, ChampionSpec: parse(t),
		Contenders: []promote.Contender{scored(2, 0.8), outsider(scored(1, 0.7), registry.Promoted)}})
	if binary.Err == nil || !strings.Contains(binary.Err.Error(), `task "binary" in production, "multiclass" in the spec`) {
		t.Errorf("several classes after two: %v", binary.Err)
	}
}
