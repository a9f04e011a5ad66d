package loadtest

import (
	"time"

	"mlops/internal/metrics"
)

// Status returns what Prometheus is told of a test.
func (s *Session) Status() *metrics.LoadTestStatus {
	st := &metrics.LoadTestStatus{}
	select {
	case <-s.done:
	default:
		st.Running, st.Users, st.Level = true, int(s.users.Load()), s.now.Load().level
	}
	for i, t := range s.tallies {
		target := metrics.LoadTestTarget{Name: s.targets[i].name, Failed: t.failed.Load(), Latency: t.latency.buckets(), Service: t.service.buckets()}
		target.Succeeded = int64(target.Latency.Count)
		st.Targets = append(st.Targets, target)
	}
	return st
}

// buckets counts by Prometheus' bounds. A step that a bound lies in counts as above it.
func (h *histogram) buckets() metrics.Durations {
	d := metrics.Durations{Seconds: time.Duration(h.sum.Load()).Seconds(), Buckets: map[float64]uint64{}}
	bounds := metrics.LoadTestBounds
	next := 0
	for i := range h.counts {
		for next < len(bounds) && float64(top(i)) > bounds[next]*1e9 {
			d.Buckets[bounds[next]] = d.Count
			next++
		}
		d.Count += uint64(h.counts[i].Load())
	}
	for ; next < len(bounds); next++ {
		d.Buckets[bounds[next]] = d.Count
	}
	return d
}
