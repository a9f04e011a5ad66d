package kube

import (
	"encoding/json"

	"k8s.io/apimachinery/pkg/api/resource"
)

// Memory reads the answer of metrics.k8s.io about pods: the bytes that each
// pod's containers hold together, by pod.
func Memory(answer []byte) map[string]int64 {
	var list struct {
		Items []struct {
			Metadata   struct{ Name string }
			Containers []struct{ Usage map[string]resource.Quantity }
		}
	}
	if json.Unmarshal(answer, &list) != nil {
		return nil
	}
	m := map[string]int64{}
	for _, p := range list.Items {
		for _, c := range p.Containers {
			q := c.Usage["memory"]
			m[p.Metadata.Name] += q.Value()
		}
	}
	return m
}
