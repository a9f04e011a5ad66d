package feature

import (
	"sort"

	"mlops/internal/dataset"
)

// Fitter learns from the training rows which levels each categorical feature
// has, and what each column has. Its memory grows with the levels, not with the
// rows.
type Fitter struct {
	spec    *dataset.Spec
	rows    int
	columns []*tally // by column; nil where no feature uses it
	given   []int    // rows by how many of these columns have a value
}

// NewFitter returns a fitter for a spec.
func NewFitter(spec *dataset.Spec) *Fitter {
	f := &Fitter{spec: spec, columns: make([]*tally, len(spec.Columns)), given: make([]int, len(spec.Columns)+1)}
	for i := range spec.Features {
		for _, name := range spec.Features[i].Columns() {
			c := spec.Column(name)
			if f.columns[c] == nil && !spec.Ignored(c) {
				f.columns[c] = newTally(spec, c)
			}
		}
	}
	return f
}

// Add counts one training row; fields as in Encoder.Encode.
func (f *Fitter) Add(fields [][]byte) {
	f.rows++
	given := 0
	for c, t := range f.columns {
		if t == nil {
			continue
		}
		t.add(fields[c])
		if fields[c] != nil {
			given++
		}
	}
	f.given[given]++
}

// Encoder returns the encoder for what was added. Levels are in the order of
// their text, so that the same rows in any order give the same codes.
func (f *Fitter) Encoder() (*Encoder, error) {
	fitted := make([]Feature, len(f.spec.Features))
	for i := range f.spec.Features {
		s := &f.spec.Features[i]
		fitted[i] = Feature{Name: s.Name, Categorical: s.Category != "" || s.Ranges != ""}
		switch {
		case s.Ranges != "":
			fitted[i].Levels = rangeNames(s.Table)
		case s.Category != "":
			for level, n := range f.columns[f.spec.Column(s.Category)].levels {
				if n >= s.FoldBelow {
					fitted[i].Levels = append(fitted[i].Levels, level)
				}
			}
			sort.Strings(fitted[i].Levels)
			fitted[i].Folded = s.FoldBelow > 0
		}
	}
	return New(f.spec, fitted, f.seen())
}

// seen is what was added, nil if that was nothing.
func (f *Fitter) seen() *Seen {
	if f.rows == 0 {
		return nil
	}
	s := &Seen{Rows: f.rows, Fewest: fewestOf(f.given, f.rows)}
	for c, t := range f.columns {
		if t != nil {
			fold := 0
			for i := range f.spec.Features {
				if f.spec.Features[i].Category == f.spec.Columns[c].Name {
					fold = max(fold, f.spec.Features[i].FoldBelow)
				}
			}
			s.Columns = append(s.Columns, t.seen(f.spec.Columns[c].Name, f.rows, fold))
		}
	}
	return s
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
