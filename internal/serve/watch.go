package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mlops/internal/api"
	"mlops/internal/metrics"
	"mlops/internal/model"
	"mlops/internal/registry"
)

// Registry is where versions come from.
type Registry interface {
	// Production returns the version in production, or registry.ErrNoVersion.
	Production(ctx context.Context) (registry.Version, error)
	// Download writes the files of a version, listed in model.Files, into dir. An
	// error that wraps registry.ErrUnusable is final; after any other a retry may
	// succeed.
	Download(ctx context.Context, v registry.Version, dir string) error
}

// served is a loaded version. It never changes: a swap replaces it with another, and
// a request keeps the one it started with.
type served struct {
	version  registry.Version
	model    *model.Model
	loadedAt time.Time
	frame    frame  // of every response of /predict
	excluded []rule // the cohort's, in the spec's order
	task     *task  // nil: a binary one

	description api.Model // GET /model's, without a refusal
	warned      counted
	labels      [2]counter      // of records by predicted label; nil: not a binary task
	scores      *metrics.Scores // the same
	warnings    sync.Map        // their JSON by warning, where that shows no value of a record
	worded      worded

	earlier earlierRows // that features look back at

	paper paper // its model card
}

// rule is one of the cohort's.
type rule struct {
	prediction []byte // of a record that it leaves out
	count      prometheus.Counter
}

// wireVersion names a version as the API does.
func wireVersion(v registry.Version) api.Version {
	return api.Version{Name: v.Name, Number: strconv.Itoa(v.Number), RunID: v.RunID}
}

// refusal is a version that the server refused to serve.
type refusal struct {
	api.Refusal
	of      registry.Version
	checked time.Time // when it was last refused
}

const (
	pollEvery    = time.Second
	recheckEvery = time.Minute     // of a refused version: it may have been repaired in place
	pollTimeout  = 5 * time.Second // for the registry to name a version
	fetchTimeout = time.Minute     // for the registry to send its files
)

