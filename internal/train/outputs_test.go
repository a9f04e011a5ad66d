package train

import (
	"testing"

	"mlops/internal/dataset"
)

func TestTestOutputs(t *testing.T) {
	t.Parallel()
	outputs := make([]float32, 1001)
	for i := range outputs {
		outputs[i] = float32(1000-i) / 1000
	}
	q := testOutputs(dataset.Binary, outputs)
	if len(q) != 101 || q[0] != 0 || q[1] != 0.01 || q[50] != 0.5 || q[100] != 1 {
		t.Errorf("quantiles of 0 to 1: %v", q)
	}
	if q := testOutputs(dataset.Regression, []float32{7}); len(q) != 101 || q[0] != 7 || q[100] != 7 {
		t.Errorf("of one row: %v", q)
	}
	if q := testOutputs(dataset.Multiclass, outputs); q != nil {
		t.Errorf("of several classes: %v", q)
	}
}
