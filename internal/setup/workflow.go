package setup

import (
	"context"
	"fmt"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// FirstName is the name of the first run. It is always the same, so that the
// run can't be started twice.
const FirstName = "pipeline-on-install"

// Resource is Argo's workflows in Kubernetes' API.
var Resource = schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "workflows"}

// Pipeline starts the WorkflowTemplate pipeline in a namespace.
type Pipeline struct {
	Client     dynamic.Interface
	Namespace  string
	Parameters map[string]string
}

// Start creates the workflow FirstName.
func (p *Pipeline) Start(ctx context.Context) (bool, error) {
	_, err := p.Client.Resource(Resource).Namespace(p.Namespace).Create(ctx, Workflow(FirstName, "pipeline", p.Parameters), metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("starting the pipeline: %w", err)
	}
	return true, nil
}

// Workflow is a workflow that runs a WorkflowTemplate.
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
