package serve

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/google/renameio/v2"

	"mlops/internal/api"
	"mlops/internal/dataset"
	"mlops/internal/earlier"
	"mlops/internal/feature"
	"mlops/internal/metrics"
)

// EarlierRows is where rows come from that features look back at; see earlier.Source.
type EarlierRows interface {
	State(ctx context.Context, spec *dataset.Spec) (earlier.State, error)
	Follow(ctx context.Context, spec *dataset.Spec, since earlier.State, row earlier.Row) (earlier.Change, error)
	Groups(ctx context.Context, spec *dataset.Spec, groups []string, row earlier.Row) error
}

const (
	followEvery   = 10 * time.Second
	followTimeout = 5 * time.Minute // for all rows to be read
	staleAfter    = time.Minute

	defaultEarlierMemory = 64 << 20
)

// earlierRows is what a served version looks up.
type earlierRows struct {
	held    atomic.Pointer[held]
	asOf    atomic.Int64           // Unix, ns: when held was last known to be complete
	trouble atomic.Pointer[string] // why it may not be; nil: the last try succeeded
}

// held is a state of the rows. It does not change: what came since makes another.
type held struct {
	rows  *feature.Snapshot // nil: none are held
	state earlier.State     // of Postgres; "" of rows that came with the version
	from  string            // one of api.EarlierFrom...
}

// beginEarlier gives a version what there is to look up before Postgres has been asked:
// the local copy of what was followed, or else the rows that it was trained with.
func (s *Server) beginEarlier(next *served, dir string) {
	m := next.model
	if !m.Spec.LooksBack() {
		return
	}
	h := &held{rows: m.Earlier, from: api.EarlierFromVersion}
	asOf := m.Serving.Created
	if s.options.Earlier != nil {
		rows, note, err := readFollowed(dir, m.Encoder, s.options.EarlierMemory)
		switch {
		case err == nil:
			h, asOf = &held{rows, note.State, api.EarlierFromCopy}, note.AsOf
		case errors.Is(err, feature.ErrTooMany): // so that the version's rows are fewer than there are
			h.rows, m.TooManyEarlier = nil, true
		case !os.IsNotExist(err):
			s.log.Warn("the local copy of earlier rows can't be read", "version", next.version.Number, "error", err)
		}
	}
	m.Earlier = nil // not held twice
	switch {
	case h.rows != nil:
	case s.options.Earlier != nil && m.TooManyEarlier:
		h.from = api.EarlierAsked
	case s.options.Earlier == nil:
		h.from = api.EarlierFromNobody
		s.log.Warn("earlier rows are not looked up: every record without history gets a warning", "version", next.version.Number, "too_many", m.TooManyEarlier)
	}
	next.earlier.asOf.Store(asOf.UnixNano())
	next.earlier.held.Store(h)
}

// follow keeps the earlier rows of the served version those of Postgres, until the
// context ends.
func (s *Server) follow(ctx context.Context) {
	if s.options.Earlier == nil {
		return
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var of *served
	var next time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		served := s.served.Load()
		if served == nil || !served.model.Spec.LooksBack() || served == of && time.Now().Before(next) {
			continue
		}
		of, next = served, time.Now().Add(followEvery)
		reading, cancel := context.WithTimeout(ctx, followTimeout)
		err := s.catchUp(reading, served)
		cancel()
		if ctx.Err() != nil {
			return
		}
		s.noteFollowed(served, err)
	}
}

// noteFollowed notes how a try to follow went. Trouble is logged when it begins and ends.
func (s *Server) noteFollowed(served *served, err error) {
	e := &served.earlier
	if err == nil {
		if e.trouble.Swap(nil) != nil {
			s.log.Info("earlier rows are followed again", "version", served.version.Number)
		}
		return
	}
	s.metrics.FollowErrors.Inc()
	text := err.Error()
	if e.trouble.Swap(&text) == nil {
		s.log.Warn("following earlier rows failed; lookups go on with what is held", "version", served.version.Number,
			"as_of", e.time().Format(time.RFC3339), "error", err)
	}
}

func (e *earlierRows) time() time.Time { return time.Unix(0, e.asOf.Load()).UTC() }

// catchUp takes over what came to Postgres since the last time. Requests go on with what
// is held until it is complete.
func (s *Server) catchUp(ctx context.Context, served *served) error {
	e, m, start := &served.earlier, served.model, time.Now()
	now := e.held.Load()
	if now.from == api.EarlierAsked {
		_, err := s.options.Earlier.State(ctx, m.Spec)
		if err == nil {
			e.asOf.Store(start.UnixNano())
		}
		return err
	}
	builder := m.Encoder.NewSnapshotBuilder(s.options.EarlierMemory)
	late := lateRows{spec: m.Spec, after: now.state.Last()}
	change, err := s.options.Earlier.Follow(ctx, m.Spec, now.state, func(batch int32, fields [][]byte) error {
		late.add(batch, fields)
		return builder.AddRow(fields)
	})
	if err != nil {
		return err
	}
	if change.State == "" {
		return fmt.Errorf("no rows of %s in Postgres", m.Spec.Name)
	}
	if change.Same {
		if now.from == api.EarlierFromCopy {
			e.held.Store(&held{now.rows, now.state, api.EarlierFromPostgres})
		}
		e.asOf.Store(start.UnixNano())
		return nil
	}
	rows, err := builder.Snapshot()
	if err != nil {
		return err
	}
	if rows != nil && !change.Whole && now.rows != nil {
		rows = now.rows.With(rows)
	}
	if rows == nil || rows.Bytes() > s.options.EarlierMemory {
		e.held.Store(&held{state: change.State, from: api.EarlierAsked})
		e.asOf.Store(start.UnixNano())
		s.log.Warn("earlier rows take more memory than they may: Postgres is asked for those of each request", "version", served.version.Number, "limit_bytes", s.options.EarlierMemory)
		return nil
	}
	e.held.Store(&held{rows, change.State, api.EarlierFromPostgres})
	e.asOf.Store(start.UnixNano())
	attrs := []any{"version", served.version.Number, "groups", rows.Groups(), "rows", rows.Rows(), "bytes", rows.Bytes(), "whole", change.Whole, "took", time.Since(start).Round(time.Millisecond).String()}
	if now.state != "" && late.count > 0 {
		attrs = append(attrs, "late", late.count, "late_example", late.example)
	}
	s.log.Info("earlier rows taken over from Postgres", attrs...)
	if err := writeFollowed(s.folder(served.version), rows, followedNote{change.State, start.UTC()}); err != nil {
		s.log.Warn("can't keep a local copy of earlier rows: a start without Postgres will have older ones", "error", err)
	}
	return nil
}

