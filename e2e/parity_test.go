//go:build e2e

package e2e

import (
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mlops/internal/kube"
	"mlops/internal/local"
	"mlops/internal/prepare"
	"mlops/internal/progress"
	"mlops/internal/workflow"
)

// task is what the local runner and Argo have to agree on.
type task struct {
	Name    string
	Args    []string
	State   string
	Outputs map[string]string
}

// testParity runs each workflow in Argo and then with the local runner, against
// the same services and the same rows, where all has been done before: both give
// the same tasks, arguments and outputs.
func testParity(t *testing.T, m *machine) {
	r := m.release(t, "penguins")
	set, err := workflow.Load(filepath.Join(m.root, "workflows"))
	if err != nil {
		t.Fatal(err)
	}
	runner := newRunner(t, m, r, set)
	for _, name := range set.Names() {
		if name == "backup" || name == "restore" {
			continue // they need the programs of their image; TestFaults runs them
		}
		if name == "rollback-model" || name == "pin-model" || name == "challenge-model" || name == "adopt-model" {
			continue // a second time they find nothing to do, and fail; testRollback and testAdopt run them
		}
		parameters := map[string]string{}
		switch name {
		case "load-test", "score-batch":
			// The service's own address leads to it from this machine too.
			server, err := r.Client.CoreV1().Services(r.Namespace).Get(t.Context(), r.Service("inference"), metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			address := "http://" + server.Spec.ClusterIP + ":8000"
			parameters = map[string]string{"target": address, "users": "2,4", "duration": "2s", "workers": "2", "delay": "15s"}
			if name == "score-batch" {
				parameters = map[string]string{"server": address, "to": "parity"}
			}
		case "pipeline", "load-raw-data":
			// A table at an address that both reach the same way.
			parameters = map[string]string{"source": "s3://sources/penguins.csv"}
		}
		t.Run(name, func(t *testing.T) {
			submitted, err := r.Submit(t.Context(), "parity-"+name, name, parameters, nil)
			if err != nil {
				t.Fatal(err)
			}
			w, err := r.Follow(t.Context(), submitted, nil)
			if err != nil {
				t.Fatal(err)
			}
			argo, argoOut := argoTasks(t, w, set)
			here, hereOut := runner.tasks(t, name, parameters)
			if name == "load-test" { // its report is of another moment
				for _, tasks := range [][]task{argo, here} {
					for i := range tasks {
						for k := range tasks[i].Outputs {
							if k != "workers" {
								tasks[i].Outputs[k] = "measured"
							}
						}
						for k, arg := range tasks[i].Args {
							if name, _, _ := strings.Cut(arg, "="); name == "--begin" || name == "--parts" {
								tasks[i].Args[k] = name
							}
						}
					}
				}
				for _, out := range []map[string]string{argoOut, hereOut} {
					for k := range out {
						out[k] = "measured"
					}
				}
			}
			if name == "score-batch" { // what Argo scored, the runner does not score again
				for i := range argo {
					argo[i].Outputs["report"] = strings.Replace(argo[i].Outputs["report"], `"new":344,`, `"new":0,`, 1)
				}
				argoOut["report"] = strings.Replace(argoOut["report"], `"new":344,`, `"new":0,`, 1)
			}
			if len(here) == 0 {
				t.Fatal("no tasks")
			}
			if diff := cmp.Diff(here, argo); diff != "" {
				t.Errorf("tasks (-runner +Argo):\n%s", diff)
			}
			if diff := cmp.Diff(hereOut, argoOut); diff != "" {
				t.Errorf("outputs of the workflow (-runner +Argo):\n%s", diff)
			}
		})
	}
}

// argoTasks are the tasks of a workflow that has ended, and its own outputs.
func argoTasks(t *testing.T, w *wfv1.Workflow, set *workflow.Set) ([]task, map[string]string) {
	t.Helper()
	var tasks []task
	var whole map[string]string
	for _, n := range w.Status.Nodes {
		outputs := map[string]string{}
		if n.Outputs != nil {
			for _, p := range n.Outputs.Parameters {
				outputs[p.Name] = strings.TrimSuffix(p.Value.String(), "\n")
			}
		}
		if n.ID == w.Name {
			whole = outputs
		}
		// A task that may be tried again is a node of its own above its pods.
		skipped := n.Phase == wfv1.NodeSkipped || n.Phase == wfv1.NodeOmitted
		if n.Type != wfv1.NodeTypeRetry && !skipped {
			continue
		}
		var args []string
		if !skipped {
			args = argsOf(t, set, n)
		}
		name := n.DisplayName
		if n.ID == w.Name {
			name = n.TemplateName // Argo gives the workflow's own name to its first node
		}
		tasks = append(tasks, task{name, args, string(n.Phase), outputs})
	}
	sortTasks(tasks)
	return tasks, whole
}

// argsOf fills the inputs that Argo resolved into the arguments of the template.
func argsOf(t *testing.T, set *workflow.Set, n wfv1.NodeStatus) []string {
	t.Helper()
	name := n.TemplateName
	if n.TemplateRef != nil {
		name = n.TemplateRef.Template
	}
	for _, of := range set.Templates() {
		for _, template := range of.Spec.Templates {
			if template.Name != name || template.Container == nil {
				continue
			}
			var pairs []string
			if n.Inputs != nil {
				for _, p := range n.Inputs.Parameters {
					pairs = append(pairs, "{{inputs.parameters."+p.Name+"}}", p.Value.String())
				}
			}
			args := []string{}
			for _, a := range template.Container.Args {
				args = append(args, strings.NewReplacer(pairs...).Replace(a))
			}
			return args
		}
	}
	t.Fatalf("node %s is of no template", n.DisplayName)
	return nil
}

func sortTasks(tasks []task) {
	slices.SortFunc(tasks, func(a, b task) int { return strings.Compare(a.Name, b.Name) })
}

// runner runs workflows on this machine against the services of a release.
type runner struct {
	set    *workflow.Set
	bin    string
	env    []string
	logins map[string][]string // variables of a program's role in Postgres
	dir    string
}

func newRunner(t *testing.T, m *machine, r *kube.Release, set *workflow.Set) *runner {
	t.Helper()
	host := func(base string) (string, string) {
		u, err := url.Parse(base)
		if err != nil {
			t.Fatal(err)
		}
		return u.Hostname(), u.Port()
	}
	secret := func(name string) map[string]string {
		s, err := r.Secret(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s3 := secret("s3")
	logins := map[string][]string{}
	for program, role := range map[string]string{"load-raw-data": "load", "process-data": "clean", "load-val-test-data": "split", "train-model": "train", "promote-best-model": "promote", "score-batch": "score"} {
		pg := secret("postgres-" + role)
		logins[program] = []string{"PGUSER=" + pg["PGUSER"], "PGPASSWORD=" + pg["PGPASSWORD"]}
	}
	pgHost, pgPort := host(forward(t, r, "postgres", 5432))
	_, spec := m.spec(t, "penguins")
	state, err := local.OpenState(t.TempDir(), m.cache, os.Environ())
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	images := []string{}
	for _, of := range set.Templates() {
		for _, template := range of.Spec.Templates {
			if template.Container != nil {
				images = append(images, "./images/"+program(template.Container.Image))
			}
		}
	}
	slices.Sort(images)
	if err := prepare.Programs(t.Context(), slog.New(slog.DiscardHandler), state.BuildEnv(), m.root, bin, slices.Compact(images)...); err != nil {
		t.Fatal(err)
	}
	user, password, err := r.MLflowLogin(t.Context(), "steps")
	if err != nil {
		t.Fatal(err)
	}
	return &runner{set: set, bin: bin, dir: t.TempDir(), logins: logins, env: []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "MLOPS_SPEC=" + spec, "MLOPS_XGBOOST=" + m.venv(t).XGBoost(),
		"PGHOST=" + pgHost, "PGPORT=" + pgPort,
		"MLFLOW_TRACKING_URI=" + forward(t, r, "mlflow", 5000), "MLFLOW_TRACKING_USERNAME=" + user, "MLFLOW_TRACKING_PASSWORD=" + password, "AWS_ENDPOINT_URL=" + forward(t, r, "minio", 9000),
		"AWS_ACCESS_KEY_ID=" + s3["AWS_ACCESS_KEY_ID"], "AWS_SECRET_ACCESS_KEY=" + s3["AWS_SECRET_ACCESS_KEY"], "AWS_REGION=us-east-1",
	}}
}

// program is the base name of an image.
func program(image string) string {
	name := image[strings.LastIndexByte(image, '/')+1:]
	name, _, _ = strings.Cut(name, ":")
	return name
}

func (u *runner) tasks(t *testing.T, name string, parameters map[string]string) ([]task, map[string]string) {
	t.Helper()
	result, err := workflow.Run(t.Context(), workflow.Options{
		Set: u.set, Workflow: name, Parameters: maps.Clone(parameters), Env: u.env, LogDir: filepath.Join(u.dir, name),
		ProgramEnv: func(image string) []string { return u.logins[program(image)] },
		Program: func(image string) (string, bool) {
			path := filepath.Join(u.bin, program(image))
			_, err := os.Stat(path)
			return path, err == nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var tasks []task
	for _, k := range result.Tasks {
		out := maps.Clone(k.Outputs)
		if out == nil {
			out = map[string]string{}
		}
		args := k.Args
		if k.State != progress.Skipped && k.State != progress.Omitted && args == nil {
			args = []string{}
		}
		tasks = append(tasks, task{k.Name, args, string(k.State), out})
	}
	sortTasks(tasks)
	out := result.Outputs
	if out == nil {
		out = map[string]string{}
	}
	return tasks, out
}
