package setup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// firstName is the name of the first run. The name is fixed, so that the run
// can't be started twice.
const firstName = "pipeline-on-install"

// Resource identifies Argo's workflows in the Kubernetes API.
var Resource = schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "workflows"}

// Pipeline starts the WorkflowTemplate pipeline in a namespace.
type Pipeline struct {
	Client     dynamic.Interface
	Namespace  string
	Parameters map[string]string
}

// Start creates the workflow firstName, and replaces one of that name that has
// failed: upgrading the release, or running the Job again, repeats the run after
// its cause is fixed.
func (p *Pipeline) Start(ctx context.Context) (bool, error) {
	api := p.Client.Resource(Resource).Namespace(p.Namespace)
	for range 2 {
		_, err := api.Create(ctx, Workflow(firstName, "pipeline", p.Parameters), metav1.CreateOptions{})
		if err == nil {
			return true, nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return false, fmt.Errorf("starting the pipeline: %w", err)
		}
		old, err := api.Get(ctx, firstName, metav1.GetOptions{})
		if err != nil {
			return false, fmt.Errorf("reading the existing first run: %w", err)
		}
		phase, _, _ := unstructured.NestedString(old.Object, "status", "phase")
		if phase != "Failed" && phase != "Error" {
			return false, nil
		}
		uid := old.GetUID()
		if err := api.Delete(ctx, firstName, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}); err != nil {
			return false, fmt.Errorf("replacing the failed first run: %w", err)
		}
	}
	return false, errors.New("starting the pipeline: its failed first run could not be deleted")
}

// Workflow returns a workflow that runs a WorkflowTemplate.
func Workflow(name, template string, parameters map[string]string) *unstructured.Unstructured {
	var list []any
	for _, k := range slices.Sorted(maps.Keys(parameters)) {
		list = append(list, map[string]any{"name": k, "value": parameters[k]})
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "argoproj.io/v1alpha1",
		"kind":       "Workflow",
		"metadata":   map[string]any{"name": name, "labels": map[string]any{"app.kubernetes.io/part-of": "mlops"}},
		"spec": map[string]any{
			"workflowTemplateRef": map[string]any{"name": template},
			"arguments":           map[string]any{"parameters": list},
		},
	}}
}
