package serve

import (
	"path"

	"mlops/internal/api"
	"mlops/internal/metrics"
)

// newMetrics returns the server's metrics. Every problem that can occur is counted
// from 0: a counter that appeared with its first problem would hide it from rates.
func newMetrics(s *Server) *metrics.Inference {
	m := metrics.NewInference()
	for handler, types := range problemTypes {
		for _, t := range types {
			m.Problems.WithLabelValues(handler, problemLabel(t))
		}
	}
	m.WatchQueue("small", s.small.busy, s.small.waiting)
	m.WatchQueue("large", s.large.busy, s.large.waiting)
	m.WatchRejections("queue", func() int64 { return s.small.refused.Load() + s.large.refused.Load() })
	m.WatchRejections("memory", s.memory.refused.Load)
	m.WatchBodies(s.memory.used.Load)
	s.watchEarlier(m)
	m.WatchRefused(func() int64 {
		if s.refused.Load() != nil {
			return 1
		}
		return 0
	})
	m.Restarts.Add(float64(s.options.Restarts))
	return m
}

// problemLabel is a problem's type as a label: its last word.
func problemLabel(t string) string {
	if t == api.Untyped {
		return "internal"
	}
	return path.Base(t)
}
