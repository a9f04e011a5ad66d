package metrics

import (
	"fmt"
	"strings"
	"testing"
)

func TestRecords(t *testing.T) {
	t.Parallel()
	m := NewInference()
	sum := 0
	for _, n := range []int{1, 1, 2, 4, 5, 16, 17, 64, 65, 256, 257, 16384, 16385, 65536, 65537, 1 << 30} {
		m.Records.Add(n)
		sum += n
	}
	_, text := scrape(t, m.set, "text/plain")
	for _, want := range []string{
		`_bucket{le="1"} 2`, `_bucket{le="4"} 4`, `_bucket{le="16"} 6`, `_bucket{le="64"} 8`, `_bucket{le="256"} 10`, `_bucket{le="1024"} 11`,
		`_bucket{le="4096"} 11`, `_bucket{le="16384"} 12`, `_bucket{le="65536"} 14`, `_bucket{le="+Inf"} 16`, `_count 16`, `_sum ` + fmt.Sprintf("%.9e", float64(sum)),
	} {
		if !strings.Contains(text, "mlops_predict_records"+want+"\n") {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}
