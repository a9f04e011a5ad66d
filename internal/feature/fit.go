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
	last    *lastLevels
}

// NewFitter returns a fitter for a spec.
func NewFitter(spec *dataset.Spec) *Fitter {
	f := &Fitter{spec: spec, columns: make([]*tally, len(spec.Columns)), given: make([]int, len(spec.Columns)+1), last: newLastLevels(spec)}
	for i := range spec.Features {
		if !spec.Features[i].LooksAtRow() {
			continue
		}
		for _, name := range spec.Features[i].Columns() {
			c := spec.Column(name)
			if f.columns[c] == nil && !spec.Ignored(c) {
				f.columns[c] = newTally(spec, c)
			}
		}
	}
	return f
}

// Add counts one training row; fields as in Encoder.Encode. Where features look at
// earlier rows, rows come sorted by group and order, and each that is not counted is
// passed to Pass. It is an error if they are not sorted.
func (f *Fitter) Add(fields [][]byte) error {
	if err := f.last.add(fields, true); err != nil {
		return err
	}
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
	return nil
}

// Pass takes a row that is not counted but is before others in its group.
func (f *Fitter) Pass(fields [][]byte) error { return f.last.add(fields, false) }

// Encoder returns the encoder for what was added. Levels are in the order of
// their text, so that the same rows in any order give the same codes.
func (f *Fitter) Encoder() (*Encoder, error) {
	fitted := make([]Feature, len(f.spec.Features))
	for i := range f.spec.Features {
		s := &f.spec.Features[i]
		fitted[i] = Feature{Name: s.Name, Categorical: s.Categorical()}
		if !fitted[i].Categorical {
			continue
		}
		switch {
		case s.Ranges != "":
			fitted[i].Levels = rangeNames(s.Table)
		case s.Category != "":
			var levels map[string]int
			if s.Earlier == "" {
				levels = f.columns[f.spec.Column(s.Category)].levels
			} else {
				levels = f.last.levels[i]
			}
			for level, n := range levels {
				if n >= s.FoldBelow {
					fitted[i].Levels = append(fitted[i].Levels, level)
				} else if s.Earlier != "" {
					fitted[i].Rare++
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
				if f.spec.Features[i].Earlier == "" && f.spec.Features[i].Category == f.spec.Columns[c].Name {
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

// lastLevels counts, for features that take the last row's level, which levels the
// rows before training rows have.
type lastLevels struct {
	spec         *dataset.Spec
	group, order int
	features     []int            // of the spec
	levels       []map[string]int // training rows by level, by feature
	turn         turn
	before       [][]byte // values by feature of the last row before the current place, nil where it has none
	until        [][]byte // of the last row until now
}

func newLastLevels(spec *dataset.Spec) *lastLevels {
	l := &lastLevels{spec: spec, levels: make([]map[string]int, len(spec.Features))}
	for i := range spec.Features {
		if f := &spec.Features[i]; f.Earlier == dataset.EarlierLast && f.Category != "" {
			l.features = append(l.features, i)
			l.levels[i] = map[string]int{}
		}
	}
	l.before, l.until = make([][]byte, len(l.features)), make([][]byte, len(l.features))
	l.group, l.order = spec.Column(spec.Group), spec.Column(spec.Order)
	return l
}

func (l *lastLevels) add(fields [][]byte, count bool) error {
	if len(l.features) == 0 {
		return nil
	}
	first, after, err := l.turn.next(fields[l.group], l.spec.Place(fields[l.order]))
	if err != nil {
		return err
	}
	switch {
	case first:
		clear(l.before)
		clear(l.until)
	case after:
		l.before, l.until = l.until, l.before
	}
	for j, i := range l.features {
		if count && l.before[j] != nil {
			l.levels[i][string(l.before[j])]++
		}
		l.until[j] = nil
		if v := fields[l.spec.Column(l.spec.Features[i].Category)]; v != nil {
			l.until[j] = append([]byte{}, v...)
		}
	}
	return nil
}
