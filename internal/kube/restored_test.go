package kube

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

// TestRestart restarts a deployment that is there and names those that are not.
func TestRestart(t *testing.T) {
	t.Parallel()
	one := int32(1)
	client := fake.NewClientset(&appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "mlops-inference", Namespace: "ns"},
		Spec:       appsv1.DeploymentSpec{Replicas: &one},
		Status:     appsv1.DeploymentStatus{Replicas: 1, UpdatedReplicas: 1, AvailableReplicas: 1},
	})
	r := &Release{Client: client, Namespace: "ns", Name: "mlops"}
	missing, err := r.Restart(t.Context(), "mlflow", "inference", "argo")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"mlflow", "argo"}, missing); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	d, err := client.AppsV1().Deployments("ns").Get(t.Context(), "mlops-inference", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if d.Spec.Template.Annotations["kubectl.kubernetes.io/restartedAt"] == "" {
		t.Error("the deployment that is there was not restarted")
	}
}
