package workflow

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/progress"
)

const oneStep = `
entrypoint: s
templates:
- name: s
  container: {image: "test/step:dev", command: [/step], args: %s}
`

func TestFanOut(t *testing.T) {
	dir := t.TempDir()
	set := load(t, `
entrypoint: main
templates:
- name: main
  dag:
    tasks:
    - {name: list, template: list}
    - name: each
      depends: list.Succeeded
      template: each
      withParam: "{{tasks.list.outputs.parameters.names}}"
      arguments: {parameters: [{name: what, value: "<{{item}}>"}]}
- name: list
  outputs: {parameters: [{name: names, valueFrom: {path: /mlops/outputs/names}}]}
  container: {image: "test/step:dev", command: [/step], args: [write, names, '["c","a","(b)",7]']}
- name: each
  inputs: {parameters: [{name: what}]}
  container: {image: "test/step:dev", command: [/step], args: [note, `+dir+`/order, "{{inputs.parameters.what}}"]}
`)
	o := options(t, set)
	o.Parallel = 1
	got, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"list: Succeeded", "each(0:c): Succeeded", "each(1:a): Succeeded", "each(2:b): Succeeded", "each(3:7): Succeeded"}
	if diff := cmp.Diff(want, states(got)); diff != "" {
		t.Errorf("tasks (-want +got):\n%s", diff)
	}
	text, err := os.ReadFile(dir + "/order")
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != "<c>\n<a>\n<(b)>\n<7>\n" {
		t.Errorf("the items ran as %q, want the list's order", text)
	}
	if p := got.Tasks[1].Path; p != "w.each(0:c)" {
		t.Errorf("path is %q", p)
	}
}

// The outputs of a task's items are a list in their order, whichever ends first.
func TestOutputsOfItems(t *testing.T) {
	for _, test := range []struct{ items, want string }{
		{`["c","a","b"]`, `["c","a","b"]`},
		{`["7","x"]`, `["7","x"]`},
		{`["[1,2]","[3]"]`, `[[1,2],[3]]`},
		{`["1","2"]`, `["1","2"]`}, // numbers stay text
	} {
		dir := t.TempDir()
		set := load(t, `
entrypoint: main
templates:
- name: main
  dag:
    tasks:
    - {name: list, template: list}
    - name: each
      depends: list.Succeeded
      template: each
      withParam: "{{tasks.list.outputs.parameters.names}}"
      arguments: {parameters: [{name: what, value: "{{item}}"}]}
    - name: all
      depends: each.Succeeded
      template: all
      arguments: {parameters: [{name: list, value: "{{tasks.each.outputs.parameters.made}}"}]}
- name: list
  outputs: {parameters: [{name: names, valueFrom: {path: /mlops/outputs/names}}]}
  container: {image: "test/step:dev", command: [/step], args: [write, names, '`+test.items+`']}
- name: each
  inputs: {parameters: [{name: what}]}
  outputs: {parameters: [{name: made, valueFrom: {path: /mlops/outputs/made}}]}
  container: {image: "test/step:dev", command: [/step], args: [write, made, "{{inputs.parameters.what}}"]}
- name: all
  inputs: {parameters: [{name: list}]}
  container: {image: "test/step:dev", command: [/step], args: [note, `+dir+`/list, "{{inputs.parameters.list}}"]}
`)
		got, err := Run(context.Background(), options(t, set))
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(dir + "/list")
		if err != nil {
			t.Fatalf("%v: %v", err, states(got))
		}
		if string(text) != test.want+"\n" {
			t.Errorf("items %s: the list is %s, want %s", test.items, text, test.want)
		}
	}
}

// fanOut runs five items of a step in a dag with the extra field.
func fanOut(field, args string) string {
	return `
entrypoint: main
templates:
- name: main
  ` + field + `
  dag:
    tasks:
    - name: each
      template: each
      withItems: [a, b, c, d, e]
      arguments: {parameters: [{name: what, value: "{{item}}"}]}
- name: each
  inputs: {parameters: [{name: what}]}
  container: {image: "test/step:dev", command: [/step], args: ` + args + `}
`
}

func TestTasksRunSideBySide(t *testing.T) {
	dir := t.TempDir()
	o := options(t, load(t, fanOut("", `[meet, `+dir+`, "5", "{{inputs.parameters.what}}"]`)))
	o.Parallel = 5
	if _, err := Run(context.Background(), o); err != nil {
		t.Errorf("five tasks that wait for each other: %v", err)
	}
}

func TestParallelIsALimit(t *testing.T) {
	for _, test := range []struct {
		why, field string
		parallel   int
	}{
		{"the runner's own limit", "", 1},
		{"the dag's parallelism", "parallelism: 1", 5},
	} {
		o := options(t, load(t, fanOut(test.field, `[alone, `+t.TempDir()+`/lock]`)))
		o.Parallel = test.parallel
		if _, err := Run(context.Background(), o); err != nil {
			t.Errorf("%s: tasks ran at once: %v", test.why, err)
		}
	}
}

