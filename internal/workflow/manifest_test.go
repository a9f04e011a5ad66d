package workflow

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/progress"

	"mlops/internal/versions"
)

var update = flag.Bool("update", false, "write the golden files")

// TestOurManifests runs each of our workflows dry and compares the tasks with
// their arguments with testdata/tasks.json.
func TestOurManifests(t *testing.T) {
	set, err := Load("../../workflows")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"adopt-model", "backup", "challenge-model", "load-raw-data", "load-test", "load-val-test-data", "pin-model", "pipeline", "process-data", "promote-best-model", "restore", "retain-models", "rollback-model", "score-batch", "train-model"}, set.Names()); diff != "" {
		t.Errorf("workflows (-want +got):\n%s", diff)
	}
	outputs := map[string]map[string]string{
		"load-raw-data/load-raw-data":           {"report": "{}", "rows": "0", "rejected": "0"},
		"process-data/process-data":             {"report": "{}", "rows": "0", "rejected": "0"},
		"load-val-test-data/load-val-test-data": {"report": "{}", "rows": "0", "rejected": "0"},
		"train-model/candidates":                {"candidates": `["shallow","medium","deep"]`, "findings": "[]"},
		"promote-best-model/promote-best-model": {"promoted": "3", "decision": "promoted: it is the best"},
		"rollback-model/rollback-model":         {"promoted": "2"},
		"pin-model/pin-model":                   {"promoted": "2"},
		"load-test/load-test-split":             {"workers": `["0","1"]`, "begin": "2026-01-02T03:04:05Z"},
		"challenge-model/challenge-model":       {"promoted": "2"},
		"adopt-model/adopt-model":               {"promoted": "3"},
		"retain-models/retain-models":           {"report": "{}"},
		"load-test/load-test":                   {"part": "H4sI"},
		"load-test/load-test-merge":             {"report": "{}"},
		"score-batch/score-batch":               {"report": "{}"},
		"backup/backup":                         {"report": "{}"},
		"restore/restore":                       {"report": "{}"},
	}
	type task struct {
		Name, Path, Template, Image, State string
		Args                               []string `json:",omitempty"`
	}
	got := map[string][]task{}
	for _, run := range []struct {
		name, workflow string
		parameters     map[string]string
	}{
		{"load-raw-data", "load-raw-data", nil},
		{"process-data", "process-data", nil},
		{"load-val-test-data", "load-val-test-data", nil},
		{"train-model", "train-model", nil},
		{"promote-best-model", "promote-best-model", nil},
		{"rollback-model", "rollback-model", map[string]string{"why": "complaints", "to": "2"}},
		{"pin-model", "pin-model", map[string]string{"unpin": "true"}},
		{"challenge-model", "challenge-model", map[string]string{"version": "3", "why": "a doubt"}},
		{"adopt-model", "adopt-model", map[string]string{"version": "3", "why": "the ward's own"}},
		{"retain-models", "retain-models", map[string]string{"days": "30"}},
		{"load-test", "load-test", map[string]string{"users": "5,10", "workers": "2"}},
		{"score-batch", "score-batch", map[string]string{"to": "s3://scores/all.csv"}},
		{"backup", "backup", map[string]string{"to": "s3://backups/mlops"}},
		{"restore", "restore", map[string]string{"from": "s3://backups/mlops"}},
		{"pipeline", "pipeline", map[string]string{"source": "file:///data/d.zip"}},
		{"pipeline without load", "pipeline", map[string]string{"load": "false"}},
	} {
		result, err := dryRun(set, run.workflow, run.parameters, outputs)
		if err != nil {
			t.Fatalf("%s: %v", run.name, err)
		}
		for _, r := range result.Tasks {
			got[run.name] = append(got[run.name], task{r.Name, r.Path, r.Workflow + "/" + r.Template, r.Image, string(r.State), r.Args})
		}
		if run.workflow == "pipeline" && result.Outputs["promoted"] != "3" {
			t.Errorf("%s: output promoted is %q, want 3", run.name, result.Outputs["promoted"])
		}
	}
	golden := filepath.Join("testdata", "tasks.json")
	if *update {
		text, err := json.MarshalIndent(got, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]task{}
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tasks (-want +got):\n%s", diff)
	}
}

