package dataset

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestMistakesAreRefused has specs that could not work, each with one mistake:
// they are refused with the line and what helps, before anything is loaded.
func TestMistakesAreRefused(t *testing.T) {
	param := func(p string) (string, string) { return "params: {eta: 0.1, max_depth: 3}", "params: {" + p + "}" }
	tests := []struct {
		why      string
		old, new string
		line     string
		want     string
	}{
		{"a number that YAML's versions read differently", "rounds: 10", "rounds: 010", "line 25", "010 is another number in YAML 1.1"},
		{"an octal number", "rounds: 10", "rounds: 0o10", "line 25", "plain digits"},
		{"a number with underscores", "rounds: 10", "rounds: 1_000", "line 25", "plain digits"},
		{"a number in quotes", "rounds: 10", `rounds: "10"`, "line 25", `"10" is not a whole number`},
		{"a max of infinity", "type: number, min: 0", "type: number, max: .inf", "line 10", "max: .inf is not a finite number"},
		{"a min that is no number", "type: number, min: 0", "type: number, min: low", "line 10", `min: "low" is not a finite number`},
		{"a range to infinity", "from: 0, to: 5", "from: 0, to: .inf", "line 21", "to: .inf"},
		{"the group as a feature", "{category: kind, fold_below: 10}", "{category: who}", "line 19", `"who" is the group`},
		{"a feature name that XGBoost takes not", "{number: size}", `{number: size, name: "size<50 [cm]"}`, "line 18", "XGBoost takes no [, ] and <"},
		{"the target as key", "key: id", "key: y", "line 5", "is the target"},
		{"shares that make 110", "train: 70, validation: 15, test: 15", "train: 80, validation: 15, test: 15", "line 16", "110 percent, not 100"},
		{"a share without its sign", "task: binary", "task: binary\nrejects: {at_most: 5}", "line 4", "write it as 5%"},
		{"a share above all", "task: binary", "task: binary\nrejects: {at_most: 120%}", "line 4", "from 0% to 100%"},
		{"a value that the cohort's column never holds", "{column: kind, values: [z]", "{column: size, values: [z]", "line 15", `column "size" never holds it`},
		{"an empty entry", `missing: ["?"]`, "missing: [\"?\", ]\ntitle: x\nmetrics:\n  -\n", "line 7", "empty"},
		{"a misspelt column", "{number: size}", "{number: sise}", "line 18", `did you mean "size"?`},
		{"another program's type", "type: number, min", "type: float, min", "line 10", `did you mean "number"?`},
		{"a misspelt key", "missing:", "mising:", "line 4", `did you mean "missing"?`},
		{"a misspelt key further in", "fold_below", "foldbelow", "line 19", `did you mean "fold_below"?`},
		{"a confidence beyond reach", "task: binary", "task: binary\npromote: {confidence: 100%}", "line 4", "below 100%"},
		{"a margin that lets worse ones in", "task: binary", "task: binary\npromote: {margin: -0.1}", "line 4", "from 0 on"},
		{"a calibration that none has", "task: binary", "task: binary\npromote:\n  calibration: 0%", "line 5", "100% leaves the check out"},
		{"names of a number's values", "type: number, min: 0", "type: number, names: [{name: much, from: 5, to: 9}]", "line 10", "names are for categories"},
		{"a name that fits nothing", "values: [a, b]", "names: [{name: much, from: 9, to: 5}]", "line 11", "from 9 is not below to 5"},
		{"decimal and thousands alike", "task: binary", "task: binary\nsource: {decimal: \",\", thousands: \",\"}", "line 4", "another than decimal's"},
	}
	for p, want := range map[string]string{
		"subsample: 2": "above 0 and at most 1", "subsample: 0": "above 0 and at most 1", "max_depth: deep": "a whole number from 0 to 64",
		"eta: fast": "a number above 0 and at most 1", "eta: 0": "above 0", "eta: true": "a number", "max_depth: 3.5": "whole number",
		"max_depth: -1": "from 0", "lambda: -1": "from 0 on", "scale_pos_weight: 0": "above 0", "max_bin: 1": "from 2",
		"grow_policy: fast": "one of depthwise, lossguide", "tree_method: exact": "takes no categories", "eta: .nan": "finite",
		"learning_rate: 0.1": `is called "eta" here`, "sub_sample: 0.5": `did you mean "subsample"?`, "eta: 1e39": "at most 1", "lambda: 1e39": "a number from 0 on",
	} {
		old, new := param(p)
		tests = append(tests, struct{ why, old, new, line, want string }{"parameter " + p, old, new, "line 25", want})
	}
	for _, test := range tests {
		t.Run(test.why, func(t *testing.T) {
			text := strings.Replace(tiny, test.old, test.new, 1)
			if text == tiny {
				t.Fatal("nothing replaced")
			}
			_, err := Parse([]byte(text))
			var wrong *Error
			if !errors.As(err, &wrong) {
				t.Fatalf("got %v, want an *Error", err)
			}
			if !strings.Contains(err.Error(), test.line) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got\n%s\nwant %q and %q in it", err, test.line, test.want)
			}
			if len(wrong.Problems) > 2 {
				t.Errorf("one mistake gives %d problems:\n%s", len(wrong.Problems), err)
			}
		})
	}
}

