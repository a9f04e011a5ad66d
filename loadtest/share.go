package loadtest

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

const (
	// MaxWorkers is how many workers may share a load. Their reports are arguments of the
	// program that merges them, and a program gets only so much.
	MaxWorkers = 8
	maxParts   = 60 << 10 // bytes of all workers' reports, encoded

	// stageGap is the time between two stages of workers, in which each waits for the
	// responses still due, so that all of them begin the next one together.
	stageGap = time.Second
	// beginApart is how far apart the workers may begin a stage without a warning.
	beginApart = 500 * time.Millisecond
)

// Share is one worker's part of a load. The zero value is all of it.
type Share struct {
	Index, Of int       // from 0
	Begin     time.Time // when all workers begin the first stage
}

func (s Share) check(c *Config) error {
	if s.Of == 0 && s.Index == 0 {
		return nil
	}
	if s.Of < 1 || s.Of > MaxWorkers || s.Index < 0 || s.Index >= s.Of {
		return fmt.Errorf("worker %d of %d: the workers are 0 to n-1, and n is at most %d", s.Index, s.Of, MaxWorkers)
	}
	if len(c.Users) > 0 && slices.Min(c.Users) < s.Of {
		return fmt.Errorf("%d workers can't share %d users: each needs one", s.Of, slices.Min(c.Users))
	}
	if len(c.Rates) > 0 && c.Most < s.Of {
		return fmt.Errorf("%d workers can't share %d connections: each needs one", s.Of, c.Most)
	}
	return nil
}

// of is the share of a whole number: the first ones take what is left over.
func (s Share) of(whole int) int {
	if s.Of < 2 {
		return whole
	}
	n := whole / s.Of
	if s.Index < whole%s.Of {
		n++
	}
	return n
}

// number is the number among all workers' users or requests of this one's n-th.
func (s Share) number(n int) int { return n*max(s.Of, 1) + s.Index }

// apply makes a worker's config of the whole one.
func (s Share) apply(c Config) Config {
	if s.Of < 2 {
		return c
	}
	c.Users, c.Rates, c.Most = slices.Clone(c.Users), slices.Clone(c.Rates), s.of(c.Most)
	for i := range c.Users {
		c.Users[i] = s.of(c.Users[i])
	}
	for i := range c.Rates {
		c.Rates[i] /= float64(s.Of)
	}
	return c
}

// begins is when a stage begins; the zero time: as soon as it can.
func (s Share) begins(stage int, duration time.Duration) time.Time {
	if s.Begin.IsZero() {
		return time.Time{}
	}
	return s.Begin.Add(time.Duration(stage) * (duration + stageGap))
}

// part is a worker's report on its way to Merge.
type part struct {
	Report Report   `json:"report"`
	Counts [][]byte `json:"counts"` // of each stage the latency's and the service time's histogram, packed
}

// Encode returns a worker's report with its histograms as a line of text.
func (r *Report) Encode() (string, error) {
	p := part{Report: *r}
	for i := range r.Stages {
		p.Counts = append(p.Counts, r.Stages[i].counted.pack(), r.Stages[i].sent.pack())
	}
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	if err := errors.Join(json.NewEncoder(zip).Encode(p), zip.Close()); err != nil {
		return "", fmt.Errorf("encoding the report: %w", err)
	}
	text := base64.StdEncoding.EncodeToString(b.Bytes())
	if most := maxParts / max(r.Workers, 1); len(text) > most {
		return "", fmt.Errorf("the report takes %d bytes, and with %d workers each may take %d: use fewer workers or stages", len(text), r.Workers, most)
	}
	return text, nil
}

func decode(text string) (Report, error) {
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return Report{}, err
	}
	zip, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return Report{}, err
	}
	var p part
	if err := json.NewDecoder(io.LimitReader(zip, 64<<20)).Decode(&p); err != nil {
		return Report{}, err
	}
	if len(p.Counts) != 2*len(p.Report.Stages) {
		return Report{}, fmt.Errorf("%d histograms for %d stages", len(p.Counts), len(p.Report.Stages))
	}
	for i := range p.Report.Stages {
		s := &p.Report.Stages[i]
		if s.counted, err = unpack(p.Counts[2*i]); err != nil {
			return Report{}, err
		}
		if s.sent, err = unpack(p.Counts[2*i+1]); err != nil {
			return Report{}, err
		}
	}
	return p.Report, nil
}

// pack writes the sum, then each step's distance from the last one and its count, as
// varints: most take two bytes.
func (c *Counts) pack() []byte {
	data := binary.AppendVarint(nil, c.Sum)
	last := 0
	for i, of := range c.Of {
		data = binary.AppendUvarint(binary.AppendUvarint(data, uint64(of-last)), uint64(c.N[i]))
		last = of
	}
	return data
}