// TestOurStepsAreLockedDown keeps the fields that no test on this machine can
// see at work.
func TestOurStepsAreLockedDown(t *testing.T) {
	set, err := Load("../../workflows")
	if err != nil {
		t.Fatal(err)
	}
	for name, w := range set.Templates() {
		s := w.Spec
		if s.AutomountServiceAccountToken == nil || *s.AutomountServiceAccountToken || s.Executor == nil || s.Executor.ServiceAccountName == "" || s.ServiceAccountName == "" {
			t.Errorf("%s: the step's container would get the service account's token", name)
		}
		if s.PodGC == nil || s.TTLStrategy == nil || s.Synchronization == nil || len(s.Synchronization.Mutexes) != 1 {
			t.Errorf("%s: want podGC, ttlStrategy and one mutex", name)
		}
		for _, c := range s.Templates {
			if c.Container == nil {
				continue
			}
			place := name + "/" + c.Name
			pod, sc := c.SecurityContext, c.Container.SecurityContext
			if pod == nil || pod.RunAsNonRoot == nil || !*pod.RunAsNonRoot || pod.SeccompProfile == nil || pod.SeccompProfile.Type != "RuntimeDefault" {
				t.Errorf("%s: the pod is not restricted", place)
			}
			if sc == nil || sc.AllowPrivilegeEscalation == nil || *sc.AllowPrivilegeEscalation || sc.ReadOnlyRootFilesystem == nil || !*sc.ReadOnlyRootFilesystem ||
				sc.Capabilities == nil || len(sc.Capabilities.Drop) != 1 || sc.Capabilities.Drop[0] != "ALL" {
				t.Errorf("%s: the container is not restricted", place)
			}
			if c.RetryStrategy == nil || c.RetryStrategy.Expression != notAgain || c.ActiveDeadlineSeconds == nil {
				t.Errorf("%s: want a retryStrategy that takes exit code 2 for an answer, and a deadline", place)
			}
			if c.Container.Resources.Limits.Memory().IsZero() || c.Container.Resources.Requests.Memory().IsZero() {
				t.Errorf("%s: want memory requested and limited", place)
			}
			if !strings.HasPrefix(c.Container.Image, "mlops.local/") || !strings.HasSuffix(c.Container.Image, ":"+versions.Platform) {
				t.Errorf("%s: image %s has not the prefix and tag that the chart replaces", place, c.Container.Image)
			}
		}
	}
}

// field is one template with a field more.
const field = `
entrypoint: s
templates:
- name: s
  %s
  container:
    image: test/step:dev
    command: [/step]
    args: [ok]
    %s
`

