package kube

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

var schedules = schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "cronworkflows"}

// Schedules are the names of the release's CronWorkflows of these templates that are not
// suspended.
func (r *Release) Schedules(ctx context.Context, templates ...string) ([]string, error) {
	list, err := r.Dynamic.Resource(schedules).Namespace(r.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/instance=" + r.Name})
	if err != nil {
		return nil, fmt.Errorf("listing schedules: %w", err)
	}
	var names []string
	for _, s := range list.Items {
		template, _, _ := unstructured.NestedString(s.Object, "spec", "workflowSpec", "workflowTemplateRef", "name")
		suspended, _, _ := unstructured.NestedBool(s.Object, "spec", "suspend")
		if slices.Contains(templates, template) && !suspended {
			names = append(names, s.GetName())
		}
	}
	slices.Sort(names)
	return names, nil
}

// Suspend suspends a CronWorkflow. The next upgrade of the release resumes it.
func (r *Release) Suspend(ctx context.Context, name string) error {
	if _, err := r.Dynamic.Resource(schedules).Namespace(r.Namespace).Patch(ctx, name, types.MergePatchType, []byte(`{"spec":{"suspend":true}}`), metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("suspending schedule %s: %w", name, err)
	}
	return nil
}
