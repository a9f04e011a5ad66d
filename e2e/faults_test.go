//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mlops/internal/kube"
)

// kills is how often each kind of step is killed.
const kills = 3

// TestFaults breaks a platform that was installed by `make up` on purpose, on the
// whole table. After each fault: exactly the rows of the source, and one version
// in production. It takes long and is not part of CI.
func TestFaults(t *testing.T) {
	m := newMachine(t)
	defer t.Run("down", func(t *testing.T) { m.must(t, []string{"PURGE=1"}, "make", "down") })
	if !t.Run("install cluster", func(t *testing.T) { testCluster(t, m) }) || !t.Run("install", func(t *testing.T) { testUp(t, m) }) {
		return
	}
	r := m.release(t, "mlops")
	t.Run("steps", func(t *testing.T) { testStepsKilled(t, m, r) })
	for _, part := range []string{"postgres", "minio", "argo-controller"} {
		t.Run(part+" deleted in the middle", func(t *testing.T) { testPartDeleted(t, m, r, part) })
	}
	t.Run("upgrade under load", func(t *testing.T) { testUpgrade(t, m, r) })
	t.Run("uninstall and install again", func(t *testing.T) { testReinstall(t, m, r) })
	t.Run("node killed", func(t *testing.T) { testNodeKilled(t, m) })
}