func TestRefused(t *testing.T) {
	step := func(template, container string) string {
		return strings.Replace(strings.Replace(field, "%s", template, 1), "%s", container, 1)
	}
	dag := func(tasks string) string {
		return `
entrypoint: main
templates:
- name: main
  inputs: {parameters: [{name: in, value: x}]}
  dag:
    tasks:
` + tasks + `
- name: s
  inputs: {parameters: [{name: p}]}
  outputs: {parameters: [{name: out, valueFrom: {path: /mlops/outputs/out}}]}
  container: {image: "test/step:dev", command: [/step], args: [ok]}
- name: plain
  container: {image: "test/step:dev", command: [/step], args: [ok]}
`
	}
	for _, test := range []struct{ why, spec, want string }{
		{"a field of a template", step("daemon: true", ""), "w.yaml: spec.templates[s].daemon: the local runner can't honour this field"},
		{"a field that is set to nothing", step("daemon: false", ""), "w.yaml: spec.templates[s].daemon"},
		{"a field of a container", step("", "workingDir: /x"), "w.yaml: spec.templates[s].container.workingDir"},
		{"a field of a workflow", "onExit: s\n" + step("", ""), "w.yaml: spec.onExit"},
		{"a field that Argo does not know either", step("contaner: 1", ""), "w.yaml: spec.templates[s].contaner"},
		{"a field of a task", dag("    - {name: a, template: plain, continueOn: {failed: true}}"), "w.yaml: spec.templates[main].dag.tasks[a].continueOn"},
		{"a hook of a task", dag("    - {name: a, template: plain, hooks: {exit: {template: plain}}}"), "w.yaml: spec.templates[main].dag.tasks[a].hooks"},
		{"a field deep in one that is honoured", step("retryStrategy: {affinity: {}}", ""), "w.yaml: spec.templates[s].retryStrategy.affinity"},
		{"an input from a ConfigMap", step("inputs: {parameters: [{name: a, valueFrom: {configMapKeyRef: {name: c, key: k}}}]}", ""), "w.yaml: spec.templates[s].inputs.parameters[a].valueFrom"},
		{"an artifact", step("outputs: {artifacts: [{name: a, path: /a}]}", ""), "w.yaml: spec.templates[s].outputs.artifacts"},
		{"an output out of its folder", step("outputs: {parameters: [{name: a, valueFrom: {path: /tmp/a}}]}", ""), `spec.templates[s].outputs.parameters[a].valueFrom.path: is "/tmp/a", want a file in /mlops/outputs/`},
		{"an output in a folder in it", step("outputs: {parameters: [{name: a, valueFrom: {path: /mlops/outputs/../a}}]}", ""), "want a file in /mlops/outputs/"},
		{"a retry policy", step(`retryStrategy: {retryPolicy: OnTransientError}`, ""), `spec.templates[s].retryStrategy: retryPolicy: the local runner can't honour "OnTransientError"`},
		{"a retry expression that is none", step(`retryStrategy: {expression: "lastRetry.exitCode !"}`, ""), "spec.templates[s].retryStrategy: expression:"},
		{"a pause that is none", step(`retryStrategy: {backoff: {duration: soon}}`, ""), "spec.templates[s].retryStrategy: backoff.duration"},
		{"a reference to nothing", step("", `env: [{name: A, value: "{{inputs.parameters.x}}"}]`), "spec.templates[s].container: {{inputs.parameters.x}} can't be resolved"},
		{"the caller's parameters", step("", `env: [{name: A, value: "{{workflow.parameters.x}}"}]`), "{{workflow.parameters.x}} can't be resolved"},
		{"an expression", step("", `env: [{name: A, value: "{{=1 + 1}}"}]`), "can't honour expressions"},
		{"an entrypoint that is not there", strings.Replace(step("", ""), "entrypoint: s", "entrypoint: t", 1), `w.yaml: spec.entrypoint: no template "t"`},
		{"a template twice", step("", "") + "- {name: s, container: {image: step, command: [/step]}}", "w.yaml: spec.templates[s]: defined twice"},
		{"a template that does nothing", "entrypoint: s\ntemplates: [{name: s}]", "spec.templates[s]: want exactly one of container and dag"},
		{"no command", strings.Replace(step("", ""), "    command: [/step]\n", "", 1), "spec.templates[s].container.command"},
		{"another program's command", strings.Replace(step("", ""), "[/step]", "[/bin/sh, -c]", 1), "spec.templates[s].container.command"},
		{"a cycle", dag("    - {name: a, template: plain, depends: b}\n    - {name: b, template: plain, depends: c}\n    - {name: c, template: plain, depends: a.Succeeded}"), "spec.templates[main].dag: tasks wait for each other: a, b, c"},
		{"a task twice", dag("    - {name: a, template: plain}\n    - {name: a, template: plain}"), "spec.templates[main].dag.tasks[a]: defined twice"},
		{"a template that runs itself", dag("    - {name: a, template: main}"), "spec.templates[main].dag.tasks[a]: template main runs itself"},
		{"a task that is not there", dag("    - {name: a, template: plain, dependencies: [b]}"), `spec.templates[main].dag.tasks[a].depends: no task "b"`},
		{"a result that is none", dag("    - {name: a, template: plain}\n    - {name: b, template: plain, depends: a.Done}"), `can't honour the result "Done"`},
		{"a depends that is none", dag("    - {name: a, template: plain}\n    - {name: b, template: plain, depends: a &&}"), "spec.templates[main].dag.tasks[b].depends"},
		{"a template that is not there", dag("    - {name: a, template: t}"), `spec.templates[main].dag.tasks[a]: template: no template "t"`},
		{"a workflow that is not there", dag("    - {name: a, templateRef: {name: v, template: s}}"), `spec.templates[main].dag.tasks[a]: templateRef.name: no WorkflowTemplate "v"`},
		{"an argument that is missing", dag("    - {name: a, template: s}"), `arguments: template s needs parameter "p"`},
		{"an argument too many", dag("    - {name: a, template: plain, arguments: {parameters: [{name: q, value: x}]}}"), `arguments: template plain has no parameter "q"`},
		{"outputs of a task that it does not wait for", dag(`    - {name: b, template: s, arguments: {parameters: [{name: p, value: x}]}}
    - {name: a, template: s, arguments: {parameters: [{name: p, value: "{{tasks.b.outputs.parameters.out}}"}]}}`), "spec.templates[main].dag.tasks[a]: arguments: {{tasks.b.outputs.parameters.out}} can't be resolved"},
		{"an item of no list", dag(`    - {name: a, template: s, arguments: {parameters: [{name: p, value: "{{item}}"}]}}`), "{{item}} can't be resolved"},
		{"an item that is an object", dag(`    - {name: a, template: plain, withItems: [{k: v}]}`), "withItems[0]"},
		{"a when without quotes", dag(`    - {name: a, template: plain, when: "{{inputs.parameters.in}} == true"}`), "can't honour x: want quoted strings"},
		{"a when that calculates", dag(`    - {name: a, template: plain, when: "1 + 1 == 2"}`), `can't honour "+"`},
		{"a when with a list", dag(`    - {name: a, template: plain, when: "'a' == 'b'", withItems: [a]}`), "when: the local runner can't honour it together"},
	} {
		t.Run(test.why, func(t *testing.T) {
			_, err := Load(manifests(t, map[string]string{"w": test.spec}))
			if err == nil {
				t.Fatalf("was taken, want an error with %q", test.want)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %q, want it to contain %q", err, test.want)
			}
		})
	}
}

