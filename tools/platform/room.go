package main

import (
	"context"
	"fmt"
	"strings"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"mlops/internal/kube"
	"mlops/internal/program"
)

// shownRefusals is how many reasons an error has: one quota may concern every container.
const shownRefusals = 8

// room stops before anything is installed if the namespace would refuse pods of the
// release or of its workflows. rendered renders the chart; it is called only if the
// namespace has bounds.
func (c *config) room(ctx context.Context, r *kube.Release, rendered func() (string, error)) error {
	bounds, err := kube.ReadBounds(ctx, r.Client, r.Namespace)
	if err != nil || bounds.Empty() {
		return err
	}
	text, err := rendered()
	if err != nil {
		return err
	}
	all, err := containers(text)
	if err != nil {
		return fmt.Errorf("reading the rendered chart: %w", err)
	}
	why := bounds.Refused(all)
	if len(why) == 0 {
		return nil
	}
	if n := len(why) - shownRefusals; n > 0 {
		why = append(why[:shownRefusals], fmt.Sprintf("and %d more", n))
	}
	return program.Inputf("namespace %s would refuse pods of the platform:\n  %s", r.Namespace, strings.Join(why, "\n  "))
}

// manifest is what a rendered object says of pods: a workload's template, a workflow's
// templates, or the resources of Argo's own containers in its controller's ConfigMap.
type manifest struct {
	Kind     string            `json:"kind"`
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     struct {
		Template  corev1.PodTemplateSpec `json:"template"`
		Templates []wfv1.Template        `json:"templates"`
	} `json:"spec"`
	Data struct {
		Executor string `json:"executor"`
	} `json:"data"`
}

// containers are those of all pods that a rendered chart leads to. What Helm says besides
// stands in front of the first document.
func containers(rendered string) ([]kube.Container, error) {
	var all []kube.Container
	add := func(name string, of ...corev1.Container) {
		for _, c := range of {
			all = append(all, kube.Container{Name: fmt.Sprintf(name, c.Name), Resources: c.Resources})
		}
	}
	_, documents, _ := strings.Cut("\n"+rendered, "\n---\n")
	for text := range strings.SplitSeq(documents, "\n---\n") {
		var m manifest
		if err := yaml.Unmarshal([]byte(text), &m); err != nil {
			return nil, err
		}
		switch m.Kind {
		case "Deployment", "StatefulSet", "Job":
			pod := m.Spec.Template.Spec
			add(m.Metadata.Name+"'s container %s", append(pod.InitContainers, pod.Containers...)...)
		case "WorkflowTemplate":
			for _, t := range m.Spec.Templates {
				if t.Container != nil {
					all = append(all, kube.Container{Name: "step " + t.Name, Resources: t.Container.Resources})
				}
			}
		case "ConfigMap":
			if m.Data.Executor == "" {
				continue
			}
			var c corev1.Container
			if err := yaml.Unmarshal([]byte(m.Data.Executor), &c); err != nil {
				return nil, err
			}
			all = append(all, kube.Container{Name: "Argo's container in each step's pod", Resources: c.Resources})
		}
	}
	return all, nil
}
