package kube

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
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
			revision(t, client, "mlops", "mlops", i+1, status)
		}
		exists, succeeded, err := (&Release{Client: client, Namespace: "mlops", Name: "mlops"}).Installed(t.Context())
		if err != nil || exists != tt.exists || succeeded != tt.succeeded {
			t.Errorf("revisions %v: exists %v, succeeded %v, %v; want %v, %v", tt.statuses, exists, succeeded, err, tt.exists, tt.succeeded)
		}
	}
}

// revision adds what Helm keeps of a release's revision.
func revision(t *testing.T, client kubernetes.Interface, namespace, release string, number int, status string) {
	t.Helper()
	_, err := client.CoreV1().Secrets(namespace).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Name:   fmt.Sprintf("sh.helm.release.v1.%s.v%d", release, number),
		Labels: map[string]string{"owner": "helm", "name": release, "version": fmt.Sprint(number), "status": status}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func TestElsewhere(t *testing.T) {
	t.Parallel()
	client := fake.NewClientset()
	revision(t, client, "mlops", "mlops", 1, "deployed")
	revision(t, client, "team-b", "mlops", 1, "superseded")
	revision(t, client, "team-b", "mlops", 2, "failed")
	revision(t, client, "team-a", "mlops", 1, "deployed")
	revision(t, client, "gone", "mlops", 1, "uninstalled")
	revision(t, client, "others", "grafana", 1, "deployed")
	got, err := (&Release{Client: client, Namespace: "mlops", Name: "mlops"}).Elsewhere(t.Context())
	if diff := cmp.Diff([]string{"team-a", "team-b"}, got); err != nil || diff != "" {
		t.Errorf("%v, namespaces (-want +got):\n%s", err, diff)
	}
}
