package metrics

import (
	"math/bits"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// recordBuckets have the powers of 4 from 1 to 65,536 as their bounds.
const recordBuckets = 9

// Records counts how many records requests have. Adding costs two atomic additions.
type Records struct {
	counts [recordBuckets + 1]atomic.Uint64 // the last is for more
	sum    atomic.Uint64
}

// Add counts a request of n records, at least one.
func (r *Records) Add(n int) {
	r.counts[min(bits.Len64(uint64(n-1)<<1)/2, recordBuckets)].Add(1)
	r.sum.Add(uint64(n))
}

var recordsDesc = prometheus.NewDesc("mlops_predict_records", "Records of requests for predictions that were answered.", nil, nil)

// Describe is prometheus.Collector's.
func (r *Records) Describe(to chan<- *prometheus.Desc) { to <- recordsDesc }

// Collect is prometheus.Collector's.
func (r *Records) Collect(to chan<- prometheus.Metric) {
	var n uint64
	buckets := map[float64]uint64{}
	for i := range r.counts {
		if n += r.counts[i].Load(); i < recordBuckets {
			buckets[float64(uint64(1)<<(2*i))] = n
		}
	}
	to <- prometheus.MustNewConstHistogram(recordsDesc, n, float64(r.sum.Load()), buckets)
}
