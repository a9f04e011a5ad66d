package serve

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mlops/internal/dataset"
	"mlops/internal/evaluate"
	"mlops/internal/metrics"
)

// Bounds of what waits to be scored by the challenger, so that it never takes memory or
// time that requests need.
const (
	shadowQueue   = 32        // requests
	shadowRecords = chunk     // of a request; further ones are skipped
	shadowVectors = 256 << 10 // bytes of a request's vectors
	shadowMemory  = 16 << 20  // bytes of warnings and of excluded records while one is decoded
)

// shadow has the challenger score a share of what production has answered. A request
// only leaves a copy of its vectors and scores in a bounded queue, after its response
// has been written; where that is full, or requests are waiting, the copy is dropped and
// counted. One goroutine works the queue off.
type shadow struct {
	server  *Server
	metrics *metrics.Challenger
	share   float64
	duel    atomic.Pointer[duel]    // nil: there is no challenger to compare with what is served
	refused atomic.Pointer[refusal] // a challenger that is not loaded
	jobs    chan *job
	pool    sync.Pool
	memory  memory
	decoder decoder // the worker's own, as is what follows
	vectors []float32
	outputs []float32
}

func newShadow(s *Server) *shadow {
	h := &shadow{server: s, share: s.options.Shadow, jobs: make(chan *job, shadowQueue)}
	h.metrics = s.metrics.NewChallenger(h.refusing)
	h.memory.total = shadowMemory
	h.pool.New = func() any { return new(job) }
	return h
}

// job is a request to be scored again.
type job struct {
	duel     *duel
	vectors  []float32 // if the challenger takes the same
	body     []byte    // else: the records
	table    bool      // the body is CSV
	numbers  dataset.Spelling
	records  int       // that are compared, from the first on
	scores   []float32 // production's outputs, by record
	excluded []exclusion
}

// pick returns what a request leaves for the challenger, nil if it is not one of the
// share.
func (h *shadow) pick(served *served) *job {
	d := h.duel.Load()
	if d == nil || d.served != served || h.share < 1 && rand.Float64() >= h.share {
		return nil
	}
	j := h.pool.Get().(*job)
	j.duel, j.records, j.vectors, j.body = d, 0, j.vectors[:0], j.body[:0]
	return j
}

// put keeps a job's buffers for another one, and nothing that it was about.
func (h *shadow) put(j *job) {
	j.duel = nil
	h.pool.Put(j)
}

// roomFor is how many vectors of that width a job may have.
func roomFor(width int) int { return min(shadowRecords, max(1, shadowVectors/4/max(width, 1))) }

// keep copies vectors that were scored.
func (j *job) keep(vectors []float32, width int) {
	if !j.duel.alike {
		return
	}
	n := min(len(vectors)/width, roomFor(width)-j.records)
	j.vectors = append(j.vectors, vectors[:n*width]...)
	j.records += n
}

// send hands over what a request left, unless there is too much to do already.
func (h *shadow) send(x *exchange) {
	j := x.copied
	x.copied = nil
	d := j.duel
	outputs := d.model.Trees.Outputs()
	records := len(x.scores) / outputs
	if !d.alike && len(x.body) <= smallBody {
		j.records = min(records, roomFor(d.model.Encoder.Width()))
		j.body, j.table, j.numbers = append(j.body, x.body...), x.in == csvFormat, x.numbers
	}
	j.scores = append(j.scores[:0], x.scores[:j.records*outputs]...)
	j.excluded = j.excluded[:0]
	for _, e := range x.excluded {
		if int(e.record) < j.records {
			j.excluded = append(j.excluded, e)
		}
	}
	d.count(skipped, records-len(x.excluded)-j.scored())
	if j.scored() == 0 {
		h.put(j)
		return
	}
	if h.server.small.waiting() == 0 {
		select {
		case h.jobs <- j:
			return
		default:
		}
	}
	d.count(dropped, j.scored())
	h.put(j)
}

// scored is how many of the records production gave a score.
func (j *job) scored() int { return j.records - len(j.excluded) }

// work scores until the context ends.
func (h *shadow) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-h.jobs:
			h.settle(j)
		}
	}
}

// settle compares a request, and counts it where that fails.
func (h *shadow) settle(j *job) {
	if err := h.compare(j); err != nil {
		j.duel.fail(err, j.scored())
	}
	h.put(j)
}

// compare scores a request by the challenger. The error is why it has no scores.
func (h *shadow) compare(j *job) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("it panicked: %v", p)
		}
	}()
	d := j.duel
	start := time.Now()
	vectors := j.vectors
	var left []exclusion // by the challenger's own cohort
	if !d.alike {
		if vectors, left, err = h.encode(j); err != nil {
			return err
		}
	}
	outputs := d.model.Trees.Outputs()
	if cap(h.outputs) < len(j.scores) {
		h.outputs = make([]float32, len(j.scores))
	}
	scores := h.outputs[:len(j.scores)]
	d.model.Trees.ScoreBatch(vectors, scores)
	took := time.Since(start)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tally.took += took
	d.seconds.Add(took.Seconds())
	excluded := j.excluded
	for i := range j.records {
		if len(excluded) > 0 && int(excluded[0].record) == i {
			excluded = excluded[1:]
			continue
		}
		for len(left) > 0 && int(left[0].record) < i {
			left = left[1:]
		}
		if len(left) > 0 && int(left[0].record) == i {
			d.failed(fmt.Errorf("its cohort leaves the record out: %s", d.model.Spec.Cohort[left[0].rule].Because), 1)
			continue
		}
		d.add(j.scores[i*outputs:(i+1)*outputs], scores[i*outputs:(i+1)*outputs])
	}
	return nil
}

