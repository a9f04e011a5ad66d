package metrics

import (
	"math/bits"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// recordBuckets have the powers of 4 from 1 to 65,536 as their bounds.
const recordBuckets = 9

// Records counts how many records requests have. Adding costs two atomic additions.
type Records struct{ *spread[records] }

type records struct {
	counts [recordBuckets + 1]atomic.Uint64 // the last is for more
	sum    atomic.Uint64
	_      [line]byte
}

// Add counts a request of n records, at least one.
func (r Records) Add(n int) {
	own := r.take()
	own.counts[min(bits.Len64(uint64(n-1)<<1)/2, recordBuckets)].Add(1)
	own.sum.Add(uint64(n))
	r.put(own)
}

var recordsDesc = prometheus.NewDesc("mlops_predict_records", "Records of requests for predictions that were answered.", nil, nil)

// Describe is prometheus.Collector's.
func (r Records) Describe(to chan<- *prometheus.Desc) { to <- recordsDesc }

// Collect is prometheus.Collector's.
func (r Records) Collect(to chan<- prometheus.Metric) {
	var n, sum uint64
	buckets := map[float64]uint64{}
	for i := range recordBuckets + 1 {
		for k := range r.copies {
			n += r.copies[k].counts[i].Load()
		}
		if i < recordBuckets {
			buckets[float64(uint64(1)<<(2*i))] = n
		}
	}
	for k := range r.copies {
		sum += r.copies[k].sum.Load()
	}
	to <- prometheus.MustNewConstHistogram(recordsDesc, n, float64(sum), buckets)
}
