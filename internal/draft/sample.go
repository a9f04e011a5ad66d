package draft

import (
	"fmt"
	"runtime"
	"slices"
	"sync"

	"mlops/internal/dataset"
	"mlops/internal/feature"
	"mlops/internal/inspect"
)

const (
	maxSample = 20_000   // rows of a sample
	maxBytes  = 16 << 20 // of a sample, with what its encoded rows take
)

// sample is rows that training could use, drawn evenly from the whole table, so that
// they can be encoded and inspected as training does. A table that fits is in it whole.
type sample struct {
	spec  *dataset.Spec
	seen  uint64
	every uint64 // one row in so many is kept, by the hash of its number
	rows  []sampled
	bytes int

	others   map[int]inspect.Column // by place; see other
	ofTarget *inspect.OfTarget
	computed []inspect.Computed // what it found, once asked
	asked    bool
}

// sampled is one row of a sample: its values one after the other, and where each ends;
// the complement of that where it is missing.
type sampled struct {
	number uint64
	label  float32
	text   []byte
	ends   []int32
}

// fields parts a row into its values, nil where one is missing, in the place of others.
func (r *sampled) fields(into [][]byte) [][]byte {
	into, start := into[:0], int32(0)
	for _, end := range r.ends {
		if end < 0 {
			into = append(into, nil)
			continue
		}
		into = append(into, r.text[start:end:end])
		start = end
	}
	return into
}

func newSample(spec *dataset.Spec) *sample {
	return &sample{spec: spec, every: 1, ofTarget: inspect.NewOfTarget(spec)}
}

// add takes one cleaned row in.
func (s *sample) add(fields [][]byte) {
	label, known := s.spec.Label(fields)
	if !known || s.spec.Excluded(fields) {
		return
	}
	s.ofTarget.Add(fields, label)
	number := s.seen
	s.seen++
	if mix(number)%s.every != 0 {
		return
	}
	r := sampled{number: number, label: label, ends: make([]int32, 0, len(fields))}
	size := 0
	for _, v := range fields {
		size += len(v)
	}
	r.text = make([]byte, 0, size)
	for _, v := range fields {
		r.text = append(r.text, v...)
		end := int32(len(r.text))
		if v == nil {
			end = ^end
		}
		r.ends = append(r.ends, end)
	}
	s.rows = append(s.rows, r)
	for s.bytes += s.size(&r); len(s.rows) > maxSample || s.bytes > maxBytes; s.halve() {
	}
}

// size is what a row takes, with its vector.
func (s *sample) size(r *sampled) int {
	return 64 + len(r.text) + 4*len(r.ends) + 4*len(s.spec.Features)
}

// halve keeps every other row.
func (s *sample) halve() {
	s.every *= 2
	kept := s.rows[:0]
	s.bytes = 0
	for _, r := range s.rows {
		if mix(r.number)%s.every == 0 {
			kept = append(kept, r)
			s.bytes += s.size(&r)
		}
	}
	clear(s.rows[len(kept):])
	s.rows = kept
}

// mix is SplitMix64's output function: the bits of row numbers in disorder, so that
// what is kept follows no order of the table.
func mix(x uint64) uint64 { return inspect.Scatter(x + 0x9e3779b97f4a7c15) }

// fromTarget are the columns that were computed from the target, of all rows of the table.
func (s *sample) fromTarget() []inspect.Computed {
	if !s.asked {
		s.computed, s.asked = s.ofTarget.Found(), true
	}
	return s.computed
}

// labels are what Spec.Label says of each row.
func (s *sample) labels() []float32 {
	y := make([]float32, len(s.rows))
	for i := range s.rows {
		y[i] = s.rows[i].label
	}
	return y
}

// judged is what inspecting a sample found.
type judged struct {
	leaks    []inspect.Finding
	features []inspect.Feature // of the leaks
	together *inspect.Finding  // nil if there are leaks
	halves   *inspect.Finding  // nil if the target is the same way round in both
}

// encoded are the rows of some samples, one after the other, as training encodes them.
func encoded(samples ...*sample) (x, y []float32, folds []uint8, features []inspect.Feature, err error) {
	spec := samples[0].spec
	fitter, group := feature.NewFitter(spec), spec.Column(spec.Group)
	var fields [][]byte
	n := 0
	for _, s := range samples {
		n += len(s.rows)
		for i := range s.rows {
			fields = s.rows[i].fields(fields)
			if err := fitter.Add(fields); err != nil {
				return nil, nil, nil, nil, fmt.Errorf("encoding a sample of the rows: %w", err)
			}
		}
	}
	encoder, err := fitter.Encoder()
	if err != nil {
		return nil, nil, nil, nil, fmt.Errorf("encoding a sample of the rows: %w", err)
	}
	width := encoder.Width()
	x, y, folds = make([]float32, width*n), make([]float32, n), make([]uint8, n)
	i := 0
	for _, s := range samples {
		for at := range s.rows {
			fields = s.rows[at].fields(fields)
			encoder.Encode(x[i*width:(i+1)*width], fields)
			y[i], folds[i] = s.rows[at].label, inspect.FoldOf(fields, group, at)
			i++
		}
	}
	return x, y, folds, inspect.FeaturesOf(spec, encoder), nil
}

// inspect looks at each feature as training will.
func (s *sample) inspect() (j judged, err error) {
	x, y, folds, features, err := encoded(s)
	if err != nil {
		return j, err
	}
	n, width := len(y), len(features)
	if n == 0 || slices.Min(y) == slices.Max(y) {
		return j, nil // training says so
	}
	found := make([]*inspect.Finding, len(features))
	wrong := make([]error, len(features))
	var wait sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		wait.Go(func() {
			values := make([]float32, n)
			for i := w; i < len(features); i += workers {
				for row := range values {
					values[row] = x[row*width+i]
				}
				found[i], wrong[i] = inspect.Leak(s.spec, features[i], values, y, folds)
			}
		})
	}
	wait.Wait()
	for i, f := range features {
		if wrong[i] != nil {
			return j, wrong[i]
		}
		if found[i] != nil {
			j.leaks, j.features = append(j.leaks, *found[i]), append(j.features, f)
		}
	}
	if len(j.leaks) == 0 {
		j.together = inspect.Joint(s.spec, features, x, y, folds)
	}
	j.halves = inspect.Halves(s.spec, features, x, y)
	return j, nil
}