// TestAllMistakesAtOnce has an unknown key next to other mistakes, which it must
// not hide.
func TestAllMistakesAtOnce(t *testing.T) {
	text := tiny
	for _, change := range [][2]string{
		{"title", "titel"}, {"missing:", "mising:"}, {"type: number", "type: float"}, {"rounds: 10", "ronds: 010"}, {"eta: 0.1", "eta: 2"},
		{"{number: size}", "{number: sise}"}, {"task: binary", "task: binary\nfrobnicate: 1"},
	} {
		text = strings.Replace(text, change[0], change[1], 1)
	}
	_, err := Parse([]byte(text))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{`"frobnicate" is not known`, `"missing"`, `"number"`, `"rounds"`, "010", `"size"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got\n%s\nwant %s in it", err, want)
		}
	}
}

// TestTextsStayTexts has words that YAML takes for something else where a text is
// meant.
func TestTextsStayTexts(t *testing.T) {
	text := strings.NewReplacer(`missing: ["?"]`, "missing: [NA, null, ~, 1.0, 010, no, 2026-11-28]",
		`positive: ["1"]`, "positive: [True]", "values: [a, b]", "values: [null, 0x10]").Replace(tiny)
	s, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(s.Missing, " "), "NA null ~ 1.0 010 no 2026-11-28"; got != want {
		t.Errorf("missing: got %s, want %s", got, want)
	}
	if got := strings.Join(s.Columns[3].Values, " "); got != "null 0x10" || s.Target.Positive[0] != "True" {
		t.Errorf("values %s and positive %v, want null 0x10 and True", got, s.Target.Positive)
	}
	if s, err = Parse([]byte(strings.Replace(tiny, "group: who", "group: null", 1))); err != nil || s.Group != "" {
		t.Errorf("group: null: got %v, %q; want no group", err, s.Group)
	}
}

// TestMistakesTogether has several mistakes, some of them on one line: all are told at
// once, each once, and nothing that only follows from one of them.
func TestMistakesTogether(t *testing.T) {
	t.Parallel()
	text := `name: things
model: [things]
task: binary
rejects: {at_most: 5}
on_change: sometimes
source: {max_size: big, separator: "#"}
columns:
  - {name: id, type: int, min: many, max: 0}
  - {name: "9", type: category, required: maybe}
  - type
target: {column: goood, positive: yes}
split: {salts: [s], train: 060, validation: 20, test: 20}
features: [{numbr: id, fold_below: few}, {number: {a: 1}}]
threshold: {recall: high}
candidates:
  - {name: "a b", rounds: 010, params: {eta: fast, max_depth: 6}}
`
	_, err := Parse([]byte(text))
	var bad *Error
	if !errors.As(err, &bad) {
		t.Fatal(err)
	}
	want := []string{
		"2: model has to be one value",
		"4: \"5\" is not a share",
		"5: on_change \"sometimes\"",
		"6: \"big\" is not a size",
		"6: separator is \"#\"",
		"8: min: \"many\" is not a finite number",
		"8: column \"id\" has type \"int\"; ",
		"9: required: \"maybe\" is neither",
		"9: column name \"9\"",
		"10: columns has to be keys",
		"11: positive has to be a list",
		"11: no column is called \"goood\"",
		"12: train: 060 is another number",
		"13: \"numbr\" is not known in features; did you mean \"number\"?",
		"13: fold_below: \"few\" is not a whole number",
		"13: number has to be one value",
		"13: fold_below goes with category",
		"14: recall: \"high\" is not a finite number",
		"16: rounds: 010 is another number",
		"16: candidate name \"a b\"",
		"16: parameter eta is fast",
	}
	var got []string
	for _, p := range bad.Problems {
		got = append(got, fmt.Sprintf("%d: %s", p.Line, p.Reason))
	}
	for i, g := range got {
		if i >= len(want) || !strings.HasPrefix(g, want[i]) {
			t.Fatalf("problem %d differs; got\n%s\nwant the beginnings\n%s", i+1, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %d problems, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
}