func TestRefusedFiles(t *testing.T) {
	valid := strings.Replace(argoHead, "%s", "w", 1) + "  entrypoint: s\n  templates: [{name: s, container: {image: step, command: [/step]}}]\n"
	for _, test := range []struct {
		why   string
		files map[string]string
		want  string
	}{
		{"an empty folder", nil, "no workflows"},
		{"not YAML", map[string]string{"a.yaml": "a: [b"}, "a.yaml: "},
		{"another kind", map[string]string{"a.yaml": strings.Replace(valid, "WorkflowTemplate", "CronWorkflow", 1)}, "a.yaml: is argoproj.io/v1alpha1 CronWorkflow"},
		{"two in a file", map[string]string{"a.yaml": valid + "---\n" + valid}, "a.yaml: holds 2 YAML documents"},
		{"no name", map[string]string{"a.yaml": strings.Replace(valid, "name: w", "labels: {}", 1)}, "a.yaml: metadata.name: missing"},
		{"one name in two files", map[string]string{"a.yaml": valid, "b.yaml": valid}, `b.yaml: metadata.name: "w" is in a.yaml already`},
		{"a key twice", map[string]string{"a.yaml": valid + "  entrypoint: s\n"}, "a.yaml: "},
	} {
		t.Run(test.why, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range test.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Load(dir)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want it to contain %q", err, test.want)
			}
		})
	}
}

func TestClusterFieldsAreSkipped(t *testing.T) {
	load(t, `
entrypoint: s
serviceAccountName: a
automountServiceAccountToken: false
executor: {serviceAccountName: a}
securityContext: {runAsNonRoot: true}
synchronization: {mutexes: [{name: m}]}
podGC: {strategy: OnPodSuccess}
ttlStrategy: {secondsAfterSuccess: 1}
tolerations: [{key: k}]
templates:
- name: s
  metadata: {labels: {a: b}}
  securityContext: {runAsNonRoot: true}
  volumes: [{name: v, emptyDir: {}}]
  nodeSelector: {a: "{{anything}}"}
  container:
    image: test/step:dev
    command: [/step]
    imagePullPolicy: Never
    envFrom: [{secretRef: {name: s, optional: true}}]
    env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
    resources: {limits: {memory: 1Gi}}
    securityContext: {readOnlyRootFilesystem: true}
    volumeMounts: [{name: v, mountPath: /v}]
`)
}

func TestEvalWhen(t *testing.T) {
	for _, test := range []struct {
		when string
		want bool
	}{
		{"", true},
		{"'true' == 'true'", true},
		{"'false' == 'true'", false},
		{"'a' != 'b' && 'c' == 'c'", true},
		{"'a' == 'b' || 'c' == 'd'", false},
		{"!('a' == 'b')", true},
		{"'a' == 'b' || 'a' == 'a' && 'b' == 'c'", false},
		{"true", true},
		{"false == true", false},
		{"'true' == true", false},
	} {
		got, err := evalWhen(test.when)
		if err != nil || got != test.want {
			t.Errorf("%s is %v (%v), want %v", test.when, got, err, test.want)
		}
	}
	for _, when := range []string{"'a'", "a == 'a'", "'a' == ", "1 == 1", "'a' matches 'a'", "'a' == 'a' and true", "len('a') == 'b'"} {
		if got, err := evalWhen(when); err == nil {
			t.Errorf("%s is %v, want an error", when, got)
		}
	}
}

// TestBadInputIsNotRetried: exit code 2 says that the input is wrong, so no step
// of ours is tried again after it, here or on a cluster.
func TestBadInputIsNotRetried(t *testing.T) {
	set, err := Load("../../workflows")
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range set.workflows {
		for _, tmpl := range m.templates {
			if tmpl.Container == nil {
				continue
			}
			rules, err := newRetries(tmpl.RetryStrategy)
			if err != nil {
				t.Fatalf("%s/%s: %v", name, tmpl.Name, err)
			}
			if again, _, err := rules.again(1, lastTry{exitCode: 2, state: progress.Failed}); err != nil || again {
				t.Errorf("%s/%s: after exit code 2 it is tried again (%v)", name, tmpl.Name, err)
			}
		}
	}
}
