package metrics

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// What many goroutines count is whole, also if metrics are read meanwhile.
func TestCountedAtOnce(t *testing.T) {
	t.Parallel()
	m := NewInference()
	timer, answered, scores := m.Timer("predict"), m.Answered("predict"), m.Scores("1")
	const goroutines, each = 20, 1000
	read := make(chan struct{})
	go func() {
		defer close(read)
		for range 50 {
			scrape(t, m.set, "text/plain")
		}
	}()
	var all sync.WaitGroup
	for range goroutines {
		all.Go(func() {
			for range each {
				timer.Observe(time.Now(), time.Millisecond, "")
				answered.Add(1)
				m.Predicted("0").Add(2)
				m.Records.Add(2)
				scores.Add([]float32{0.5, 0.25})
			}
		})
	}
	all.Wait()
	<-read
	_, text := scrape(t, m.set, "text/plain")
	const n = goroutines * each
	for _, want := range []string{
		fmt.Sprintf(`mlops_requests_total{code="200",handler="predict"} %d`, n),
		fmt.Sprintf(`mlops_request_duration_seconds_count{handler="predict"} %d`, n),
		fmt.Sprintf(`mlops_request_duration_seconds_bucket{handler="predict",le="0.0005"} %d`, 0),
		fmt.Sprintf(`mlops_request_duration_seconds_bucket{handler="predict",le="0.001"} %d`, n),
		fmt.Sprintf(`mlops_predictions_total{label="0"} %d`, 2*n),
		fmt.Sprintf(`mlops_predict_records_count %d`, n),
		fmt.Sprintf(`mlops_predict_records_sum %d`, 2*n),
		fmt.Sprintf(`mlops_prediction_score_count{version="1"} %d`, 2*n),
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}
