package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"mlops/internal/progress"
	"mlops/internal/retry"
	"mlops/internal/setup"
)

// Submit runs a WorkflowTemplate under a name. The API server completes a name
// that ends with "-". labels may be nil.
func (r *Release) Submit(ctx context.Context, name, template string, parameters, labels map[string]string) (string, error) {
	w := setup.Workflow(name, template, parameters)
	if strings.HasSuffix(name, "-") {
		w.SetName("")
		w.SetGenerateName(name)
	}
	all := w.GetLabels()
	for k, v := range labels {
		all[k] = v
	}
	w.SetLabels(all)
	made, err := r.Dynamic.Resource(setup.Resource).Namespace(r.Namespace).Create(ctx, w, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("starting workflow %s: %w", template, err)
	}
	return made.GetName(), nil
}

// Workflow returns a workflow, or nil if there is none of that name.
func (r *Release) Workflow(ctx context.Context, name string) (*wfv1.Workflow, error) {
	u, err := r.Dynamic.Resource(setup.Resource).Namespace(r.Namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading workflow %s: %w", name, err)
	}
	return typed(u)
}

// Workflows returns the namespace's workflows, newest first.
func (r *Release) Workflows(ctx context.Context, selector string) ([]*wfv1.Workflow, error) {
	list, err := r.Dynamic.Resource(setup.Resource).Namespace(r.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("listing workflows: %w", err)
	}
	var ws []*wfv1.Workflow
	for i := range list.Items {
		w, err := typed(&list.Items[i])
		if err != nil {
			return nil, err
		}
		ws = append(ws, w)
	}
	slices.SortFunc(ws, func(a, b *wfv1.Workflow) int { return b.CreationTimestamp.Compare(a.CreationTimestamp.Time) })
	return ws, nil
}

func typed(u *unstructured.Unstructured) (*wfv1.Workflow, error) {
	w := &wfv1.Workflow{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, w); err != nil {
		return nil, fmt.Errorf("reading workflow %s: %w", u.GetName(), err)
	}
	return w, nil
}

// followPoll is the pause between two looks at a workflow.
const followPoll = time.Second

// Follow waits until a workflow has ended and reports its tasks' events like the
// local runner. If the workflow failed, the error names the failed tasks.
func (r *Release) Follow(ctx context.Context, name string, observe func(progress.Event)) (*wfv1.Workflow, error) {
	reported := map[string]string{}
	for {
		w, err := r.Workflow(ctx, name)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil:
			// The API server may be unreachable for a while; the workflow goes on.
		case w == nil:
			return nil, fmt.Errorf("workflow %s is gone", name)
		default:
			report(w, reported, observe)
			if w.Status.Fulfilled() {
				return w, failure(w)
			}
		}
		if !retry.Sleep(ctx, followPoll) {
			return nil, context.Cause(ctx)
		}
	}
}

// report reports the tasks whose state has changed since the last call.
func report(w *wfv1.Workflow, reported map[string]string, observe func(progress.Event)) {
	if observe == nil {
		return
	}
	nodes := make([]wfv1.NodeStatus, 0, len(w.Status.Nodes))
	for _, n := range w.Status.Nodes {
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, func(a, b wfv1.NodeStatus) int {
		if c := a.StartedAt.Compare(b.StartedAt.Time); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	for _, n := range nodes {
		// A task with retries has a node of its own above its pods' nodes.
		if n.Type != wfv1.NodeTypePod || n.Phase == wfv1.NodePending && n.Message == "" {
			continue
		}
		state := string(n.Phase) + n.Message
		if reported[n.ID] == state {
			continue
		}
		reported[n.ID] = state
		e := progress.Event{Time: time.Now(), Task: n.DisplayName, Path: n.ID, Template: n.TemplateName, State: progress.Running, Message: said(n.Message)}
		switch n.Phase {
		case wfv1.NodeSucceeded:
			e.State = progress.Succeeded
		case wfv1.NodeFailed:
			e.State = progress.Failed
		case wfv1.NodeError:
			e.State = progress.Errored
		case wfv1.NodeSkipped, wfv1.NodeOmitted:
			e.State = progress.Skipped
		}
		if !n.StartedAt.IsZero() {
			e.Elapsed = time.Since(n.StartedAt.Time)
			if !n.FinishedAt.IsZero() {
				e.Elapsed = n.FinishedAt.Sub(n.StartedAt.Time)
			}
		}
		observe(e)
	}
}

// Outputs returns the output parameters of the tasks that succeeded, in the order in
// which they started.
func Outputs(w *wfv1.Workflow) []map[string]string {
	var pods []wfv1.NodeStatus
	for _, n := range w.Status.Nodes {
		if n.Type == wfv1.NodeTypePod && n.Phase == wfv1.NodeSucceeded && n.Outputs != nil {
			pods = append(pods, n)
		}
	}
	slices.SortFunc(pods, func(a, b wfv1.NodeStatus) int {
		return cmp.Or(a.StartedAt.Compare(b.StartedAt.Time), strings.Compare(a.ID, b.ID))
	})
	var all []map[string]string
	for _, n := range pods {
		outputs := map[string]string{}
		for _, p := range n.Outputs.Parameters {
			if p.Value != nil {
				outputs[p.Name] = p.Value.String()
			}
		}
		all = append(all, outputs)
	}
	return all
}

// failure returns why a workflow that has ended did not succeed, or nil.
func failure(w *wfv1.Workflow) error {
	if w.Status.Phase == wfv1.WorkflowSucceeded {
		return nil
	}
	errs := []error{fmt.Errorf("workflow %s ended %s: %s", w.Name, w.Status.Phase, w.Status.Message)}
	for _, n := range w.Status.Nodes {
		if n.Type == wfv1.NodeTypePod && (n.Phase == wfv1.NodeFailed || n.Phase == wfv1.NodeError) {
			errs = append(errs, fmt.Errorf("  task %s: %s (pod %s)", n.DisplayName, said(n.Message), n.ID))
		}
	}
	return errors.Join(errs...)
}
