package serve

import (
	"context"
	"errors"
	"sync"
	"time"

	"mlops/internal/api"
)

const (
	askTimeout = 300 * time.Millisecond // for the earlier rows of a request with one group
	askEach    = time.Millisecond       // and for each group more
	askMost    = 5 * time.Second

	askMemory = 16 << 20 // bytes of earlier rows that one request may get
)

// findEarlier gives a request what its records' histories are looked up in: the rows that
// are held, or, where there are too many to hold, those of its groups, which Postgres is
// asked for. No slot is held meanwhile.
func (s *Server) findEarlier(ctx context.Context, x *exchange, served *served) {
	now := served.earlier.held.Load()
	if now.from != api.EarlierAsked {
		x.earlier = now.rows
		return
	}
	groups := x.groups(served)
	if len(groups) == 0 {
		return
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, min(askMost, askTimeout+time.Duration(len(groups)-1)*askEach))
	defer cancel()
	builder := served.model.Encoder.NewSnapshotBuilder(askMemory)
	err := s.options.Earlier.Groups(ctx, served.model.Spec, groups, func(_ int32, fields [][]byte) error { return builder.AddRow(fields) })
	if err == nil {
		if x.earlier, err = builder.Snapshot(); err == nil && x.earlier == nil {
			err = errors.New("the earlier rows of this request are too many")
		}
	}
	s.metrics.Asking.Observe(time.Since(start).Seconds())
	if err == nil {
		s.metrics.Asked.WithLabelValues("answered").Inc()
		return
	}
	x.earlier, x.unanswered = nil, true
	s.metrics.Asked.WithLabelValues("failed").Inc()
	s.complain(err)
}

// complain logs that Postgres did not answer, at most once every ten seconds.
func (s *Server) complain(err error) {
	now := time.Now().UnixNano()
	if last := s.complained.Load(); now-last > int64(10*time.Second) && s.complained.CompareAndSwap(last, now) {
		s.log.Warn("Postgres did not answer for earlier rows; records are scored with a warning", "error", err)
	}
}

var collectors = sync.Pool{New: func() any { return new(decoder) }}

// groups are those of the request's records that brought no history, each once. A body
// that is wrong has some or none: it is not scored.
func (x *exchange) groups(served *served) []string {
	d := collectors.Get().(*decoder)
	e := served.model.Encoder
	var found []string
	known := map[string]bool{}
	d.table, d.numbers = x.in == csvFormat, x.numbers
	d.back.collect = func(group []byte) {
		if !known[string(group)] {
			found = append(found, string(group))
			known[found[len(found)-1]] = true
		}
	}
	vector := make([]float32, e.Width())
	_ = d.decode(x.body, e, func() []float32 { return vector }) // scoring says what is wrong
	d.back.collect = nil
	d.release()
	collectors.Put(d)
	return found
}
