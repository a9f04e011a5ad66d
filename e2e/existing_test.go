//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mlops/internal/kube"
)

// install installs a release named mlops in a namespace that there is.
func (m *machine) install(t *testing.T, namespace string, args ...string) *kube.Release {
	t.Helper()
	m.must(t, nil, append([]string{m.helm(t, "4"), "install", "mlops", "charts", "--namespace", namespace, "--kubeconfig", m.kubeconfig(),
		"-f", filepath.Join("dist", "values.yaml"), "--set", "inference.service.nodePort=null,ui.service.nodePort=null"}, args...)...)
	return m.release(t, namespace)
}

// namespace makes one that ends with the test.
func (m *machine) namespace(t *testing.T, name string) *kube.Release {
	t.Helper()
	r := m.release(t, name)
	if _, err := r.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // t's own context has ended by then
		r.Client.CoreV1().Namespaces().Delete(context.Background(), name, metav1.DeleteOptions{})
	})
	return r
}

// secret makes a Secret that a release is told to use.
func secret(t *testing.T, r *kube.Release, name string, values map[string]string) {
	t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: values}
	if _, err := r.Client.CoreV1().Secrets(r.Namespace).Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// testExisting installs a release that has neither a Postgres nor an S3 store nor
// an MLflow, but uses those that exist in another namespace. The S3 store is not
// MinIO, for that MLflow too.
func testExisting(t *testing.T, m *machine) {
	_, spec := m.spec(t, "penguins")
	gateway := m.gateway(t, m.namespace(t, "store"))
	store := m.install(t, "store", "--set", "inference.enabled=false,ui.enabled=false,pipelines.enabled=false,argo.enabled=false,prometheus.enabled=false,grafana.enabled=false,"+
		"minio.enabled=false,global.s3.endpoint="+gateway.endpoint+",global.s3.existingSecret=s3-root,global.s3.mlflowSecret=s3-mlflow", "--wait", "--timeout", "5m")
	postgres, err := store.Secret(t.Context(), "postgres")
	if err != nil {
		t.Fatal(err)
	}
	login, err := store.Secret(t.Context(), "mlflow-steps")
	if err != nil {
		t.Fatal(err)
	}
	r := m.namespace(t, "guest")
	postgres["postgres-user"] = "postgres"
	secret(t, r, "their-postgres", postgres)
	secret(t, r, "s3-root", gateway.keys["root"])
	secret(t, r, "s3-loader", gateway.keys["loader"])
	secret(t, r, "their-mlflow", login)
	began := time.Now()
	m.install(t, "guest", "--set", strings.Join([]string{
		"postgres.enabled=false", "global.postgres.host=mlops-postgres.store", "global.postgres.existingSecret=their-postgres",
		"minio.enabled=false", "global.s3.endpoint=" + gateway.endpoint, "global.s3.existingSecret=s3-root", "global.s3.loaderSecret=s3-loader",
		"mlflow.enabled=false", "global.mlflow.uri=http://mlops-mlflow.store:5000", "global.mlflow.existingSecret=their-mlflow",
		"setup.source.image=", "pipelines.source=",
	}, ","), "--set-file", "global.dataset.spec="+spec, "--set-file", "global.dataset.table="+m.penguinsTable(t), "--wait", "--timeout", "5m")
	eventually(t, 5*time.Minute, func() error {
		w, err := r.Workflow(t.Context(), "pipeline-on-install")
		switch {
		case err != nil || w == nil:
			return fmt.Errorf("no first run: %v", err)
		case w.Status.Phase == wfv1.WorkflowSucceeded:
			return nil
		case w.Status.Phase.Completed():
			t.Fatalf("the first run ended %s: %s", w.Status.Phase, w.Status.Message)
		}
		return fmt.Errorf("the first run is %s, %s", w.Status.Phase, w.Status.Progress)
	})
	served(t, forward(t, r, "inference", 8000))
	app, err := r.Secret(t.Context(), "postgres-app") // with the role that the guest made there
	if err != nil {
		t.Fatal(err)
	}
	secret(t, store, store.Service("postgres-app"), app)
	checkRows(t, store, "penguins", penguins)
	t.Logf("served after %v, on a Postgres, an S3 store that is not MinIO, and an MLflow that existed", time.Since(began).Round(time.Second))
}

// testWrongValues installs what can't work: pods say why, and none crashes again
// and again.
func testWrongValues(t *testing.T, m *machine) {
	r := m.namespace(t, "silent")
	secret(t, r, "their-postgres", map[string]string{"postgres-user": "postgres", "postgres-password": "x"})
	m.install(t, "silent", "--set", "postgres.enabled=false,global.postgres.host=127.0.0.1,global.postgres.port=1,global.postgres.existingSecret=their-postgres")
	waits := func() error {
		pods, err := r.Pods(t.Context(), "app.kubernetes.io/instance=mlops")
		if err != nil {
			return err
		}
		for _, p := range pods {
			for _, c := range p.Status.InitContainerStatuses {
				if c.State.Running == nil {
					continue
				}
				text, err := r.Client.CoreV1().Pods(r.Namespace).GetLogs(p.Name, &corev1.PodLogOptions{Container: c.Name}).DoRaw(t.Context())
				if err == nil && strings.Contains(string(text), "127.0.0.1:1") && strings.Contains(string(text), "connection refused") {
					return nil
				}
			}
		}
		return fmt.Errorf("no pod says that it waits for Postgres")
	}
	eventually(t, time.Minute, waits)
	calm(t, r)

	r = m.namespace(t, "unstored")
	m.install(t, "unstored", "--set", "global.storageClass=missing")
	eventually(t, time.Minute, func() error {
		events, err := r.Client.CoreV1().Events(r.Namespace).List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.kind=PersistentVolumeClaim"})
		if err != nil {
			return err
		}
		for _, e := range events.Items {
			if strings.Contains(e.Message, `"missing" not found`) {
				t.Logf("%s %s: %s", e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Message)
				return nil
			}
		}
		return fmt.Errorf("no claim says that there is no such class: %d events", len(events.Items))
	})
	calm(t, r)
}

// calm holds for a while that no container of the release ends again and again.
func calm(t *testing.T, r *kube.Release) {
	t.Helper()
	for range 10 {
		pods, err := r.Pods(t.Context(), "app.kubernetes.io/instance=mlops")
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pods {
			for _, c := range append(p.Status.InitContainerStatuses, p.Status.ContainerStatuses...) {
				if c.RestartCount > 0 {
					t.Fatalf("%s of %s was started again %d times: %+v", c.Name, p.Name, c.RestartCount, c.LastTerminationState.Terminated)
				}
			}
		}
		time.Sleep(2 * time.Second)
	}
}
