package kube

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func list(pairs ...string) corev1.ResourceList {
	l := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		l[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return l
}

func TestRefused(t *testing.T) {
	train := Container{"step train", corev1.ResourceRequirements{Requests: list("cpu", "250m", "memory", "256Mi"), Limits: list("memory", "2Gi")}}
	limitRange := func(item corev1.LimitRangeItem) *corev1.LimitRange {
		if item.Type == "" {
			item.Type = corev1.LimitTypeContainer
		}
		return &corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Name: "range", Namespace: "n"}, Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{item}}}
	}
	quota := func(hard corev1.ResourceList, scopes ...corev1.ResourceQuotaScope) *corev1.ResourceQuota {
		return &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "quota", Namespace: "n"}, Spec: corev1.ResourceQuotaSpec{Hard: hard, Scopes: scopes}}
	}
	for _, test := range []struct {
		why    string
		ranges []*corev1.LimitRange
		quotas []*corev1.ResourceQuota
		want   []string // how each sentence begins
	}{
		{"nothing there", nil, nil, nil},
		{"room enough", []*corev1.LimitRange{limitRange(corev1.LimitRangeItem{Max: list("memory", "4Gi")})}, []*corev1.ResourceQuota{quota(list("limits.memory", "8Gi", "requests.cpu", "4", "pods", "1"))}, nil},
		{"a lower maximum", []*corev1.LimitRange{limitRange(corev1.LimitRangeItem{Max: list("memory", "1Gi")})}, nil,
			[]string{"LimitRange range allows a container at most 1Gi of memory, and step train has the limit 2Gi"}},
		{"a maximum for whole pods", []*corev1.LimitRange{limitRange(corev1.LimitRangeItem{Type: corev1.LimitTypePod, Max: list("memory", "1Gi")})}, nil, nil},
		{"a higher minimum", []*corev1.LimitRange{limitRange(corev1.LimitRangeItem{Min: list("cpu", "1")})}, nil,
			[]string{"LimitRange range wants a container to request at least 1 of cpu, and step train requests 250m"}},
		{"a quota that counts what is not set", nil, []*corev1.ResourceQuota{quota(list("limits.cpu", "8"))},
			[]string{"ResourceQuota quota counts limits.cpu, and step train has none"}},
		{"the same with a default", []*corev1.LimitRange{limitRange(corev1.LimitRangeItem{Default: list("cpu", "1")})}, []*corev1.ResourceQuota{quota(list("limits.cpu", "8"))}, nil},
		{"a default limit below a request", []*corev1.LimitRange{limitRange(corev1.LimitRangeItem{Default: list("cpu", "100m")})}, nil,
			[]string{"LimitRange range gives a container without one the limit 100m of cpu, and step train requests 250m"}},
		{"a maximum is a default too", []*corev1.LimitRange{limitRange(corev1.LimitRangeItem{Max: list("cpu", "1")})}, []*corev1.ResourceQuota{quota(list("limits.cpu", "8"))}, nil},
		{"a quota too small for one", nil, []*corev1.ResourceQuota{quota(list("limits.memory", "1Gi"))},
			[]string{"ResourceQuota quota allows 1Gi of limits.memory in all, and step train alone needs 2Gi"}},
		{"the old name of a request", nil, []*corev1.ResourceQuota{quota(list("memory", "100Mi"))},
			[]string{"ResourceQuota quota allows 100Mi of memory in all, and step train alone needs 256Mi"}},
		{"a quota of other pods", nil, []*corev1.ResourceQuota{quota(list("limits.cpu", "1"), corev1.ResourceQuotaScopeBestEffort)}, nil},
	} {
		client := fake.NewClientset()
		for _, r := range test.ranges {
			client.Tracker().Add(r)
		}
		for _, q := range test.quotas {
			client.Tracker().Add(q)
		}
		bounds, err := ReadBounds(t.Context(), client, "n")
		if err != nil {
			t.Fatal(err)
		}
		if bounds.Empty() != (test.ranges == nil && test.quotas == nil) {
			t.Errorf("%s: empty: %v", test.why, bounds.Empty())
		}
		got := bounds.Refused([]Container{train})
		for i := range got {
			got[i], _, _ = strings.Cut(got[i], ":")
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.why, diff)
		}
	}
}