// chain is a dag in which a has a when, b follows it and c stands by itself.
const chain = `
entrypoint: main
arguments: {parameters: [{name: go, value: "true", enum: ["true", "false"]}]}
templates:
- name: main
  inputs: {parameters: [{name: go}]}
  dag:
    tasks:
    - name: a
      template: %s
      when: "'{{inputs.parameters.go}}' == 'true'"
    - name: b
      depends: %s
      template: ok
      arguments: {parameters: [{name: x, value: "[{{tasks.a.outputs.parameters.out}}]"}]}
    - {name: c, template: ok, arguments: {parameters: [{name: x, value: ""}]}}
- name: writes
  outputs: {parameters: [{name: out, valueFrom: {path: /mlops/outputs/out}}]}
  container: {image: "test/step:dev", command: [/step], args: [write, out, hello]}
- name: fails
  outputs: {parameters: [{name: out, valueFrom: {path: /mlops/outputs/out}}]}
  container: {image: "test/step:dev", command: [/step], args: [exit, "1"]}
- name: ok
  inputs: {parameters: [{name: x}]}
  container: {image: "test/step:dev", command: [/step], args: [ok, "{{inputs.parameters.x}}"]}
`

func TestConditions(t *testing.T) {
	for _, test := range []struct {
		why, template, depends, load string
		want                         []string
		fails                        bool
	}{
		{"a true when runs", "writes", "a.Succeeded", "true", []string{"a: Succeeded", "b: Succeeded", "c: Succeeded"}, false},
		{"dependents of a skipped task run when they say so", "writes", "a.Succeeded || a.Skipped", "false", []string{"a: Skipped", "b: Succeeded", "c: Succeeded"}, false},
		{"a bare name takes a skipped task too", "writes", "a", "false", []string{"a: Skipped", "b: Succeeded", "c: Succeeded"}, false},
		{"Succeeded alone does not", "writes", "a.Succeeded", "false", []string{"a: Skipped", "b: Omitted", "c: Succeeded"}, false},
		{"a failed task stops its dependents, and nobody else", "fails", "a", "true", []string{"a: Failed", "b: Omitted", "c: Succeeded"}, true},
		{"a task for the failure of another", "writes", "a.Failed && c.Succeeded", "true", []string{"a: Succeeded", "b: Omitted", "c: Succeeded"}, false},
	} {
		t.Run(test.why, func(t *testing.T) {
			o := options(t, load(t, fmt.Sprintf(chain, test.template, test.depends)))
			o.Parameters = map[string]string{"go": test.load}
			got, err := Run(context.Background(), o)
			if (err != nil) != test.fails {
				t.Errorf("error is %v", err)
			}
			if diff := cmp.Diff(test.want, states(got)); diff != "" {
				t.Errorf("tasks (-want +got):\n%s", diff)
			}
		})
	}
	set := load(t, fmt.Sprintf(chain, "writes", "a"))
	o := options(t, set)
	got, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"ok", "[hello]"}, got.Tasks[1].Args); diff != "" {
		t.Errorf("arguments of b (-want +got):\n%s", diff)
	}
	o.Parameters = map[string]string{"go": "false"}
	if got, err = Run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"ok", "[]"}, got.Tasks[1].Args); diff != "" {
		t.Errorf("arguments of b after a skipped a (-want +got):\n%s", diff)
	}
}

func TestHandledFailureIsNoFailure(t *testing.T) {
	set := load(t, `
entrypoint: main
templates:
- name: main
  dag:
    tasks:
    - {name: a, template: fails}
    - {name: b, template: ok, depends: a.Failed}
- name: fails
  container: {image: "test/step:dev", command: [/step], args: [exit, "1"]}
- name: ok
  container: {image: "test/step:dev", command: [/step], args: [ok]}
`)
	got, err := Run(context.Background(), options(t, set))
	if err != nil {
		t.Errorf("a failure whose handler ran well: %v", err)
	}
	if diff := cmp.Diff([]string{"a: Failed", "b: Succeeded"}, states(got)); diff != "" {
		t.Errorf("tasks (-want +got):\n%s", diff)
	}
}

func TestParameters(t *testing.T) {
	set := load(t, fmt.Sprintf(chain, "writes", "a"))
	for _, test := range []struct {
		why   string
		given map[string]string
		want  string
	}{
		{"one that is not there", map[string]string{"stop": "true"}, `has no parameter "stop", only [go]`},
		{"a value out of the enum", map[string]string{"go": "perhaps"}, `parameter go is "perhaps", want one of [true false]`},
	} {
		_, err := dryRun(set, "w", test.given, nil)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error is %v, want %q", test.why, err, test.want)
		}
	}
	if _, err := dryRun(set, "v", nil, nil); err == nil || !strings.Contains(err.Error(), `no workflow "v", only [w]`) {
		t.Errorf("a workflow that is not there: %v", err)
	}
}

