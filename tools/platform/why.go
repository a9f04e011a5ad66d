package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"mlops/internal/kube"
)

// why is the reason that a pod of a workload gives for not being ready, in
// brackets: why it can't be placed, why a container does not start or what it
// said last before it failed, what an init container waits for.
func why(ctx context.Context, r *kube.Release, pods []corev1.Pod, workload string) string {
	for _, p := range pods {
		if !strings.HasPrefix(p.Name, workload) || kube.Ready(&p) {
			continue
		}
		if text := reason(ctx, r, &p); text != "" {
			return " (" + text[:min(len(text), 300)] + ")"
		}
	}
	return ""
}

func reason(ctx context.Context, r *kube.Release, p *corev1.Pod) string {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return c.Message
		}
	}
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		w := s.State.Waiting
		if w == nil || w.Reason == "PodInitializing" || w.Reason == "ContainerCreating" {
			continue
		}
		if t := s.LastTerminationState.Terminated; t != nil && t.Message != "" {
			return fmt.Sprintf("%s: %s: %s", s.Name, w.Reason, kube.LastLine(t.Message))
		}
		return fmt.Sprintf("%s: %s: %s", s.Name, w.Reason, w.Message)
	}
	for _, s := range p.Status.InitContainerStatuses {
		if s.State.Running == nil {
			continue
		}
		one := int64(1)
		log, err := r.Client.CoreV1().Pods(p.Namespace).GetLogs(p.Name, &corev1.PodLogOptions{Container: s.Name, TailLines: &one}).DoRaw(ctx)
		if err == nil {
			return kube.LastLine(string(log))
		}
	}
	return ""
}