// lateRows counts rows that came in a later batch than one that follows them in their
// group. They take their place all the same.
type lateRows struct {
	spec    *dataset.Spec
	after   int // the last batch that was known: rows of later ones are counted
	group   []byte
	pending []arrival // of the group, in order, each in a later batch than all that follow so far
	count   int
	example string
}

type arrival struct {
	batch int32
	place string
}

func (l *lateRows) add(batch int32, fields [][]byte) {
	group, place := fields[l.spec.Column(l.spec.Group)], fields[l.spec.Column(l.spec.Order)]
	if string(group) != string(l.group) {
		l.group, l.pending = append(l.group[:0], group...), l.pending[:0]
	}
	for n := len(l.pending); n > 0 && l.pending[n-1].batch > batch; n-- {
		p := l.pending[n-1]
		l.pending = l.pending[:n-1]
		if int(p.batch) <= l.after {
			continue
		}
		if l.count == 0 {
			l.example = fmt.Sprintf("%s %s of %s %s came in batch %d, a later one of the same group in batch %d", l.spec.Order, p.place, l.spec.Group, group, p.batch, batch)
		}
		l.count++
	}
	l.pending = append(l.pending, arrival{batch, string(place)})
}

// followed is the file, in the folder of a version's local copy, of earlier rows that
// were read from Postgres: a line of JSON, then the rows.
const followed = "followed.bin"

type followedNote struct {
	State earlier.State `json:"state"`
	AsOf  time.Time     `json:"as_of"`
}

func writeFollowed(dir string, rows *feature.Snapshot, note followedNote) error {
	text, err := json.Marshal(note)
	if err != nil {
		return err
	}
	packed, err := rows.Write()
	if err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Join(dir, followed), append(append(text, '\n'), packed...), 0o644, renameio.WithTempDir(dir))
}

func readFollowed(dir string, e *feature.Encoder, most int64) (rows *feature.Snapshot, note followedNote, err error) {
	f, err := os.Open(filepath.Join(dir, followed))
	if err != nil {
		return nil, note, err
	}
	defer f.Close()
	in := bufio.NewReader(f)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return nil, note, err
	}
	if err := json.Unmarshal(bytes.TrimSpace(line), &note); err != nil {
		return nil, note, err
	}
	rows, err = e.ReadSnapshot(in, most)
	return rows, note, err
}

// describeEarlier is what GET /model says of earlier records, nil if no feature looks at
// them.
func (s *Server) describeEarlier(served *served) *api.Earlier {
	spec := served.model.Spec
	if !spec.LooksBack() {
		return nil
	}
	e := &served.earlier
	now := e.held.Load()
	h := &api.Earlier{Group: spec.Group, Order: spec.Order, From: now.from, AsOf: e.time().Truncate(followEvery), Stale: s.stale(served)}
	if now.rows != nil {
		h.Groups, h.Rows, h.Bytes = now.rows.Groups(), now.rows.Rows(), now.rows.Bytes()
	}
	return h
}

// stale says why rows may be missing that came more than a minute ago; empty: none are.
func (s *Server) stale(served *served) string {
	e := &served.earlier
	switch trouble := e.trouble.Load(); {
	case s.options.Earlier == nil:
		return "the server does not follow Postgres: rows that came after the training are unknown to it"
	case time.Since(e.time()) < staleAfter:
		return ""
	case trouble != nil:
		return *trouble
	default:
		return "Postgres has not been read yet"
	}
}

// watchEarlier adds the metrics of what is held.
func (s *Server) watchEarlier(m *metrics.Inference) {
	of := func(get func(*served, *held) int64) func() int64 {
		return func() int64 {
			served := s.served.Load()
			if served == nil || !served.model.Spec.LooksBack() {
				return 0
			}
			return get(served, served.earlier.held.Load())
		}
	}
	rows := func(get func(*feature.Snapshot) int64) func() int64 {
		return of(func(_ *served, h *held) int64 {
			if h.rows == nil {
				return 0
			}
			return get(h.rows)
		})
	}
	asOf := of(func(served *served, _ *held) int64 { return served.earlier.asOf.Load() / 1e6 })
	m.WatchEarlier(
		rows(func(r *feature.Snapshot) int64 { return int64(r.Rows()) }), rows(func(r *feature.Snapshot) int64 { return int64(r.Groups()) }), rows((*feature.Snapshot).Bytes),
		func() float64 { return float64(asOf()) / 1000 },
		of(func(served *served, _ *held) int64 {
			if s.options.Earlier != nil && s.stale(served) != "" {
				return 1
			}
			return 0
		}))
}
