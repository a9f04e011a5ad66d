package main

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// As Helm writes a chart, with what it says beside it in front.
const renderedChart = `walk.go:75: found symbolic link in path. Contents of linked file included
---
# Source: mlops/templates/mlflow.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  name: mlops-mlflow
spec:
  template:
    spec:
      initContainers:
        - {name: wait, resources: {limits: {memory: 64Mi}}}
      containers:
        - {name: mlflow, resources: {limits: {memory: 1Gi}}}
---
# Source: mlops/templates/config.yaml
apiVersion: v1
kind: ConfigMap
metadata:
  name: mlops-argo-controller
data:
  executor: |
    resources:
      limits: {memory: 192Mi}
  persistence: |
    archive: true
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: mlops-steps
data:
  PGHOST: mlops-postgres
---
# Secret mlops-postgres is not rendered without a cluster to query
---
apiVersion: v1
kind: Service
metadata:
  name: mlops-mlflow
spec:
  ports: [{port: 5000}]
---
`

func TestContainers(t *testing.T) {
	workflow, err := os.ReadFile("../../workflows/train-model.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all, err := containers(renderedChart + string(workflow))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, c := range all {
		got[c.Name] = c.Resources.Limits.Memory().String()
	}
	want := map[string]string{
		"mlops-mlflow's container wait": "64Mi", "mlops-mlflow's container mlflow": "1Gi", "Argo's container in each step's pod": "192Mi",
		"step candidates": "2Gi", "step train": "2Gi",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("memory limits (-want +got):\n%s", diff)
	}
}

func TestRoom(t *testing.T) {
	c, _ := machine(t, "")
	if err := c.room(t.Context(), holding(), func() (string, error) { return "", errors.New("rendered for nothing") }); err != nil {
		t.Errorf("a namespace without bounds: %v", err)
	}
	quota := &corev1.ResourceQuota{ObjectMeta: named("team", nil), Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"limits.memory": resource.MustParse("512Mi")}}}
	err := c.room(t.Context(), holding(quota), func() (string, error) { return renderedChart, nil })
	if err == nil || !strings.Contains(err.Error(), "mlops-mlflow's container mlflow alone needs 1Gi") || strings.Contains(err.Error(), "wait") {
		t.Errorf("a quota that one container is above: %v", err)
	}
}
