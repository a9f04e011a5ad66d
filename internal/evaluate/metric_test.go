package evaluate

import (
	"testing"

	"mlops/internal/dataset"
)

func TestEveryMetricOfASpecIsKnown(t *testing.T) {
	r, err := Rank([]float32{0.9, 0.2, 0.4}, []bool{true, false, false})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range dataset.Metrics(dataset.Binary) {
		if _, err := r.Metric(name, 0.5); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.Metric("none", 0.5); err == nil {
		t.Error("unknown metric: no error")
	}
}