// notAgain is the expression of every retry: not after exit code 2, which says that the
// input is wrong, unless it is that of a Go panic, whose end of the log is a stack.
const notAgain = `asInt(lastRetry.exitCode) != 2 || lastRetry.message matches "[.]go:[0-9]+ [+]0x"`

func TestRetry(t *testing.T) {
	for _, test := range []struct {
		why, strategy, code string
		tries               int
		fails               bool
	}{
		{"none: one try", "{}", "1", 1, true},
		{"the third try is the second retry", `{retryStrategy: {limit: "2", backoff: {duration: 10ms, factor: "2"}}}`, "1", 3, false},
		{"a limit that is too low", `{retryStrategy: {limit: 1}}`, "1", 2, true},
		{"bad input is not tried again", `{retryStrategy: {limit: "2", expression: "asInt(lastRetry.exitCode) != 2"}}`, "2", 1, true},
		{"a Go panic ends with it too and is", `{retryStrategy: {limit: "2", expression: '` + notAgain + `'}}`, "panic", 3, false},
		{"bad input is not with the expression of the manifests", `{retryStrategy: {limit: "2", expression: '` + notAgain + `'}}`, "2", 1, true},
		{"another exit code is", `{retryStrategy: {limit: "2", expression: "asInt(lastRetry.exitCode) != 2"}}`, "1", 3, false},
		{"a policy for errors does not take failures", `{retryStrategy: {limit: "2", retryPolicy: OnError}}`, "1", 1, true},
	} {
		t.Run(test.why, func(t *testing.T) {
			set := load(t, `
entrypoint: s
templates:
- name: s
  `+strings.TrimSuffix(strings.TrimPrefix(test.strategy, "{"), "}")+`
  container: {image: "test/step:dev", command: [/step], args: [flaky, `+t.TempDir()+`/tries, "`+test.code+`"]}
`)
			var waits []string
			o := options(t, set)
			o.Observe = func(e progress.Event) {
				if e.State == progress.Running && e.Message != "" {
					waits = append(waits, e.Message)
				}
			}
			got, err := Run(context.Background(), o)
			if (err != nil) != test.fails {
				t.Errorf("error is %v", err)
			}
			if got.Tasks[0].Tries != test.tries {
				t.Errorf("%d tries, want %d", got.Tasks[0].Tries, test.tries)
			}
			if strings.Contains(test.strategy, "backoff") {
				want := []string{"exit code 1; tries again in 10ms", "exit code 1; tries again in 20ms"}
				if diff := cmp.Diff(want, waits); diff != "" {
					t.Errorf("pauses (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestFailureIsNamed(t *testing.T) {
	o := options(t, load(t, fmt.Sprintf(oneStep, `[exit, "2"]`)))
	got, err := Run(context.Background(), o)
	var failed *TaskError
	if !errors.As(err, &failed) {
		t.Fatalf("error is %v, want a TaskError", err)
	}
	self, _ := os.Executable()
	want := TaskError{
		Task: "w", Workflow: "w", Template: "s", Program: self, ExitCode: 2, Tries: 1, Reason: "exit code 2",
		Tail: []string{`{"time":"2026-01-02T15:04:05Z","level":"ERROR","msg":"it broke","line":7}`},
		Log:  filepath.Join(o.LogDir, "w.log"),
	}
	if diff := cmp.Diff(want, *failed); diff != "" {
		t.Errorf("TaskError (-want +got):\n%s", diff)
	}
	text := "task w (template w/s, program " + self + ") failed: exit code 2\n  ERROR it broke line=7\n  whole log: " + want.Log
	if diff := cmp.Diff("workflow w: "+text, err.Error()); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
	if got.Tasks[0].State != progress.Failed {
		t.Errorf("state is %s", got.Tasks[0].State)
	}
	// What went well before is not why it failed.
	failed.Tail = append([]string{`{"level":"INFO","msg":"going on","report":{"rows":7}}`, `{"level":"WARN","msg":"odd"}`, "a library's line"}, failed.Tail...)
	if text := failed.Error(); !strings.Contains(text, "exit code 2\n  WARN odd\n  a library's line\n  ERROR it broke line=7\n") {
		t.Errorf("text of a longer log:\n%s", text)
	}
	failed.Tail = failed.Tail[:1]
	if text := failed.Error(); !strings.Contains(text, "going on") {
		t.Errorf("text of a log without an error:\n%s", text)
	}
}

func TestStepsThatEndBadly(t *testing.T) {
	const withOutput = `
entrypoint: s
templates:
- name: s
  activeDeadlineSeconds: %d
  outputs: {parameters: [{name: out, valueFrom: {path: /mlops/outputs/out}}]}
  container: {image: "%s", command: [/step], args: %s}
`
	for _, test := range []struct {
		why, spec, reason string
		state             progress.State
		code              int
	}{
		{"its output is not there", fmt.Sprintf(withOutput, 600, "test/step:dev", "[ok]"), "it succeeded but did not write its output out", progress.Errored, 0},
		{"it is killed", fmt.Sprintf(withOutput, 600, "test/step:dev", "[killed]"), "killed by signal: killed", progress.Failed, 137},
		{"it takes too long", fmt.Sprintf(withOutput, 1, "test/step:dev", `[hang, `+t.TempDir()+`/pids]`), "ran longer than 1s", progress.Failed, -1},
		{"its program is not on this machine", fmt.Sprintf(withOutput, 600, "other/step:dev", "[ok]"), "no program on this machine for image other/step:dev", progress.Errored, -1},
	} {
		t.Run(test.why, func(t *testing.T) {
			got, err := Run(context.Background(), options(t, load(t, test.spec)))
			var failed *TaskError
			if !errors.As(err, &failed) {
				t.Fatalf("error is %v, want a TaskError", err)
			}
			if failed.Reason != test.reason || failed.ExitCode != test.code || got.Tasks[0].State != test.state {
				t.Errorf("%s, exit code %d, %q; want %s, %d, %q", got.Tasks[0].State, failed.ExitCode, failed.Reason, test.state, test.code, test.reason)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	for _, test := range []struct{ why, name, want string }{
		{"a plain variable of the manifest", "PLAIN", "manifest"},
		{"the caller's wins", "MLOPS_SPEC", "caller"},
		{"one that only a cluster has", "SECRET", ""},
	} {
		set := load(t, `
entrypoint: s
templates:
- name: s
  outputs: {parameters: [{name: value, valueFrom: {path: /mlops/outputs/value}}]}
  container:
    image: test/step:dev
    command: [/step, env]
    args: [`+test.name+`]
    env:
    - {name: PLAIN, value: manifest}
    - {name: MLOPS_SPEC, value: manifest}
    - {name: MLOPS_OUTPUTS, value: /nowhere}
    - {name: SECRET, valueFrom: {secretKeyRef: {name: s, key: k}}}
    envFrom: [{secretRef: {name: s}}]
`)
		o := options(t, set)
		o.Env = append(o.Env, "MLOPS_SPEC=caller", "MLOPS_OUTPUTS=/nowhere")
		got, err := Run(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		if got.Outputs["value"] != test.want {
			t.Errorf("%s: %s is %q, want %q", test.why, test.name, got.Outputs["value"], test.want)
		}
	}
}

func TestValuesArePassedOnAsTheyAre(t *testing.T) {
	set := load(t, `
entrypoint: s
arguments: {parameters: [{name: x, value: ""}]}
templates:
- name: s
  inputs: {parameters: [{name: x}]}
  outputs: {parameters: [{name: value, valueFrom: {path: /mlops/outputs/value}}]}
  container: {image: "test/step:dev", command: [/step], args: [args, "--x={{inputs.parameters.x}}", last]}
`)
	for _, value := range []string{"", `a "b" \ c`, "line\nline", "ünï <&> {{y}}", "$(HOME)"} {
		o := options(t, set)
		o.Parameters = map[string]string{"x": value}
		got, err := Run(context.Background(), o)
		if err != nil {
			t.Fatalf("%q: %v", value, err)
		}
		if want := "--x=" + value + "|last"; got.Outputs["value"] != want {
			t.Errorf("the program got %q, want %q", got.Outputs["value"], want)
		}
	}
}

func TestLogAndEvents(t *testing.T) {
	o := options(t, load(t, fmt.Sprintf(oneStep, `[log]`)))
	var events []string
	o.Observe = func(e progress.Event) {
		text := fmt.Sprintf("%s %s %s %d %q", e.Task, e.Path, e.State, e.Try, e.Line)
		if e.Progress != nil {
			text += fmt.Sprint(*e.Progress)
		}
		events = append(events, text)
	}
	if _, err := Run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`w w Running 1 ""`,
		`w w Running 1 "plain text"`,
		`w w Running 1 ""{3 10 rows}`,
		`w w Running 1 "no end of line"`,
		`w w Succeeded 1 ""`,
	}
	if diff := cmp.Diff(want, events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	log, err := os.ReadFile(filepath.Join(o.LogDir, "w.log"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(log), "plain text\n{") || !strings.HasSuffix(string(log), "no end of line") {
		t.Errorf("the log is %q", log)
	}
}
