package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	"sigs.k8s.io/yaml"

	"mlops/internal/kube"
	"mlops/internal/program"
)

// room stops before anything is installed if the namespace would refuse the pods of
// steps.
func (c *config) room(ctx context.Context, r *kube.Release) error {
	steps, err := stepContainers(filepath.Join(c.root, "workflows"))
	if err != nil {
		return err
	}
	why, err := kube.Refused(ctx, r.Client, r.Namespace, steps)
	if err != nil {
		return err
	}
	if len(why) > 0 {
		return program.Inputf("namespace %s would refuse pods of the pipeline:\n  %s", r.Namespace, strings.Join(why, "\n  "))
	}
	return nil
}

// stepContainers are the containers of the workflows in a folder.
func stepContainers(dir string) ([]kube.Container, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, err
	}
	var all []kube.Container
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var w wfv1.WorkflowTemplate
		if err := yaml.Unmarshal(text, &w); err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		for _, t := range w.Spec.Templates {
			if t.Container != nil {
				all = append(all, kube.Container{Name: "step " + t.Name, Resources: t.Container.Resources})
			}
		}
	}
	return all, nil
}
