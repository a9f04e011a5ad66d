//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mlops/internal/kube"
)

// TestFaults breaks a platform that was installed by `make up` on purpose, on the
// whole table. After each fault it has to be whole, see (*faults).whole. It takes
// long and is not part of CI.
func TestFaults(t *testing.T) {
	m := newMachine(t)
	defer t.Run("down", func(t *testing.T) { m.must(t, []string{"PURGE=1"}, "make", "down") })
	if !t.Run("install cluster", func(t *testing.T) { testCluster(t, m) }) || !t.Run("install", func(t *testing.T) { testUp(t, m) }) {
		return
	}
	f := newFaults(t, m)
	t.Run("steps", func(t *testing.T) { testStepsKilled(t, f) })
	for _, part := range []string{"postgres", "minio", "argo-controller"} {
		t.Run(part+" deleted in the middle", func(t *testing.T) { testPartDeleted(t, f, part) })
	}
	t.Run("upgrade under load", func(t *testing.T) { testUpgrade(t, f) })
	t.Run("uninstall and install again", func(t *testing.T) { testReinstall(t, f) })
	t.Run("backup", func(t *testing.T) { testBackup(t, f) })
	t.Run("services that exist", func(t *testing.T) { testExisting(t, m) })
	t.Run("values that are wrong", func(t *testing.T) { testWrongValues(t, m) })
	t.Run("services of the node killed", func(t *testing.T) { testNodeServicesKilled(t, f) })
	t.Run("node killed", func(t *testing.T) { testNodeKilled(t, f) })
}

// testPartDeleted deletes a service's pod when the pipeline is in the middle of
// its data, and again when it trains.
func testPartDeleted(t *testing.T, f *faults, part string) {
	r := f.r
	name := f.anew(t, "without-"+part)
	moments := []string{"process-data", "train"}
	for _, kind := range moments {
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
			if w, err := r.Workflow(t.Context(), name); err == nil && w != nil && w.Status.Fulfilled() {
				t.Fatalf("the workflow ended %s before a pod of %s was seen to run: %s", w.Status.Phase, kind, w.Status.Message)
			}
			return fmt.Errorf("no pod of %s runs", kind)
		})
		pods, err := r.Pods(t.Context(), "app.kubernetes.io/component="+part+",app.kubernetes.io/instance="+r.Name)
		if err != nil || len(pods) == 0 {
			t.Fatalf("%d pods of %s, %v", len(pods), part, err)
		}
		if err := r.Client.CoreV1().Pods(r.Namespace).Delete(t.Context(), pods[0].Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if w := f.follow(t, name); w != nil {
		t.Logf("%s deleted during %s: %s after %s", part, strings.Join(moments, " and "), w.Status.Phase, took(w))
	}
	f.whole(t)
}

// testUpgrade changes values under load: no request fails, passwords stay.
func testUpgrade(t *testing.T, f *faults) {
	m, r := f.m, f.r
	before := secrets(t, r)
	underLoad(t, 10, func() {
		for _, memory := range []string{"200Mi", "300Mi"} {
			m.must(t, nil, m.helm(t, "4"), "upgrade", "mlops", "charts", "--namespace", "mlops", "--kubeconfig", m.kubeconfig(), "--reuse-values",
				"--set", "inference.resources.limits.memory="+memory, "--wait", "--timeout", "5m")
		}
	})
	if after := secrets(t, r); after != before {
		t.Error("passwords have changed")
	}
	f.whole(t)
}

// testReinstall takes the release away and installs it again on what it kept.
func testReinstall(t *testing.T, f *faults) {
	m, r := f.m, f.r
	before := secrets(t, r)
	view := served(t, inference)
	m.must(t, nil, m.helm(t, "3"), "uninstall", "mlops", "--namespace", "mlops", "--kubeconfig", m.kubeconfig(), "--wait")
	m.must(t, nil, m.helm(t, "3"), "install", "mlops", "charts", "--namespace", "mlops", "--kubeconfig", m.kubeconfig(),
		"-f", filepath.Join("dist", "values.yaml"), "--set", "nodePorts.mlflow.enabled=true,nodePorts.argo.enabled=true", "--wait", "--timeout", "10m")
	if after := secrets(t, r); after != before {
		t.Error("passwords have changed")
	}
	if again := served(t, inference); again.Model != view.Model {
		t.Errorf("%+v is served, it was %+v", again.Model, view.Model)
	}
	if w, err := r.Workflow(t.Context(), "pipeline-on-install"); err != nil || w != nil {
		t.Errorf("a first run was started, though a version is in production: %v", err)
	}
	f.whole(t)
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

// testNodeServicesKilled kills the node's services one by one under load. The node
// starts them again by itself, and no prediction fails.
func testNodeServicesKilled(t *testing.T, f *faults) {
	cluster := filepath.Join(f.m.home, "bin", "cluster")
	for _, name := range []string{"kubelet", "containerd", "proxy", "etcd", "apiserver"} {
		underLoad(t, 10, func() { // fails with each request that failed
			f.m.must(t, nil, cluster, "kill", name)
			began := time.Now()
			eventually(t, time.Minute, func() error {
				out, err := f.m.run(t, nil, cluster, "status")
				if err == nil && (strings.Contains(out, "down") || strings.Contains(out, "up, but") || strings.Contains(out, "no: ")) {
					err = fmt.Errorf("it does not work yet:\n%s", out)
				}
				return err
			})
			f.m.noteTime(t, name+" killed, until the node works again", time.Since(began), "")
		})
	}
	f.whole(t)
}

// testNodeKilled kills all processes of the node at once, and starts it again.
func testNodeKilled(t *testing.T, f *faults) {
	m := f.m
	cluster := filepath.Join(m.home, "bin", "cluster")
	m.must(t, nil, cluster, "kill")
	began := time.Now()
	m.must(t, nil, "make", "up")
	m.noteTime(t, "make up after the whole node was killed", time.Since(began), "")
	f.r = m.release(t, "mlops")
	f.whole(t)
}
