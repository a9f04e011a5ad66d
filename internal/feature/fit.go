package feature

import (
	"sort"

	"mlops/internal/dataset"
)

// Fitter learns from the training rows which levels each categorical feature
// has. Its memory grows with the levels, not with the rows.
type Fitter struct {
	spec   *dataset.Spec
	counts []map[string]int // by feature; nil where nothing is to be learnt
}

// NewFitter returns a fitter for a spec.
func NewFitter(spec *dataset.Spec) *Fitter {
	f := &Fitter{spec: spec, counts: make([]map[string]int, len(spec.Features))}
	for i := range spec.Features {
		if spec.Features[i].Category != "" {
			f.counts[i] = map[string]int{}
		}
	}
	return f
}

// Add counts the levels of one training row; fields as in Encoder.Encode.
func (f *Fitter) Add(fields [][]byte) {
	for i, count := range f.counts {
		if count == nil {
			continue
		}
		if v := fields[f.spec.Column(f.spec.Features[i].Category)]; v != nil {
			count[string(v)]++
		}
	}
}

// Encoder returns the encoder for what was added. Levels are in the order of
// their text, so that the same rows in any order give the same codes.
func (f *Fitter) Encoder() (*Encoder, error) {
	fitted := make([]Feature, len(f.spec.Features))
	for i := range f.spec.Features {
		s := &f.spec.Features[i]
		fitted[i] = Feature{Name: s.Name, Categorical: s.Category != "" || s.Ranges != ""}
		if s.Ranges != "" {
			fitted[i].Levels = rangeNames(s.Table)
			continue
		}
		for level, n := range f.counts[i] {
			if n >= s.FoldBelow {
				fitted[i].Levels = append(fitted[i].Levels, level)
			}
		}
		sort.Strings(fitted[i].Levels)
		fitted[i].Folded = s.FoldBelow > 0
	}
	return New(f.spec, fitted)
}

// rangeNames lists the names of a look-up table, each once, in its order.
func rangeNames(table []dataset.Range) []string {
	var names []string
	seen := map[string]bool{}
	for _, r := range table {
		if !seen[r.Name] {
			seen[r.Name] = true
			names = append(names, r.Name)
		}
	}
	return names
}