// encode decodes a request's records for a challenger that has features of its own.
func (h *shadow) encode(j *job) (vectors []float32, left []exclusion, err error) {
	m := j.duel.model
	width, n := m.Encoder.Width(), 0
	if cap(h.vectors) < width*j.records {
		h.vectors = make([]float32, width*j.records)
	}
	vectors = h.vectors[:width*j.records]
	x := &exchange{memory: &h.memory, earlier: m.Earlier}
	defer func() { h.memory.give(x.held) }()
	h.decoder.exchange, h.decoder.table, h.decoder.numbers = x, j.table, j.numbers
	err = h.decoder.decode(j.body, m.Encoder, func() []float32 {
		n = min(n+1, j.records) // further ones go where the last one went, which is written first
		return vectors[(n-1)*width : n*width]
	})
	h.decoder.release()
	return vectors, x.excluded, err
}

// What becomes of a record that is to be compared.
const (
	compared = iota
	dropped  // there was too much to do
	skipped  // of a request with too many
	failed   // the challenger has no score
	outcomes
)

var outcomeNames = [outcomes]string{"compared", "dropped", "skipped", "failed"}

// tally is what the comparison of two versions has found.
type tally struct {
	records  [outcomes]int64
	agreed   int64
	took     time.Duration
	sum      float64 // of differences with their sign
	absolute float64 // without
	largest  float64
	sample   []float64        // of differences without their sign, each as likely as any other
	labels   map[[2]int]int64 // production's and the challenger's
	failure  string
}

// sampled is how many differences are kept.
const sampled = 1024

// count counts records that were not compared.
func (d *duel) count(outcome, records int) {
	if records <= 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tally.records[outcome] += int64(records)
	d.counters[outcome].Add(float64(records))
}

// fail counts records that the challenger could not score.
func (d *duel) fail(why error, records int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failed(why, records)
}

func (d *duel) failed(why error, records int) {
	d.tally.failure = why.Error()
	d.tally.records[failed] += int64(records)
	d.counters[failed].Add(float64(records))
}

// add compares the outputs of production and of the challenger for a record.
func (d *duel) add(production, challenger []float32) {
	c := d.difference(production, challenger)
	t := &d.tally
	t.records[compared]++
	d.counters[compared].Inc()
	t.sum += c.signed
	a := math.Abs(c.signed)
	t.absolute += a
	t.largest = max(t.largest, a)
	if len(t.sample) < sampled {
		t.sample = append(t.sample, a)
	} else if k := rand.Int64N(t.records[compared]); k < sampled {
		t.sample[k] = a
	}
	if c.agrees {
		t.agreed++
		d.agree.Inc()
	} else {
		d.differ.Inc()
	}
	if c.labels[0] >= 0 {
		t.labels[c.labels]++
	}
	d.spread.Observe(c.scaled)
}

// comparison is how the challenger's outputs for a record differ from production's.
type comparison struct {
	signed float64 // of a probability or a value; of classes the share of probability that moved
	scaled float64 // from 0 on: of a value in half widths of production's interval
	agrees bool
	labels [2]int // -1: values have none
}

func (d *duel) difference(production, challenger []float32) comparison {
	switch t := d.served.task; {
	case t == nil:
		before, after := float64(production[0]), float64(challenger[0])
		c := comparison{signed: after - before, scaled: math.Abs(after - before)}
		if before >= d.served.model.Serving.Threshold {
			c.labels[0] = 1
		}
		if after >= d.model.Serving.Threshold {
			c.labels[1] = 1
		}
		c.agrees = c.labels[0] == c.labels[1]
		return c
	case t.classes != nil:
		moved := 0.0
		for k := range production {
			moved += math.Abs(float64(challenger[k])-float64(production[k])) / 2
		}
		labels := [2]int{evaluate.Best(production), evaluate.Best(challenger)}
		return comparison{moved, moved, labels[0] == labels[1], labels}
	default:
		by := float64(challenger[0]) - float64(production[0])
		c := comparison{signed: by, scaled: math.Abs(by) / t.halfWidth, agrees: math.Abs(by) <= t.halfWidth, labels: [2]int{-1, -1}}
		if t.halfWidth == 0 {
			c.scaled = 0
			if by != 0 {
				c.scaled = math.MaxFloat32
			}
		}
		return c
	}
}

// shadowCounters are the counters of a comparison.
type shadowCounters struct {
	counters      [outcomes]prometheus.Counter
	agree, differ prometheus.Counter
	seconds       prometheus.Counter
	spread        prometheus.Observer
}
