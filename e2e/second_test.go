//go:build e2e

package e2e

import (
	"encoding/json"
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

	"mlops/internal/kube"
	"mlops/internal/local"
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
	m.note(t, "helm 3 install --wait, second namespace", seconds(time.Since(began)))
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
	m.note(t, "helm install to a served model, second namespace", seconds(time.Since(began)))
	if view := served(t, base); view.Model.Name != "penguin-sex" {
		t.Errorf("%s is served", view.Model.Name)
	}
	checkRows(t, r, "penguins", penguins)
}

// steps are the kinds of steps, by template.
var steps = []string{"load-raw-data", "process-data", "load-val-test-data", "candidates", "train", "promote-best-model"}

// testStepsDeleted deletes a running pod of each kind of step once. The workflow
// ends by itself, with exactly the rows of the source. A step of this table is
// over so soon that the deletion may come too late: then it is tried again in
// another run.
func testStepsDeleted(t *testing.T, m *machine) {
	r := m.release(t, "penguins")
	connect := databases(t, r)
	hit := map[string]bool{}
	for run := 1; run <= 5 && len(hit) < len(steps); run++ {
		drop(t, connect, "penguins")
		name, err := r.Submit(t.Context(), fmt.Sprintf("deleted-%d", run), "pipeline", map[string]string{"source": "s3://sources/penguins.csv"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		deleted := deletePods(t, r, name, hit)
		w, err := r.Follow(t.Context(), name, nil)
		if err != nil {
			t.Fatalf("run %d: %v", run, err)
		}
		for template, pod := range deleted() {
			if interrupted(w, pod) {
				hit[template] = true
			}
		}
		t.Logf("run %d: interrupted so far: %v", run, hit)
		checkRows(t, r, "penguins", penguins)
		ws, err := r.Workflow(t.Context(), name)
		if err != nil || ws == nil {
			t.Fatal(err)
		}
	}
	for _, s := range steps {
		if !hit[s] {
			t.Errorf("no pod of %s could be deleted while it ran", s)
		}
	}
	served(t, forward(t, r, "inference", 8000))
}

// deletePods deletes the first running pod of each kind of step of a workflow
// that is not in done. What it returns ends it and names the pods.
func deletePods(t *testing.T, r *kube.Release, name string, done map[string]bool) func() map[string]string {
	t.Helper()
	w, err := r.Client.CoreV1().Pods(r.Namespace).Watch(t.Context(), metav1.ListOptions{LabelSelector: "workflows.argoproj.io/workflow=" + name})
	if err != nil {
		t.Fatal(err)
	}
	deleted := map[string]string{}
	var all sync.WaitGroup
	all.Go(func() {
		for e := range w.ResultChan() {
			p, ok := e.Object.(*corev1.Pod)
			if !ok || !mainRuns(p) {
				continue
			}
			i := slices.IndexFunc(steps, func(s string) bool { return template(p) == s })
			if i < 0 || done[steps[i]] || deleted[steps[i]] != "" {
				continue
			}
			now := int64(0)
			if err := r.Client.CoreV1().Pods(r.Namespace).Delete(t.Context(), p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil && !apierrors.IsNotFound(err) {
				t.Error(err)
			}
			deleted[steps[i]] = p.Name
		}
	})
	return func() map[string]string {
		w.Stop()
		all.Wait()
		return deleted
	}
}

// template is the template that a workflow's pod runs.
func template(p *corev1.Pod) string {
	for _, c := range p.Spec.Containers {
		for _, e := range c.Env {
			if e.Name != "ARGO_TEMPLATE" {
				continue
			}
			var of struct{ Name string }
			if json.Unmarshal([]byte(e.Value), &of) == nil {
				return of.Name
			}
		}
	}
	return ""
}

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