// Watch follows the registry until the context ends. It loads each version that is
// put into production, and keeps serving the current one if the new one is refused
// or the registry can't be reached.
func (s *Server) Watch(ctx context.Context) error {
	s.autopsy()
	var group sync.WaitGroup
	defer group.Wait()
	if s.options.Papers != nil {
		group.Go(func() { s.fetchCards(ctx) })
	}
	if h := s.shadow; h != nil {
		group.Go(func() { h.watch(ctx) })
		group.Go(func() { h.work(ctx) })
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	failing := false
	for {
		err := s.poll(ctx)
		if ctx.Err() != nil {
			return nil
		}
		switch {
		case err != nil:
			s.metrics.PollErrors.Inc()
			trouble := err.Error()
			s.trouble.Store(&trouble)
			if !failing {
				failing = true
				s.log.Warn("polling the registry failed; serving continues with what is loaded", "error", err)
				if s.served.Load() == nil {
					s.fromCache()
				}
			}
		case failing:
			failing = false
			s.trouble.Store(nil)
			s.log.Info("the registry responds again")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// poll asks the registry once, and loads the version in production if that is a new
// one. The error is the registry's or the cache's; a refused version is no error.
func (s *Server) poll(ctx context.Context) error {
	asking, cancel := context.WithTimeout(ctx, pollTimeout)
	v, err := s.options.Registry.Production(asking)
	cancel()
	if errors.Is(err, registry.ErrNoVersion) {
		s.refused.Store(nil)
		s.pointed.Store(false)
		s.reached.Store(true)
		return nil
	}
	if err != nil {
		return err
	}
	s.pointed.Store(true)
	s.reached.Store(true)
	if now := s.served.Load(); now != nil && now.version.Same(v) {
		s.refused.Store(nil)
		return nil
	}
	if r := s.refused.Load(); r != nil && r.of.Same(v) && r.of.Signature == v.Signature && time.Since(r.checked) < recheckEvery {
		return nil
	}
	start := time.Now()
	dir := s.folder(v)
	if s.fatal(v) {
		s.refuse(v, errFatal)
		return nil
	}
	if _, err := os.Stat(dir); err == nil && s.take(v, dir, start) == nil {
		s.remember(v)
		return nil
	}
	// There is no local copy, or it is damaged.
	fetching, cancel := context.WithTimeout(ctx, fetchTimeout)
	err = s.fetch(fetching, v, dir)
	cancel()
	if errors.Is(err, registry.ErrUnusable) {
		s.refuse(v, err)
		return nil
	}
	if err != nil {
		return err
	}
	if err := s.take(v, dir, start); err != nil {
		os.RemoveAll(dir)
		s.refuse(v, err)
		return nil
	}
	s.remember(v)
	return nil
}

// folder is where the local copy of a version is kept.
func (s *Server) folder(v registry.Version) string {
	return filepath.Join(s.options.Cache, v.Name, copyName(v))
}

// copyName tells the local copies of a model's versions apart, also those of a registry
// that was set up again.
func copyName(v registry.Version) string { return fmt.Sprintf("%d-%s%s", v.Number, v.RunID, v.Logged) }

// fetch downloads a version's files into a folder of the cache, all of them or none.
func (s *Server) fetch(ctx context.Context, v registry.Version, dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("creating the cache folder: %w", err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".fetching-")
	if err != nil {
		return fmt.Errorf("creating the cache folder: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := s.options.Registry.Download(ctx, v, tmp); err != nil {
		return fmt.Errorf("fetching version %d of %s: %w", v.Number, v.Name, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("replacing the local copy: %w", err)
	}
	if err := os.Rename(tmp, dir); err != nil {
		return fmt.Errorf("storing the local copy: %w", err)
	}
	return nil
}

// take verifies a version and begins to serve it.
func (s *Server) take(v registry.Version, dir string, start time.Time) error {
	if err := s.genuine(v, dir); err != nil {
		return err
	}
	m, err := s.load(v, dir)
	if err != nil {
		return err
	}
	next := &served{version: v, model: m, loadedAt: time.Now().UTC()}
	name, err := json.Marshal(wireVersion(v))
	if err != nil {
		return err
	}
	next.frame = frame{fmt.Appendf(nil, `{"model":%s,"predictions":[`, name), ',', []byte("]}\n")}
	for _, e := range m.Spec.Cohort {
		prediction, err := json.Marshal(api.Prediction{Excluded: e.Because})
		if err != nil {
			return err
		}
		next.excluded = append(next.excluded, rule{prediction, s.metrics.Excluded.WithLabelValues(e.Because)})
	}
	next.task = newTask(m, s.metrics)
	if next.task == nil {
		next.labels = [2]counter{s.metrics.Predicted("0"), s.metrics.Predicted("1")}
		next.scores = s.metrics.Scores(strconv.Itoa(v.Number))
	}
	next.description = description(next)
	s.beginEarlier(next, dir)
	next.warned = warningCounters(s.metrics, m.Encoder)
	if _, err := json.Marshal(next.description); err != nil { // before it is served
		return err
	}
	old := s.served.Swap(next)
	s.refused.Store(nil)
	took := time.Since(start)
	if old != nil {
		s.metrics.ModelInfo.DeleteLabelValues(old.version.Name, strconv.Itoa(old.version.Number), old.version.RunID)
	}
	s.metrics.ModelInfo.WithLabelValues(v.Name, strconv.Itoa(v.Number), v.RunID).Set(1)
	s.metrics.ModelLoadedAt.Set(float64(next.loadedAt.UnixMilli()) / 1000)
	s.metrics.ModelLoadTime.Set(took.Seconds())
	s.metrics.ModelLoads.Inc()
	attrs := []any{"version", v.Number, "run_id", v.RunID, "trees", m.Trees.Trees(), "took", took.Round(time.Millisecond).String()}
	if old != nil {
		attrs = append(attrs, "replaces", old.version.Number)
	}
	s.log.Info("version loaded", attrs...)
	if next.description.NoWarnings != "" {
		s.log.Warn("predictions carry no warnings", "version", v.Number, "reason", next.description.NoWarnings)
	}
	return nil
}

// load reads the files of a version that is to be served. A challenger gives way to it.
func (s *Server) load(v registry.Version, dir string) (*model.Model, error) {
	s.loading.Lock()
	defer s.loading.Unlock()
	err := s.fits(dir)
	if err != nil && s.shadow.yield() {
		err = s.fits(dir)
	}
	if err != nil {
		return nil, err
	}
	loaded := s.attempt(v)
	defer loaded()
	return model.ReadWithin(os.DirFS(dir), s.options.EarlierMemory)
}

func (s *Server) refuse(v registry.Version, why error) {
	now := time.Now().UTC()
	next := &refusal{Refusal: api.Refusal{Version: strconv.Itoa(v.Number), Reason: why.Error(), At: now}, of: v, checked: now}
	if last := s.refused.Load(); last != nil && last.of.Same(v) {
		next.At = last.At
		s.refused.Store(next)
		return // checked again, and still refused
	}
	s.refused.Store(next)
	if s.served.Load() == nil {
		s.fromCache() // after a start, serve what was served before
		s.refused.Store(next)
	}
	s.metrics.ModelRefusals.Inc()
	s.log.Error("version refused", "version", v.Number, "run_id", v.RunID, "reason", why)
}

// current is the file that names the version to start with if the registry can't be
// reached.
func (s *Server) current() string {
	return filepath.Join(s.options.Cache, s.options.Model+".json")
}

// remember notes which version is served, for a start without the registry, and
// deletes the copies of all others but the one before, to which a rollback returns.
func (s *Server) remember(v registry.Version) {
	if err := writeJSON(s.current(), kept{note(v), v.Signature}); err != nil {
		s.log.Warn("can't note which version is served: a start without the registry will find another one or none", "error", err)
		return
	}
	entries, err := os.ReadDir(filepath.Dir(s.folder(v)))
	if err != nil {
		return
	}
	now := filepath.Base(s.folder(v))
	if s.kept[len(s.kept)-1] != now {
		s.kept = [2]string{s.kept[1], now}
	}
	for _, e := range entries {
		if !slices.Contains(s.kept[:], e.Name()) {
			os.RemoveAll(filepath.Join(filepath.Dir(s.folder(v)), e.Name()))
		}
	}
}

// fromCache loads the local copy, if there is one.
func (s *Server) fromCache() {
	var k kept
	if !readJSON(s.current(), &k) || k.Name != s.options.Model {
		return
	}
	number, err := strconv.Atoi(k.Number)
	if err != nil {
		return
	}
	v := registry.Version{Name: k.Name, Number: number, RunID: k.RunID, Logged: k.Logged, Signature: k.Signature}
	if err := s.take(v, s.folder(v), time.Now()); err != nil {
		s.log.Error("the local copy can't be served", "version", v.Number, "reason", err)
		return
	}
	s.kept[1] = filepath.Base(s.folder(v)) // a rollback may return to it
}
