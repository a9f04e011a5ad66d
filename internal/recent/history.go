// Package recent keeps the last minutes of a server's metrics in memory, and evaluates
// the part of PromQL that the dashboards use on them: pictures where no Prometheus runs.
package recent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

const (
	maxSeries  = 1500    // a server has some hundreds
	maxScrape  = 4 << 20 // bytes of a response
	maxSamples = 360     // per series: half an hour every 5 s
)

// Labels are a series' labels, its name among them as __name__.
type Labels map[string]string

const nameLabel = "__name__"

// series is what is remembered of one series; NaN where it was not there.
type series struct {
	labels Labels
	values [maxSamples]float64
}

// History is the last samples of at most maxSeries series.
type History struct {
	mu      sync.Mutex
	times   [maxSamples]time.Time // a ring, as the values are
	next, n int
	byName  map[string]map[string]*series // by name, then by all labels
	count   int
	dropped int // series that found no place in the last scrape
}

// New returns an empty history.
func New() *History { return &History{byName: map[string]map[string]*series{}} }

// Follow scrapes a server's metrics every interval until ctx ends. failed is told when
// it can't be read, and nil once it can be again.
func (h *History) Follow(ctx context.Context, client *http.Client, url, job string, interval time.Duration, failed func(error)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var last error
	for {
		err := h.scrape(ctx, client, url, job)
		if ctx.Err() != nil {
			return
		}
		if (err == nil) != (last == nil) {
			failed(err)
		}
		last = err
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (h *History) scrape(ctx context.Context, client *http.Client, url, job string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("reading metrics: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("reading metrics: %s", res.Status)
	}
	return h.Add(time.Now(), io.LimitReader(res.Body, maxScrape), Labels{"job": job, "instance": req.URL.Host})
}

// Add takes metrics in Prometheus' text format as they were at a time, which is later
// than that of the samples before.
func (h *History) Add(at time.Time, text io.Reader, extra Labels) error {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(text)
	if err != nil {
		return fmt.Errorf("reading metrics: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	slot := h.next
	h.next, h.n = (h.next+1)%maxSamples, min(h.n+1, maxSamples)
	h.times[slot], h.dropped = at, 0
	for name, all := range h.byName {
		for key, s := range all {
			s.values[slot] = math.NaN()
			if !slices.ContainsFunc(s.values[:], func(v float64) bool { return !math.IsNaN(v) }) {
				delete(all, key)
				h.count--
			}
		}
		if len(all) == 0 {
			delete(h.byName, name)
		}
	}
	for _, f := range families {
		for _, m := range f.Metric {
			labels := Labels{}
			for _, l := range m.Label {
				labels[l.GetName()] = l.GetValue()
			}
			for name, value := range extra {
				labels[name] = value
			}
			for _, v := range values(f, m) {
				h.put(slot, labels.with(nameLabel, f.GetName()+v.suffix, v.label, v.value), v.sample)
			}
		}
	}
	return nil
}

// part is one sample of a metric.
type part struct {
	suffix, label, value string
	sample               float64
}

func values(f *dto.MetricFamily, m *dto.Metric) []part {
	switch {
	case m.Counter != nil:
		return []part{{sample: m.Counter.GetValue()}}
	case m.Gauge != nil:
		return []part{{sample: m.Gauge.GetValue()}}
	case m.Untyped != nil:
		return []part{{sample: m.Untyped.GetValue()}}
	case m.Histogram != nil:
		list := []part{{suffix: "_count", sample: float64(m.Histogram.GetSampleCount())}, {suffix: "_sum", sample: m.Histogram.GetSampleSum()}}
		for _, b := range m.Histogram.Bucket {
			list = append(list, part{"_bucket", "le", fmt.Sprint(b.GetUpperBound()), float64(b.GetCumulativeCount())})
		}
		return list
	}
	return nil // summaries: the dashboards use none
}

func (h *History) put(slot int, labels Labels, sample float64) {
	name, key := labels[nameLabel], labels.key()
	s := h.byName[name][key]
	if s == nil {
		if h.count == maxSeries {
			h.dropped++
			return
		}
		s = &series{labels: labels}
		for i := range s.values {
			s.values[i] = math.NaN()
		}
		if h.byName[name] == nil {
			h.byName[name] = map[string]*series{}
		}
		h.byName[name][key] = s
		h.count++
	}
	s.values[slot] = sample
}

// Span is from when to when there are samples, and how many series found no place.
func (h *History) Span() (from, to time.Time, dropped int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n == 0 {
		return from, to, 0, errors.New("no metrics have been read yet")
	}
	return h.times[(h.next-h.n+maxSamples)%maxSamples], h.times[(h.next-1+maxSamples)%maxSamples], h.dropped, nil
}

// with returns the labels with some more; those without a name are left out.
func (l Labels) with(pairs ...string) Labels {
	all := make(Labels, len(l)+len(pairs)/2)
	for name, value := range l {
		all[name] = value
	}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] != "" {
			all[pairs[i]] = pairs[i+1]
		}
	}
	return all
}

// only returns those of the labels that are named; without those named if drop.
func (l Labels) only(names []string, drop bool) Labels {
	some := Labels{}
	for name, value := range l {
		if slices.Contains(names, name) != drop {
			some[name] = value
		}
	}
	return some
}

// key is the same text for the same labels.
func (l Labels) key() string {
	names := make([]string, 0, len(l))
	for name := range l {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		b.WriteString(name)
		b.WriteByte(0)
		b.WriteString(l[name])
		b.WriteByte(0)
	}
	return b.String()
}