func unpack(data []byte) (Counts, error) {
	var c Counts
	r := bytes.NewReader(data)
	var err error
	if c.Sum, err = binary.ReadVarint(r); err != nil {
		return c, fmt.Errorf("reading a histogram: %w", err)
	}
	last := uint64(0)
	for r.Len() > 0 {
		distance, err := binary.ReadUvarint(r)
		if err != nil {
			return c, fmt.Errorf("reading a histogram: %w", err)
		}
		n, err := binary.ReadUvarint(r)
		if err != nil {
			return c, fmt.Errorf("reading a histogram: %w", err)
		}
		if last += distance; last >= steps || n > math.MaxInt64/2 {
			return c, errors.New("reading a histogram: it counts more than one can")
		}
		c.Of, c.N = append(c.Of, int(last)), append(c.N, int64(n))
	}
	return c, nil
}

// Merge returns the report that one worker would have had, from those of workers that
// shared a load, each as Encode has written it. Percentiles are of all workers' requests,
// not means of theirs. cfg has the whole load's thresholds.
func Merge(encoded []string, cfg Config) (Report, error) {
	if len(encoded) == 0 {
		return Report{}, errors.New("there are no reports of workers")
	}
	var all []Report
	for i, text := range encoded {
		r, err := decode(text)
		if err != nil {
			return Report{}, fmt.Errorf("report %d of %d: %w", i+1, len(encoded), err)
		}
		all = append(all, r)
	}
	first := &all[0]
	if n := first.Workers; n != len(all) {
		return Report{}, fmt.Errorf("there are %d reports of %d workers", len(all), n)
	}
	stages := len(first.Stages)
	merged := newReport(cfg)
	merged.Target, merged.Path, merged.Seconds, merged.Think, merged.Timeout, merged.Bodies, merged.Workers = first.Target, first.Path, first.Seconds, first.Think, first.Timeout, first.Bodies, len(all)
	for i := range all {
		r := &all[i]
		if r.Target != first.Target || r.Path != first.Path || r.Seconds != first.Seconds || r.Workers != first.Workers {
			return Report{}, fmt.Errorf("report %d is not of the same load as report 1", i+1)
		}
		merged.Stopped = merged.Stopped || r.Stopped || len(r.Stages) != len(first.Stages)
		stages = min(stages, len(r.Stages))
	}
	for i := range stages {
		of := make([]*Stage, len(all))
		for w := range all {
			of[w] = &all[w].Stages[i]
		}
		s := mergeStages(of)
		s.Sustained = s.sustained(cfg.MaxErrors)
		merged.Stages = append(merged.Stages, s)
	}
	merged.sumUp()
	return merged, nil
}

// mergeStages is one stage of all workers.
func mergeStages(of []*Stage) Stage {
	m := Stage{Began: of[0].Began, Errors: map[string]int64{}, Versions: map[string]int64{}}
	last := m.Began
	var longest, longestSent float64
	add := func(to, from map[string]int64) {
		for k, n := range from {
			to[k] += n
		}
	}
	for _, s := range of {
		m.Users += s.Users
		m.Rate += s.Rate
		if s.Began.Before(m.Began) {
			m.Began = s.Began
		}
		if s.Began.After(last) {
			last = s.Began
		}
		m.Seconds = max(m.Seconds, s.Seconds)
		m.Requests += s.Requests
		m.Failed += s.Failed
		m.PerSecond += s.PerSecond
		m.Connections += s.Connections
		m.counted.merge(&s.counted)
		m.sent.merge(&s.sent)
		longest = max(longest, s.Latency.Max)
		if s.Sent != nil {
			longestSent = max(longestSent, s.Sent.Max)
		}
		add(m.Errors, s.Errors)
		add(m.Versions, s.Versions)
		m.Failures = append(m.Failures, s.Failures...)
		if s.Missed != nil {
			if m.Missed == nil {
				m.Missed = &Missed{}
			}
			m.Missed.Busy += s.Missed.Busy
			m.Missed.Late += s.Missed.Late
		}
		m.Generator.CPUs += s.Generator.CPUs
		m.Generator.CPUsHad += s.Generator.CPUsHad
		m.Generator.Busy = max(m.Generator.Busy, s.Generator.Busy)
		for _, w := range s.Warnings {
			if !slices.Contains(m.Warnings, w) {
				m.Warnings = append(m.Warnings, w)
			}
		}
	}
	m.Rate = math.Round(m.Rate*1e6) / 1e6 // thirds add up again
	m.Latency = latencyOf(&m.counted, longest)
	if m.sent.total() > 0 {
		l := latencyOf(&m.sent, longestSent)
		m.Sent = &l
	}
	if len(m.Errors) == 0 {
		m.Errors = nil
	}
	slices.SortStableFunc(m.Failures, func(a, b Failure) int { return a.At.Compare(b.At) })
	m.Failures = m.Failures[:min(len(m.Failures), maxFailures)]
	if apart := last.Sub(m.Began); apart > beginApart {
		m.Warnings = append(m.Warnings, fmt.Sprintf("the workers began up to %v apart: in that time there was less load than asked for", apart.Round(100*time.Millisecond)))
	}
	return m
}

// latencyOf reads a histogram, whose longest duration is known exactly.
func latencyOf(c *Counts, longest float64) Latency {
	at := func(q float64) float64 { return min(c.Quantile(q), longest) }
	return Latency{Mean: c.Mean(), P50: at(0.50), P95: at(0.95), P99: at(0.99), Max: longest}
}