// pipelineAnew deletes the rows and runs the pipeline from the source.
func pipelineAnew(t *testing.T, r *kube.Release, name string) string {
	t.Helper()
	connect, closed, err := r.Databases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	drop(t, connect, "diabetes")
	closed()
	submitted, err := r.Submit(t.Context(), name, "pipeline", map[string]string{"source": "s3://sources/diabetes-130-us-hospitals.zip"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return submitted
}

// whole checks what has to be true after each fault.
func whole(t *testing.T, r *kube.Release) {
	t.Helper()
	checkRows(t, r, "diabetes", rows)
	served(t, inference)
}

func follow(t *testing.T, r *kube.Release, name string) *wfv1.Workflow {
	t.Helper()
	w, err := r.Follow(t.Context(), name, nil)
	if err != nil {
		t.Errorf("workflow %s: %v", name, err)
	}
	return w
}

// testStepsKilled kills a pod of each kind of step at a random moment, some times.
func testStepsKilled(t *testing.T, m *machine, r *kube.Release) {
	limits := map[string]time.Duration{ // about how long each runs
		"load-raw-data": 5 * time.Second, "process-data": 5 * time.Second, "load-val-test-data": 2 * time.Second,
		"candidates": 200 * time.Millisecond, "train": 20 * time.Second, "promote-best-model": 2 * time.Second,
	}
	hits := map[string]int{}
	for run := 1; run <= kills; run++ {
		name := pipelineAnew(t, r, fmt.Sprintf("killed-%d", run))
		killed := map[string]string{}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			waiting := map[string]time.Time{} // when each kind's pod is killed
			for ctx.Err() == nil {
				pods, err := r.Pods(ctx, "workflows.argoproj.io/workflow="+name)
				if err == nil {
					for _, p := range pods {
						kind := template(&p)
						if killed[kind] != "" || !mainRuns(&p) || limits[kind] == 0 {
							continue
						}
						if waiting[kind].IsZero() {
							waiting[kind] = time.Now().Add(rand.N(limits[kind]))
						}
						if time.Now().Before(waiting[kind]) {
							continue
						}
						if r.Client.CoreV1().Pods(r.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{}) == nil {
							killed[kind] = p.Name
						}
					}
				}
				time.Sleep(50 * time.Millisecond)
			}
		}()
		w := follow(t, r, name)
		cancel()
		<-done
		if w == nil {
			return
		}
		for kind := range killed {
			hits[kind]++
		}
		t.Logf("run %d: %s after %s; killed %d kinds", run, w.Status.Phase, w.Status.FinishedAt.Sub(w.Status.StartedAt.Time), len(killed))
		whole(t, r)
	}
	t.Logf("pods deleted while the API said that their step ran, by kind: %v", hits)
}

// testPartDeleted deletes a service's pod when the pipeline is in the middle of
// its data, and again when it trains.
func testPartDeleted(t *testing.T, m *machine, r *kube.Release, part string) {
	name := pipelineAnew(t, r, "without-"+part)
	deleted := []string{}
	for _, kind := range []string{"process-data", "train"} {
		eventually(t, 5*time.Minute, func() error {
			pods, err := r.Pods(t.Context(), "workflows.argoproj.io/workflow="+name)
			if err != nil {
				return err
			}
			for _, p := range pods {
				if template(&p) == kind && mainRuns(&p) {
					return nil
				}
			}
			w, err := r.Workflow(t.Context(), name)
			if err == nil && w != nil && w.Status.Fulfilled() {
				return nil
			}
			return fmt.Errorf("no pod of %s runs", kind)
		})
		pods, err := r.Pods(t.Context(), "app.kubernetes.io/name="+part+",app.kubernetes.io/instance="+r.Name)
		if err != nil || len(pods) == 0 {
			t.Fatalf("%d pods of %s, %v", len(pods), part, err)
		}
		if err := r.Client.CoreV1().Pods(r.Namespace).Delete(t.Context(), pods[0].Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		deleted = append(deleted, kind)
	}
	if w := follow(t, r, name); w != nil {
		t.Logf("%s deleted during %s: %s after %s", part, strings.Join(deleted, " and "), w.Status.Phase, w.Status.FinishedAt.Sub(w.Status.StartedAt.Time))
	}
	whole(t, r)
}

// testUpgrade changes values under load: no request fails, passwords stay.
func testUpgrade(t *testing.T, m *machine, r *kube.Release) {
	before := secrets(t, r)
	underLoad(t, 10, func() {
		for _, memory := range []string{"200Mi", "300Mi"} {
			m.must(t, nil, m.helms["4"], "upgrade", "mlops", "charts", "--namespace", "mlops", "--kubeconfig", m.kubeconfig(), "--reuse-values",
				"--set", "inference.resources.limits.memory="+memory, "--wait", "--timeout", "5m")
		}
	})
	if after := secrets(t, r); after != before {
		t.Error("passwords have changed")
	}
	whole(t, r)
}

// testReinstall takes the release away and installs it again on what it kept.
func testReinstall(t *testing.T, m *machine, r *kube.Release) {
	before := secrets(t, r)
	view := served(t, inference)
	m.must(t, nil, m.helms["3"], "uninstall", "mlops", "--namespace", "mlops", "--kubeconfig", m.kubeconfig(), "--wait")
	m.must(t, nil, m.helms["3"], "install", "mlops", "charts", "--namespace", "mlops", "--kubeconfig", m.kubeconfig(),
		"-f", filepath.Join("dist", "values.yaml"), "--set", "exposeAll=true", "--wait", "--timeout", "10m")
	if after := secrets(t, r); after != before {
		t.Error("passwords have changed")
	}
	if again := served(t, inference); again.Model != view.Model {
		t.Errorf("%+v is served, it was %+v", again.Model, view.Model)
	}
	if w, err := r.Workflow(t.Context(), "pipeline-on-install"); err != nil || w != nil {
		t.Errorf("a first run was started, though a version is in production: %v", err)
	}
	whole(t, r)
}

func secrets(t *testing.T, r *kube.Release) string {
	t.Helper()
	list, err := r.Client.CoreV1().Secrets(r.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, s := range list.Items {
		if s.Type == corev1.SecretTypeOpaque {
			fmt.Fprintln(&b, s.Name, s.Data)
		}
	}
	return b.String()
}

// testNodeKilled kills all processes of the node at once, and starts it again.
func testNodeKilled(t *testing.T, m *machine) {
	cluster := filepath.Join(m.home, "bin", "cluster")
	m.must(t, nil, cluster, "kill")
	began := time.Now()
	m.must(t, nil, "make", "up")
	m.noteTime(t, "make up after the whole node was killed", time.Since(began), "")
	whole(t, m.release(t, "mlops"))
}
