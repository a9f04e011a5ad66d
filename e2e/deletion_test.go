//go:build e2e

package e2e

import (
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"mlops/internal/kube"
)

// steps are the kinds of steps, by template.
var steps = []string{"load-raw-data", "process-data", "load-val-test-data", "candidates", "train", "promote-best-model"}

// aim is a pod of a workflow that is to be deleted, of the first that fit.
type aim struct {
	step  string                 // as stepOf says it; empty: any of its kind
	begun func(*corev1.Pod) bool // whether the pod has come so far
	after time.Duration          // since its step began
}

// deletion is a workflow's pod that was deleted.
type deletion struct {
	pod   string
	uid   types.UID
	runs  bool          // the last that the API said of it: its step runs
	sent  bool          // it was deleted, and had not gone by itself
	at    time.Duration // since its step began
	again bool          // Argo has made a pod of that name once more
}

// deletePods deletes a pod of each kind of step of a workflow that is aimed at.
// What it returns ends it and names the pods.
func deletePods(t *testing.T, r *kube.Release, name string, aims map[string]aim) func() map[string]*deletion {
	t.Helper()
	w := watchPods(t, r, name)
	deleted := map[string]*deletion{}
	due := make(chan *deletion, len(aims)) // so that no timer ever waits
	see := func(p *corev1.Pod) {
		kind := template(p)
		if d := deleted[kind]; d != nil {
			switch {
			case p.Name != d.pod:
			case p.UID != d.uid:
				d.again = true
			case !d.sent:
				d.runs = mainRuns(p)
			}
			return
		}
		a, wanted := aims[kind]
		if !wanted || a.step != "" && a.step != stepOf(p) || !a.begun(p) {
			return
		}
		d := &deletion{pod: p.Name, uid: p.UID, runs: mainRuns(p)}
		deleted[kind] = d
		began := time.Now()
		if s := mainOf(p).State.Running; s != nil {
			began = s.StartedAt.Time
		}
		time.AfterFunc(a.after-time.Since(began), func() {
			d.at = time.Since(began)
			due <- d
		})
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			select {
			case e, open := <-w.ResultChan():
				if !open {
					return
				}
				if p, ok := e.Object.(*corev1.Pod); ok {
					see(p)
				}
			case d := <-due:
				err := r.Client.CoreV1().Pods(r.Namespace).Delete(t.Context(), d.pod, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(d.uid))})
				d.sent = err == nil
				if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
					t.Error(err)
				}
			}
		}
	})
	return func() map[string]*deletion {
		w.Stop()
		all.Wait()
		maps.DeleteFunc(deleted, func(_ string, d *deletion) bool { return !d.sent })
		return deleted
	}
}

// watchPods tells of each change of a workflow's pods.
func watchPods(t *testing.T, r *kube.Release, name string) watch.Interface {
	t.Helper()
	w, err := r.Client.CoreV1().Pods(r.Namespace).Watch(t.Context(), metav1.ListOptions{LabelSelector: "workflows.argoproj.io/workflow=" + name})
	if err != nil {
		t.Fatal(err)
	}
	return w
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

// interrupted reports whether a workflow's pod did not succeed.
func interrupted(w *wfv1.Workflow, pod string) bool {
	for _, n := range w.Status.Nodes {
		if n.Type == wfv1.NodeTypePod && strings.HasSuffix(pod, n.ID[strings.LastIndexByte(n.ID, '-'):]) {
			return n.Phase == wfv1.NodeFailed || n.Phase == wfv1.NodeError
		}
	}
	return false
}

// stepOf is what a workflow's pod runs, whichever try it is: of the node
// "name.train-model.train(0:shallow)(0)" it is "train(0:shallow)".
func stepOf(p *corev1.Pod) string {
	name := p.Annotations["workflows.argoproj.io/node-name"]
	before, _, _ := strings.Cut(name, "(")
	step := name[strings.LastIndexByte(before, '.')+1:]
	return step[:max(0, strings.LastIndexByte(step, '('))]
}

// template is the template of which a workflow's pod is.
func template(p *corev1.Pod) string { return kindOf(stepOf(p)) }

// kindOf is the template of a step.
func kindOf(step string) string {
	kind, _, _ := strings.Cut(step, "(")
	return kind
}

// podRuns reports whether a pod has begun with its first container.
func podRuns(p *corev1.Pod) bool {
	for _, s := range p.Status.InitContainerStatuses {
		if s.State.Running != nil || s.State.Terminated != nil {
			return true
		}
	}
	return false
}

// mainRuns reports whether a pod's step runs.
func mainRuns(p *corev1.Pod) bool { return mainOf(p).State.Running != nil }

// mainOf is the container in which a pod's step runs.
func mainOf(p *corev1.Pod) corev1.ContainerStatus {
	for _, s := range p.Status.ContainerStatuses {
		if s.Name == "main" {
			return s
		}
	}
	return corev1.ContainerStatus{}
}
