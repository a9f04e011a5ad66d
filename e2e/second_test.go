//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"mlops/internal/kube"
	"mlops/internal/local"
	"mlops/internal/setup"
	tables "mlops/internal/source"
	"mlops/internal/synthetic"
)

// penguins is the number of rows of the small table.
const penguins = 344

// penguinsTable is the small table's file, which a Python package in the shared
// virtual environment holds.
func (m *machine) penguinsTable(t *testing.T) string {
	t.Helper()
	v := m.venv(t)
	return filepath.Join(v.Site, "palmerpenguins", "data", "penguins.csv")
}

func (m *machine) venv(t *testing.T) *local.Venv {
	t.Helper()
	state, err := local.OpenState(m.home, m.cache, os.Environ())
	if err != nil {
		t.Fatal(err)
	}
	python, err := local.FindPython(t.Context(), local.Pythons(os.Getenv("PYTHON")))
	if err != nil {
		t.Fatal(err)
	}
	v, err := state.Venv(t.Context(), quiet, python, filepath.Join(m.root, "python", "requirements.txt"))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// testSecond installs a second release beside the first, with the other Helm, in
// a namespace of its own, of a user's own table: nothing but `helm install`. It
// has to come to a served model by itself.
func testSecond(t *testing.T, m *machine) {
	_, spec := m.spec(t, "penguins")
	began := time.Now()
	m.must(t, nil, m.helms["3"], "install", "mlops", "charts", "--namespace", "penguins", "--create-namespace", "--kubeconfig", m.kubeconfig(),
		"-f", filepath.Join("dist", "values.yaml"),
		"--set", "setup.source.image=", "--set", "pipelines.source=",
		"--set-file", "global.dataset.spec="+spec, "--set-file", "global.dataset.table="+m.penguinsTable(t),
		"--set", "inference.service.nodePort=null,ui.service.nodePort=null",
		"--wait", "--timeout", "10m")
	m.noteTime(t, "helm install --wait (Helm 3, penguins)", time.Since(began), "")
	r := m.release(t, "penguins")
	base := forward(t, r, "inference", 8000)
	eventually(t, 6*time.Minute, func() error {
		w, err := r.Workflow(t.Context(), "pipeline-on-install")
		if err != nil || w == nil {
			return fmt.Errorf("no first run: %v", err)
		}
		if w.Status.Phase.Completed() && w.Status.Phase != wfv1.WorkflowSucceeded {
			t.Fatalf("the first run ended %s: %s", w.Status.Phase, w.Status.Message)
		}
		if !w.Status.Phase.Completed() {
			return fmt.Errorf("the first run is %s, %s", w.Status.Phase, w.Status.Progress)
		}
		return nil
	})
	m.noteTime(t, "helm install to a served model (Helm 3, penguins)", time.Since(began), "")
	if view := served(t, base); view.Model.Name != "penguin-sex" {
		t.Errorf("%s is served", view.Model.Name)
	}
	checkRows(t, r, "penguins", penguins)
}

// steps are the kinds of steps, by template.
var steps = []string{"load-raw-data", "process-data", "load-val-test-data", "candidates", "train", "promote-best-model"}

// many is the number of rows of a table that is small, but on which a step runs
// for a second or more: long enough to be deleted in its middle.
const many = 150_000

// upload makes such a table and puts it where the pipeline reads it.
func (m *machine) upload(t *testing.T, r *kube.Release) (source string) {
	t.Helper()
	spec, _ := m.spec(t, "penguins")
	path := filepath.Join(t.TempDir(), "many.csv")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := synthetic.Write(f, spec, many, 1); err != nil {
		t.Fatal(err)
	}
	secret, err := r.Secret(t.Context(), "s3")
	if err != nil {
		t.Fatal(err)
	}
	store := tables.S3{Endpoint: forward(t, r, "minio", 9000), AccessKey: secret["AWS_ACCESS_KEY_ID"], SecretKey: secret["AWS_SECRET_ACCESS_KEY"], Region: "us-east-1"}
	client, err := store.Client()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := setup.Upload(t.Context(), client, "sources", path); err != nil {
		t.Fatal(err)
	}
	return "s3://sources/many.csv"
}

// testStepsDeleted deletes a running pod of each kind of step once. The workflow
// ends by itself, with exactly the rows of the source. A kind that was over too
// soon is tried again in another run, and then as soon as its pod has begun.
func testStepsDeleted(t *testing.T, m *machine) {
	r := m.release(t, "penguins")
	connect := databases(t, r)
	source := m.upload(t, r)
	hit := map[string]string{}
	for run := 1; run <= 4 && len(hit) < len(steps); run++ {
		drop(t, connect, "penguins")
		name, err := r.Submit(t.Context(), fmt.Sprintf("deleted-%d", run), "pipeline", map[string]string{"source": source}, nil)
		if err != nil {
			t.Fatal(err)
		}
		begun := mainRuns
		if run > 2 {
			begun = podRuns
		}
		deleted := deletePods(t, r, name, begun, hit)
		w, err := r.Follow(t.Context(), name, nil)
		if err != nil {
			t.Fatalf("run %d: %v", run, err)
		}
		for kind, d := range deleted() {
			if how := d.interrupted(w); how != "" {
				hit[kind] = fmt.Sprintf("in run %d: %s", run, how)
			}
		}
		t.Logf("run %d took %s; interrupted so far: %v", run, w.Status.FinishedAt.Sub(w.Status.StartedAt.Time), hit)
		checkRows(t, r, "penguins", many)
	}
	for _, s := range steps {
		if hit[s] == "" {
			t.Errorf("no pod of %s could be deleted while it ran", s)
		}
	}
	served(t, forward(t, r, "inference", 8000))
}

// deletePods deletes the first pod of each kind of step of a workflow that has
// begun and is not in done. What it returns ends it and names the pods.
func deletePods(t *testing.T, r *kube.Release, name string, begun func(*corev1.Pod) bool, done map[string]string) func() map[string]*deletion {
	t.Helper()
	w, err := r.Client.CoreV1().Pods(r.Namespace).Watch(t.Context(), metav1.ListOptions{LabelSelector: "workflows.argoproj.io/workflow=" + name})
	if err != nil {
		t.Fatal(err)
	}
	deleted := map[string]*deletion{}
	var all sync.WaitGroup
	all.Go(func() {
		for e := range w.ResultChan() {
			p, ok := e.Object.(*corev1.Pod)
			if !ok {
				continue
			}
			kind := template(p)
			if d := deleted[kind]; d != nil {
				d.again = d.again || p.Name == d.pod && p.UID != d.uid
				continue
			}
			if !slices.Contains(steps, kind) || done[kind] != "" || !begun(p) {
				continue
			}
			if err := r.Client.CoreV1().Pods(r.Namespace).Delete(t.Context(), p.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
				t.Error(err)
			}
			deleted[kind] = &deletion{pod: p.Name, uid: p.UID}
		}
	})
	return func() map[string]*deletion {
		w.Stop()
		all.Wait()
		return deleted
	}
}

// deletion is a workflow's pod that was deleted.
type deletion struct {
	pod   string
	uid   types.UID
	again bool // Argo has made a pod of that name once more
}

// interrupted says how Argo dealt with the deletion: a try that has failed and was
// followed by another, or the same try with a new pod. Empty: the step was over.
func (d *deletion) interrupted(w *wfv1.Workflow) string {
	switch {
	case interrupted(w, d.pod):
		return "tried again"
	case d.again:
		return "run again in a new pod"
	}
	return ""
}

// template is the template that a workflow's pod runs: the end of its node's name,
// "name.train-model.train(0:shallow)(0)".
func template(p *corev1.Pod) string {
	name, _, _ := strings.Cut(p.Annotations["workflows.argoproj.io/node-name"], "(")
	return name[strings.LastIndexByte(name, '.')+1:]
}

// podRuns reports whether a pod has begun with its first container.
func podRuns(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.InitContainerStatuses, func(s corev1.ContainerStatus) bool {
		return s.State.Running != nil || s.State.Terminated != nil
	})
}

// mainRuns reports whether a pod's step runs.
func mainRuns(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
		return s.Name == "main" && s.State.Running != nil
	})
}

// interrupted reports whether a workflow's pod did not succeed.
func interrupted(w *wfv1.Workflow, pod string) bool {
	for _, n := range w.Status.Nodes {
		if n.Type == wfv1.NodeTypePod && strings.HasSuffix(pod, n.ID[strings.LastIndexByte(n.ID, '-'):]) {
			return n.Phase == wfv1.NodeFailed || n.Phase == wfv1.NodeError
		}
	}
	return false
}
