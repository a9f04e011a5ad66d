package kube

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func TestInstalled(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		statuses          []string // by revision
		exists, succeeded bool
	}{
		{nil, false, false},
		{[]string{"pending-install"}, false, false},
		{[]string{"deployed"}, true, true},
		{[]string{"superseded", "deployed"}, true, true},
		{[]string{"superseded", "superseded", "failed"}, true, false}, // as a rollback that Kubernetes refuses leaves it
		{[]string{"deployed", "pending-upgrade"}, true, false},
		{[]string{"superseded", "uninstalled"}, false, false},
		{[]string{"superseded", "superseded", "superseded", "superseded", "superseded", "superseded", "superseded", "superseded", "superseded", "failed"}, true, false}, // 10 is above 9
	} {
		client := fake.NewClientset()
		for i, status := range tt.statuses {
			_, err := client.CoreV1().Secrets("mlops").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
				Name:   fmt.Sprintf("sh.helm.release.v1.mlops.v%d", i+1),
				Labels: map[string]string{"owner": "helm", "name": "mlops", "version": fmt.Sprint(i + 1), "status": status}}}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
		}
		exists, succeeded, err := (&Release{Client: client, Namespace: "mlops", Name: "mlops"}).Installed(t.Context())
		if err != nil || exists != tt.exists || succeeded != tt.succeeded {
			t.Errorf("revisions %v: exists %v, succeeded %v, %v; want %v, %v", tt.statuses, exists, succeeded, err, tt.exists, tt.succeeded)
		}
	}
}
