package train

import (
	"bytes"
	"cmp"
	"hash/fnv"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"mlops/internal/dataset"
	"mlops/internal/feature"
	"mlops/internal/model"
)

// sample is a raw record that is stored with a version, and its vector.
type sample struct {
	record  map[string]string
	earlier []map[string]string // earlier records, the newest last
	vector  []float32
}

const (
	// wantSamples is how many records are stored with a version.
	wantSamples = 32
	// rareLevel is how many training rows a category's value must be in to be in a
	// made-up record: a rarer one could point to a person.
	rareLevel = 20
	// maxLevels bounds the values that are counted per category. A column with more,
	// such as a name or an address, stays empty.
	maxLevels = 10_000
	// reservoir is how many numbers per column are kept to draw from.
	reservoir = 4096
	// wantEarlier is how many earlier records a sample has at most.
	wantEarlier = 3
	// redraws bounds the tries to make up a record that the cohort doesn't leave out.
	redraws = 100
	// tail is the share of a column's numbers on either side that made-up records leave out.
	tail = 0.05
)

// maker makes records up, of the same shape as the training rows: each column is drawn
// by itself, so that no record is anybody's.
type maker struct {
	spec    *dataset.Spec
	rng     *rand.Rand
	rows    int
	columns []distribution
}

// distribution is what is known of one column.
type distribution struct {
	present int            // rows with a value
	levels  map[string]int // of a category; nil if there are too many
	numbers []float64      // of a number or a date (days), a random choice of at most reservoir
	scale   int            // decimals that the numbers have at most
}

// newMaker returns a maker that gives the same records for the same spec and rows.
func newMaker(spec *dataset.Spec) *maker {
	h := fnv.New64a()
	h.Write(spec.Text())
	m := &maker{spec: spec, rng: rand.New(rand.NewPCG(h.Sum64(), 1)), columns: make([]distribution, len(spec.Columns))}
	for c := range m.columns {
		m.columns[c].levels = map[string]int{}
	}
	return m
}

// add counts a training row in.
func (m *maker) add(fields [][]byte) {
	m.rows++
	for c, v := range fields {
		if v == nil || m.spec.Ignored(c) {
			continue
		}
		d := &m.columns[c]
		d.present++
		if kind := m.spec.Columns[c].Type; kind == dataset.Category || kind == dataset.Boolean {
			if d.levels != nil {
				d.levels[string(v)]++
			}
			if len(d.levels) > maxLevels {
				d.levels = nil
			}
			continue
		}
		x, ok := dataset.ParseNumber(v)
		if m.spec.Columns[c].Type == dataset.Date {
			x, ok = daysOf(v)
		}
		if !ok {
			continue
		}
		if dot := slices.Index(v, '.'); dot >= 0 {
			d.scale = max(d.scale, min(len(v)-dot-1, 6))
		}
		if len(d.numbers) < reservoir {
			d.numbers = append(d.numbers, x)
		} else if at := m.rng.IntN(d.present); at < reservoir {
			d.numbers[at] = x
		}
	}
}

// make makes n records up.
func (m *maker) make(n int, encoder *feature.Encoder) []sample {
	draws := make([]func() (string, bool), len(m.columns))
	for c := range m.columns {
		draws[c] = m.columns[c].draw(m.rng, m.rows, m.spec.Columns[c].Type)
	}
	row := func() [][]byte {
		fields := make([][]byte, len(m.columns))
		for range redraws {
			for c, draw := range draws {
				fields[c] = nil
				if value, ok := draw(); ok && !m.spec.Ignored(c) {
					fields[c] = []byte(value)
				}
				if fields[c] == nil && m.spec.Columns[c].Required {
					fields[c] = standIn(m.spec, c)
				}
			}
			if !m.spec.Excluded(fields) { // as a number between two that are not left out may be
				break
			}
		}
		return fields
	}
	samples := make([]sample, n)
	for i := range samples {
		fields := row()
		var earlier [][][]byte
		if m.spec.LooksBack() {
			fields, earlier = m.before(fields, i%(wantEarlier+1), row)
		}
		samples[i] = newSample(m.spec, encoder, fields, earlier)
	}
	return samples
}

// before makes at most n earlier rows up for a row. The latest by the order column, if
// rows are made up with it, becomes the row itself.
func (m *maker) before(fields [][]byte, n int, row func() [][]byte) (latest [][]byte, earlier [][][]byte) {
	order := m.spec.Column(m.spec.Order)
	all := [][][]byte{fields}
	for range n {
		all = append(all, row())
	}
	slices.SortStableFunc(all, func(a, b [][]byte) int { return cmp.Compare(m.spec.Place(a[order]), m.spec.Place(b[order])) })
	latest, earlier = all[n], all[:n]
	if place := m.spec.Place(latest[order]); place != dataset.LastPlace {
		earlier = slices.DeleteFunc(earlier, func(r [][]byte) bool { return m.spec.Place(r[order]) >= place })
	}
	return latest, earlier
}

