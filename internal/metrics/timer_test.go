package metrics

import (
	"slices"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/prometheus/client_golang/prometheus"
)

// Of each bucket a trace is named once per second; every request is counted.
func TestTimer(t *testing.T) {
	t.Parallel()
	m := NewInference()
	timer := m.Timer("predict")
	begin := time.Unix(1000, 0)
	for _, r := range []struct {
		after, took time.Duration
		trace       string
		want        []string // the traces named afterwards, by bucket
	}{
		{0, 30 * time.Microsecond, "", nil},
		{0, 30 * time.Microsecond, "a", []string{"a"}},
		{900 * time.Millisecond, 40 * time.Microsecond, "b", []string{"a"}},
		{900 * time.Millisecond, 50 * time.Microsecond, "c", []string{"a"}}, // a bound belongs to the bucket below it
		{900 * time.Millisecond, 51 * time.Microsecond, "d", []string{"a", "d"}},
		{time.Second, 30 * time.Microsecond, "e", []string{"e", "d"}},
		{time.Second, 7 * time.Second, "f", []string{"e", "d", "f"}},
		{time.Second, 8 * time.Second, "g", []string{"e", "d", "f"}},
	} {
		timer.Observe(begin.Add(r.after), r.took, r.trace)
		timer.flush()
		if got := traces(t, m); !slices.Equal(got, r.want) {
			t.Errorf("after %q, which took %v, %v after the first: traces %v, want %v", r.trace, r.took, r.after, got, r.want)
		}
	}
	if got := histogram(t, m).GetSampleCount(); got != 8 {
		t.Errorf("%d requests are counted, want 8", got)
	}
}

func histogram(t *testing.T, m *Inference) *dto.Histogram {
	t.Helper()
	var d dto.Metric
	if err := m.Duration.WithLabelValues("predict").(prometheus.Metric).Write(&d); err != nil {
		t.Fatal(err)
	}
	return d.Histogram
}

// traces are the exemplars of the classic buckets.
func traces(t *testing.T, m *Inference) (of []string) {
	t.Helper()
	for _, b := range histogram(t, m).Bucket {
		if b.Exemplar != nil {
			of = append(of, b.Exemplar.Label[0].GetValue())
		}
	}
	return of
}
