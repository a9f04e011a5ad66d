//go:build e2e

package e2e

import (
	"crypto/rand"
	"encoding/json"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"mlops/internal/signature"
)

// testRotated changes passwords and the signing key as docs/operating.md says, under load.
func testRotated(t *testing.T, f *faults) {
	f.observe(t, "passwords of Postgres' roles, of MLflow's users and of the S3 store changed", always, func(t *testing.T) time.Duration {
		began := time.Now()
		for name, key := range map[string]string{
			"postgres-load": "PGPASSWORD", "postgres-train": "PGPASSWORD", "postgres-promote": "PGPASSWORD",
			"mlflow-steps": "MLFLOW_TRACKING_PASSWORD", "mlflow-inference": "MLFLOW_TRACKING_PASSWORD",
			"s3-mlflow": "AWS_SECRET_ACCESS_KEY", "s3-loader": "AWS_SECRET_ACCESS_KEY",
		} {
			f.patch(t, name, map[string]string{key: rand.Text()})
		}
		f.setUpAgain(t)
		eventually(t, most, func() error { return f.works(t) })
		took := time.Since(began)
		f.follow(t, f.anew(t, "rotated"))
		return took
	})
	f.observe(t, "signing key rotated", always, func(t *testing.T) time.Duration {
		began := time.Now()
		private, public, err := signature.Generate()
		if err != nil {
			t.Fatal(err)
		}
		signers, err := f.r.Secret(t.Context(), "signers")
		if err != nil {
			t.Fatal(err)
		}
		f.patch(t, "signers", map[string]string{"MLOPS_SIGNERS": signers["MLOPS_SIGNERS"] + string(public)})
		f.restart(t, "inference")
		f.patch(t, "signing", map[string]string{"MLOPS_SIGNING_KEY": string(private)})
		f.run(t, f.r, "promote-best-model", nil, "")
		// The old key is not trusted any more, and what is in production is still served.
		f.patch(t, "signers", map[string]string{"MLOPS_SIGNERS": string(public)})
		f.restart(t, "inference")
		return time.Since(began)
	})
}

// patch changes values of one of the release's Secrets.
func (f *faults) patch(t *testing.T, name string, values map[string]string) {
	t.Helper()
	text, err := json.Marshal(map[string]any{"stringData": values})
	if err == nil {
		_, err = f.r.Client.CoreV1().Secrets(f.r.Namespace).Patch(t.Context(), f.r.Service(name), types.MergePatchType, text, metav1.PatchOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// setUpAgain has the set-up Job run again, and everything read its Secrets again.
func (f *faults) setUpAgain(t *testing.T) {
	t.Helper()
	m := f.m
	background := metav1.DeletePropagationBackground
	err := f.r.Client.BatchV1().Jobs(f.r.Namespace).DeleteCollection(t.Context(), metav1.DeleteOptions{PropagationPolicy: &background},
		metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=setup,app.kubernetes.io/instance=" + f.r.Name})
	if err != nil {
		t.Fatal(err)
	}
	m.must(t, nil, m.helm(t, "4"), "upgrade", "mlops", "charts", "--namespace", "mlops", "--kubeconfig", m.kubeconfig(), "--reuse-values", "--wait", "--wait-for-jobs", "--timeout", "5m")
	f.restart(t, "mlflow", "inference")
}

// restart rolls deployments, and waits until that is over.
func (f *faults) restart(t *testing.T, parts ...string) {
	t.Helper()
	if missing, err := f.r.Restart(t.Context(), parts...); err != nil || len(missing) > 0 {
		t.Fatalf("restarting %v: %v is missing, %v", parts, missing, err)
	}
	eventually(t, most, func() error { return f.works(t) })
}
