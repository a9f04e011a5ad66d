package kube

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/fake"
)

// TestSuspend suspends a release's schedules of the data steps, and no other ones.
func TestSuspend(t *testing.T) {
	t.Parallel()
	schedule := func(name, instance, template string) runtime.Object {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "argoproj.io/v1alpha1", "kind": "CronWorkflow",
			"metadata": map[string]any{"name": name, "namespace": "mlops", "labels": map[string]any{"app.kubernetes.io/instance": instance}},
			"spec":     map[string]any{"workflowSpec": map[string]any{"workflowTemplateRef": map[string]any{"name": template}}},
		}}
	}
	client := fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{schedules: "CronWorkflowList"},
		schedule("pipeline", "mlops", "pipeline"), schedule("load", "mlops", "load-raw-data"), schedule("backup", "mlops", "backup"), schedule("theirs", "other", "pipeline"))
	r := &Release{Name: "mlops", Namespace: "mlops", Dynamic: client}
	for _, want := range [][]string{{"load", "pipeline"}, {"load"}, nil} {
		got, err := r.Schedules(context.Background(), "load-raw-data", "pipeline")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("schedules (-want +got):\n%s", diff)
		}
		if len(got) > 0 {
			if err := r.Suspend(context.Background(), got[len(got)-1]); err != nil {
				t.Fatal(err)
			}
		}
	}
}
