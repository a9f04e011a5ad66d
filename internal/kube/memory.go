package kube

import (
	"encoding/json"

	"k8s.io/apimachinery/pkg/api/resource"
)

// Memory decodes a PodMetricsList of metrics.k8s.io into the bytes of memory that
// each pod's containers use together, by pod name.
func Memory(response []byte) map[string]int64 {
	var list struct {
		Items []struct {
			Metadata   struct{ Name string }
			Containers []struct{ Usage map[string]resource.Quantity }
		}
	}
	if json.Unmarshal(response, &list) != nil {
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
