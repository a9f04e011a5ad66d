package metrics

import (
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	scoreBuckets  = 20  // of equal width, from 0 to 1
	scoreVersions = 4   // that are remembered; rates need the ones that were just replaced
	scoreUnit     = 1e6 // parts that the sum is counted in
)

// Scores counts the probabilities that a model version gave, in buckets of 0.05. Adding
// costs two atomic additions per record.
type Scores struct {
	version string
	*spread[scores]
}

type scores struct {
	counts [scoreBuckets]atomic.Uint64
	sum    atomic.Uint64
	_      [line]byte
}

// Add counts probabilities.
func (s *Scores) Add(probabilities []float32) {
	own, sum := s.take(), uint64(0)
	for _, p := range probabilities {
		// A probability on a bound counts below it, as Prometheus' buckets do.
		i := int(p * scoreBuckets)
		if i > 0 && float32(i) == p*scoreBuckets {
			i--
		}
		own.counts[min(max(i, 0), scoreBuckets-1)].Add(1)
		sum += uint64(p * scoreUnit)
	}
	own.sum.Add(sum)
	s.put(own)
}

var scoresDesc = prometheus.NewDesc("mlops_prediction_score", "Probabilities of scored records, by the model version that gave them: of a binary task, of the last four versions that were served.", []string{"version"}, nil)

// scoreCollector has the scores of the versions that were served last.
type scoreCollector struct {
	mu   sync.Mutex
	list []*Scores
}

// Scores returns where a version's scores are counted; a version that is served again
// goes on where it was.
func (m *Inference) Scores(version string) *Scores {
	c := m.scores
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.list {
		if s.version == version {
			return s
		}
	}
	if len(c.list) == scoreVersions {
		c.list = c.list[1:]
	}
	s := &Scores{version, newSpread[scores]()}
	c.list = append(c.list[:len(c.list):len(c.list)], s)
	return s
}

func (c *scoreCollector) Describe(to chan<- *prometheus.Desc) { to <- scoresDesc }

func (c *scoreCollector) Collect(to chan<- prometheus.Metric) {
	c.mu.Lock()
	list := c.list
	c.mu.Unlock()
	for _, s := range list {
		var n, sum uint64
		buckets := map[float64]uint64{}
		for i := range scoreBuckets {
			for k := range s.copies {
				n += s.copies[k].counts[i].Load()
			}
			if i < scoreBuckets-1 {
				buckets[float64(i+1)/scoreBuckets] = n
			}
		}
		for k := range s.copies {
			sum += s.copies[k].sum.Load()
		}
		to <- prometheus.MustNewConstHistogram(scoresDesc, n, float64(sum)/scoreUnit, buckets, s.version)
	}
}
