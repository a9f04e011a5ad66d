package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Container is a container that is to run in a namespace, and what it asks for.
type Container struct {
	Name      string
	Resources corev1.ResourceRequirements
}

// Bounds are the limit ranges and quotas of a namespace.
type Bounds struct {
	ranges []corev1.LimitRange
	quotas []corev1.ResourceQuota
}

// ReadBounds reads those of a namespace; without the right to, there are none.
func ReadBounds(ctx context.Context, client kubernetes.Interface, namespace string) (Bounds, error) {
	ranges, err := client.CoreV1().LimitRanges(namespace).List(ctx, metav1.ListOptions{})
	if apierrors.IsForbidden(err) {
		return Bounds{}, nil
	}
	if err != nil {
		return Bounds{}, fmt.Errorf("reading limit ranges: %w", err)
	}
	quotas, err := client.CoreV1().ResourceQuotas(namespace).List(ctx, metav1.ListOptions{})
	if apierrors.IsForbidden(err) {
		return Bounds{}, nil
	}
	if err != nil {
		return Bounds{}, fmt.Errorf("reading quotas: %w", err)
	}
	return Bounds{ranges.Items, quotas.Items}, nil
}

// Empty reports whether there are none.
func (b Bounds) Empty() bool { return len(b.ranges)+len(b.quotas) == 0 }

// Refused returns why the bounds would refuse containers, a sentence each; none where
// they fit. Kubernetes itself says so only when a pod is created, which for a step is
// after others have run for minutes.
func (b Bounds) Refused(containers []Container) []string {
	var why []string
	for _, c := range containers {
		limits, requests := c.Resources.Limits.DeepCopy(), c.Resources.Requests.DeepCopy()
		from := map[corev1.ResourceName]string{} // the range of a default limit
		if limits == nil {
			limits = corev1.ResourceList{}
		}
		if requests == nil {
			requests = corev1.ResourceList{}
		}
		for _, r := range b.ranges { // what is left out gets their defaults
			for _, item := range r.Spec.Limits {
				if item.Type != corev1.LimitTypeContainer {
					continue
				}
				for _, defaults := range []corev1.ResourceList{item.Default, item.Max} {
					for name, q := range defaults {
						if _, ok := limits[name]; !ok {
							limits[name], from[name] = q, r.Name
						}
					}
				}
				for _, defaults := range []corev1.ResourceList{item.DefaultRequest, item.Min} {
					for name, q := range defaults {
						if _, ok := requests[name]; !ok {
							requests[name] = q
						}
					}
				}
			}
		}
		for name, q := range limits {
			request, ok := requests[name]
			if !ok {
				requests[name] = q
			} else if of, ok := from[name]; ok && request.Cmp(q) > 0 {
				why = append(why, fmt.Sprintf("LimitRange %s gives a container without one the limit %s of %s, and %s requests %s: raise the default, or set a limit for it", of, q.String(), name, c.Name, request.String()))
			}
		}
		for _, r := range b.ranges {
			for _, item := range r.Spec.Limits {
				if item.Type != corev1.LimitTypeContainer {
					continue
				}
				for name, most := range item.Max {
					if limit := limits[name]; limit.Cmp(most) > 0 {
						why = append(why, fmt.Sprintf("LimitRange %s allows a container at most %s of %s, and %s has the limit %s: raise the one, or lower the other", r.Name, most.String(), name, c.Name, limit.String()))
					}
				}
				for name, least := range item.Min {
					if request := requests[name]; request.Cmp(least) < 0 {
						why = append(why, fmt.Sprintf("LimitRange %s wants a container to request at least %s of %s, and %s requests %s: lower the one, or raise the other", r.Name, least.String(), name, c.Name, request.String()))
					}
				}
			}
		}
		for _, quota := range b.quotas {
			if len(quota.Spec.Scopes) > 0 || quota.Spec.ScopeSelector != nil {
				continue // it may not count these pods
			}
			for key, hard := range quota.Spec.Hard {
				kind, name, ok := strings.Cut(string(key), ".")
				if !ok {
					kind, name = "requests", string(key)
				}
				of := map[string]corev1.ResourceList{"requests": requests, "limits": limits}[kind]
				if of == nil || !slices.Contains([]string{"cpu", "memory", "ephemeral-storage"}, name) {
					continue
				}
				q, ok := of[corev1.ResourceName(name)]
				switch {
				case !ok:
					why = append(why, fmt.Sprintf("ResourceQuota %s counts %s, and %s has none: add a LimitRange with a default for %s, or set it for each container", quota.Name, key, c.Name, name))
				case q.Cmp(hard) > 0:
					why = append(why, fmt.Sprintf("ResourceQuota %s allows %s of %s in all, and %s alone needs %s: raise the one, or lower the other", quota.Name, hard.String(), key, c.Name, q.String()))
				}
			}
		}
	}
	slices.Sort(why)
	return slices.Compact(why)
}