// newSample makes a sample of a record and earlier ones.
func newSample(spec *dataset.Spec, encoder *feature.Encoder, fields [][]byte, earlier [][][]byte) sample {
	s := sample{record: model.Record(spec, fields), vector: make([]float32, encoder.Width())}
	for _, r := range earlier {
		s.earlier = append(s.earlier, model.Record(spec, r))
	}
	encoder.EncodeAfter(s.vector, fields, earlier)
	return s
}

// recent is the last rows of the group that is being read.
type recent struct {
	spec *dataset.Spec
	rows [][][]byte
}

// add takes the next row, and returns those of its group that a sample of it has as
// earlier ones.
func (t *recent) add(fields [][]byte) (earlier [][][]byte) {
	group, order := t.spec.Column(t.spec.Group), t.spec.Column(t.spec.Order)
	if n := len(t.rows); n > 0 && (fields[group] == nil || string(fields[group]) != string(t.rows[n-1][group])) {
		t.rows = t.rows[:0]
	}
	place := t.spec.Place(fields[order])
	for _, r := range t.rows {
		if t.spec.Place(r[order]) < place {
			earlier = append(earlier, r)
		}
	}
	if len(t.rows) > wantEarlier {
		t.rows = append(t.rows[:0], t.rows[1:]...)
	}
	row := make([][]byte, len(fields))
	for c := range fields {
		row[c] = bytes.Clone(fields[c])
	}
	t.rows = append(t.rows, row)
	return earlier
}

const secondsPerDay = 24 * 60 * 60

// daysOf is a date as days since 1970, without its time of day.
func daysOf(date []byte) (float64, bool) {
	t, ok := dataset.ParseDate(date)
	return math.Floor(float64(t.Unix()) / secondsPerDay), ok
}

// standIn is a value for a required column whose own values could point to a person.
func standIn(spec *dataset.Spec, column int) []byte {
	c := &spec.Columns[column]
	candidates := slices.Concat(c.Values, slices.Sorted(maps.Keys(c.Codes)), []string{"made up", "another"})
	switch c.Type {
	case dataset.Boolean:
		candidates = []string{"false", "true"}
	case dataset.Date:
		candidates = []string{"2000-01-01", c.Earliest, c.Latest}
	case dataset.Integer, dataset.Number:
		candidates = []string{"0", "1"}
		for _, bound := range []*float64{c.Min, c.Max} {
			if bound != nil {
				candidates = append(candidates, strconv.FormatFloat(*bound, 'f', -1, 64))
			}
		}
	}
	for _, text := range candidates {
		if v, err := spec.Value(column, []byte(text)); err == nil && v != nil && c.Excludes(v) < 0 {
			return v
		}
	}
	return nil
}

// draw returns what draws one value after another, or none where the value is missing.
func (d *distribution) draw(rng *rand.Rand, rows int, kind dataset.Type) func() (string, bool) {
	none := func() (string, bool) { return "", false }
	if d.present == 0 {
		return none
	}
	missing := 1 - float64(d.present)/float64(rows)
	if kind == dataset.Category || kind == dataset.Boolean {
		names, total := []string{}, 0
		for name, n := range d.levels {
			if n >= rareLevel {
				names = append(names, name)
				total += n
			}
		}
		if total == 0 {
			return none
		}
		slices.Sort(names)
		return func() (string, bool) {
			if rng.Float64() < missing {
				return "", false
			}
			at := rng.IntN(total)
			for _, name := range names {
				if at -= d.levels[name]; at < 0 {
					return name, true
				}
			}
			return "", false
		}
	}
	if d.present < rareLevel || len(d.numbers) == 0 {
		return none
	}
	slices.Sort(d.numbers)
	// Between two kept numbers a value is drawn in a straight line, so that it is in
	// the usual range and is nobody's.
	quantile := func(p float64) float64 {
		at := p * float64(len(d.numbers)-1)
		low := int(at)
		high := min(low+1, len(d.numbers)-1)
		return d.numbers[low] + (at-float64(low))*(d.numbers[high]-d.numbers[low])
	}
	unit := math.Pow10(d.scale)
	return func() (string, bool) {
		if rng.Float64() < missing {
			return "", false
		}
		x := quantile(tail + (1-2*tail)*rng.Float64())
		if kind == dataset.Date {
			return string(dataset.AppendDate(nil, time.Unix(int64(x)*secondsPerDay, 0).UTC())), true
		}
		x = math.Round(x*unit) / unit
		return strconv.FormatFloat(x, 'f', -1, 64), true
	}
}
