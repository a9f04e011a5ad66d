package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"mlops/internal/api"
	"mlops/internal/model"
	"mlops/internal/registry"
)

// Challengers names the version to compare with the one in production.
type Challengers interface {
	// Challenger returns it, or registry.ErrNoChallenger.
	Challenger(ctx context.Context) (registry.Version, error)
}

// duel is a challenger and the served version that it is compared with.
type duel struct {
	served *served
	challenger
	alike bool // it takes the same vectors
	since time.Time
	shadowCounters

	mu    sync.Mutex
	tally tally
}

// challenger is a loaded version that answers no request.
type challenger struct {
	version  registry.Version
	model    *model.Model
	dir      string
	loadedAt time.Time
}

const challengerEvery = 2 * time.Second // it is looked for

// watch follows the alias challenger until the context ends.
func (h *shadow) watch(ctx context.Context) {
	tick := time.NewTicker(challengerEvery)
	defer tick.Stop()
	failing := false
	for {
		err := h.poll(ctx)
		if failing != (err != nil) && ctx.Err() == nil {
			failing = err != nil
			if failing {
				h.server.log.Warn("looking for the challenger failed; the comparison goes on with what is loaded", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// poll asks the registry once, and loads the challenger if that is a new one. The error
// is the registry's or the cache's; a refused challenger is no error.
func (h *shadow) poll(ctx context.Context) error {
	s := h.server
	asking, cancel := context.WithTimeout(ctx, pollTimeout)
	v, err := s.options.Challengers.Challenger(asking)
	cancel()
	served := s.served.Load()
	none := errors.Is(err, registry.ErrNoChallenger)
	if err != nil && !none {
		return err
	}
	if none || served == nil || v.Same(served.version) {
		h.drop(nil)
		h.refused.Store(nil)
		return nil
	}
	now := h.duel.Load()
	if now != nil && now.version.Same(v) {
		if now.served == served {
			return nil
		}
		// Another version is served. Earlier rows that the last one looked up are read again.
		if !now.model.Encoder.LooksBack() && comparable(served.model, now.model) == nil {
			h.begin(served, now.challenger)
			return nil
		}
	}
	if r := h.refused.Load(); r != nil && r.of.Same(v) && r.of.Signature == v.Signature && r.of.Compared == v.Compared && time.Since(r.checked) < recheckEvery {
		return nil
	}
	c, err := h.load(ctx, v)
	if err != nil && !final(err) {
		return err
	}
	if err == nil {
		err = comparable(served.model, c.model)
	}
	if err != nil {
		h.refuse(v, err)
		return nil
	}
	h.begin(served, c)
	return nil
}

// final reports whether an error of load is about the version, not the registry.
func final(err error) bool {
	_, ours := errors.AsType[*unfit](err)
	return ours || errors.Is(err, registry.ErrUnusable)
}

// unfit is why a challenger is not loaded.
type unfit struct{ error }

func (u *unfit) Unwrap() error { return u.error }

// load fetches and verifies a challenger as if it were to be served.
func (h *shadow) load(ctx context.Context, v registry.Version) (challenger, error) {
	s := h.server
	root := filepath.Join(s.options.Cache, ".challenger", v.Name)
	dir := filepath.Join(root, copyName(v))
	c := challenger{version: v, dir: dir}
	var died []noted
	if readJSON(s.died(), &died) && slices.Contains(died, note(v)) {
		return c, &unfit{errFatal}
	}
	fetching, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	if err := s.fetch(fetching, v, dir); err != nil {
		return c, err
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return c, fmt.Errorf("reading the cache folder: %w", err)
	}
	for _, e := range entries {
		if e.Name() != filepath.Base(dir) {
			os.RemoveAll(filepath.Join(root, e.Name()))
		}
	}
	if s.options.Trusted != nil {
		subject, err := v.Subject(os.DirFS(dir))
		if err == nil {
			err = v.Comparable(s.options.Trusted, subject)
		}
		if err != nil {
			return c, &unfit{err}
		}
	}
	h.drop(nil) // the next one needs its memory
	s.loading.Lock()
	defer s.loading.Unlock()
	if err := s.fits(dir); err != nil {
		return c, &unfit{err}
	}
	loaded := s.attempt(v)
	defer loaded()
	if c.model, err = model.ReadWithin(os.DirFS(dir), s.options.EarlierMemory); err != nil {
		return c, &unfit{err}
	}
	c.loadedAt = time.Now().UTC()
	return c, nil
}

// comparable returns an error unless both predict the same.
func comparable(served, challenger *model.Model) error {
	a, b := served.Spec, challenger.Spec
	switch {
	case a.Task != b.Task:
		return fmt.Errorf("its task is %s, that of the served version %s", b.Task, a.Task)
	case a.Target.Column != b.Target.Column:
		return fmt.Errorf("it predicts %q, the served version %q", b.Target.Column, a.Target.Column)
	case !slices.Equal(a.Target.Classes, b.Target.Classes):
		return fmt.Errorf("its classes are %q, those of the served version %q", b.Target.Classes, a.Target.Classes)
	case !slices.Equal(slices.Sorted(slices.Values(a.Target.Positive)), slices.Sorted(slices.Values(b.Target.Positive))):
		return fmt.Errorf("its positive values are %q, those of the served version %q", b.Target.Positive, a.Target.Positive)
	}
	return nil
}

// begin begins a comparison.
func (h *shadow) begin(served *served, c challenger) {
	s, m := h.server, h.metrics
	d := &duel{served: served, challenger: c, since: time.Now().UTC(), tally: tally{labels: map[[2]int]int64{}}}
	d.alike = alike(served.model, c.model, s.folder(served.version), c.dir)
	if d.alike {
		d.model = without(c.model)
	}
	for i, name := range outcomeNames {
		d.counters[i] = m.Records.WithLabelValues(name)
	}
	d.agree, d.differ = m.Agreements.WithLabelValues("true"), m.Agreements.WithLabelValues("false")
	d.seconds, d.spread = m.Seconds, m.Difference
	m.Info.Reset()
	m.Info.WithLabelValues(c.version.Name, strconv.Itoa(c.version.Number), c.version.RunID).Set(1)
	h.refused.Store(nil)
	h.duel.Store(d)
	s.log.Info("challenger compared", "version", c.version.Number, "run_id", c.version.RunID, "served", served.version.Number, "share", h.share, "same_vectors", d.alike)
}

// without is a model without the earlier rows, which the served version has looked up.
func without(m *model.Model) *model.Model {
	lean := *m
	lean.Earlier = nil
	return &lean
}

// alike reports whether a model takes the vectors that another one's encoder makes.
func alike(a, b *model.Model, dirA, dirB string) bool {
	if a.Spec.Digest() != b.Spec.Digest() {
		return false
	}
	x, errX := json.Marshal(a.Encoder)
	y, errY := json.Marshal(b.Encoder)
	if errX != nil || errY != nil || !bytes.Equal(x, y) {
		return false
	}
	if !a.Encoder.LooksBack() {
		return true
	}
	before, errX := os.ReadFile(filepath.Join(dirA, model.FileEarlier))
	after, errY := os.ReadFile(filepath.Join(dirB, model.FileEarlier))
	return errX == nil && errY == nil && bytes.Equal(before, after)
}

// drop ends the comparison, and lets the challenger go.
func (h *shadow) drop(why error) {
	d := h.duel.Swap(nil)
	if d == nil {
		return
	}
	h.metrics.Info.Reset()
	if why != nil {
		h.refuse(d.version, why)
		return
	}
	h.server.log.Info("challenger no longer compared", "version", d.version.Number)
}

// yield lets the challenger go so that a version in production can be loaded, and
// reports whether there was one.
func (h *shadow) yield() bool {
	if h == nil || h.duel.Load() == nil {
		return false
	}
	h.drop(errors.New("its memory was needed for the version in production; raise the memory limit to compare both"))
	debug.FreeOSMemory()
	return true
}

func (h *shadow) refuse(v registry.Version, why error) {
	now := time.Now().UTC()
	next := &refusal{Refusal: api.Refusal{Version: strconv.Itoa(v.Number), Reason: why.Error(), At: now}, of: v, checked: now}
	last := h.refused.Load()
	if last != nil && last.of.Same(v) {
		next.At = last.At
	} else {
		h.server.log.Error("challenger refused", "version", v.Number, "run_id", v.RunID, "reason", why)
	}
	h.refused.Store(next)
}

// refusing is 1 while the challenger is refused.
func (h *shadow) refusing() int64 {
	if h.refused.Load() != nil {
		return 1
	}
	return 0
}

// describe is what GET /model says of the challenger.
func (h *shadow) describe() *api.Challenger {
	c := &api.Challenger{Share: h.share}
	if r := h.refused.Load(); r != nil {
		c.Refused = &r.Refusal
	}
	d := h.duel.Load()
	if d == nil {
		return c
	}
	model, loaded, since := wireVersion(d.version), d.loadedAt, d.since
	model.Candidate = d.model.Serving.Candidate
	c.Model, c.LoadedAt, c.Since, c.SameVectors = &model, &loaded, &since, d.alike
	d.mu.Lock()
	defer d.mu.Unlock()
	t := &d.tally
	c.Records, c.Dropped, c.Skipped, c.Failed, c.Failure = t.records[compared], t.records[dropped], t.records[skipped], t.records[failed], t.failure
	n := float64(t.records[compared])
	if n == 0 {
		return c
	}
	agreement := float64(t.agreed) / n
	c.Agreement = &agreement
	c.Microseconds = t.took.Seconds() * 1e6 / n
	sorted := slices.Sorted(slices.Values(t.sample))
	at := func(q float64) float64 { return sorted[int(q*float64(len(sorted)-1)+0.5)] }
	c.Difference = &api.Difference{Mean: t.sum / n, Absolute: t.absolute / n, Median: at(0.5), P90: at(0.9), P99: at(0.99), Largest: t.largest}
	for pair, records := range t.labels {
		c.Labels = append(c.Labels, api.LabelPair{Production: d.label(pair[0]), Challenger: d.label(pair[1]), Records: records})
	}
	slices.SortFunc(c.Labels, func(a, b api.LabelPair) int {
		if a.Records != b.Records {
			return int(b.Records - a.Records)
		}
		if a.Production != b.Production {
			return bytes.Compare([]byte(a.Production), []byte(b.Production))
		}
		return bytes.Compare([]byte(a.Challenger), []byte(b.Challenger))
	})
	c.Labels = c.Labels[:min(len(c.Labels), maxLabelPairs)]
	return c
}

// maxLabelPairs bounds the pairs of labels that are shown.
const maxLabelPairs = 20

// label is a label as predictions have it.
func (d *duel) label(k int) string {
	if classes := d.served.model.Spec.Target.Classes; classes != nil {
		return classes[k]
	}
	return strconv.Itoa(k)
}
