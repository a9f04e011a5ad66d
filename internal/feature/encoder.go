// Package feature turns a record into the vector that a model sees. The same
// encoder serves training and prediction: training fits it on its rows and
// stores it with the model version, the server reads it there.
//
// A vector has one float32 a feature, in the spec's order: a number, a
// category's code (the index of its level), or a count. NaN stands for missing.
package feature

import (
	"fmt"
	"math"
	"slices"

	"mlops/internal/dataset"
)

// Feature is what a model version stores of one feature: what the spec says of
// it, and the levels that the training rows had.
type Feature struct {
	Name        string   `json:"name"`
	Categorical bool     `json:"categorical"`
	Levels      []string `json:"levels,omitempty"` // the level with code i is Levels[i]
	Folded      bool     `json:"folded,omitempty"` // the code len(Levels) stands for every other level
	Rare        int      `json:"rare,omitempty"`   // of earlier rows: levels that training folded
}

// Codes is how many codes a categorical feature has.
func (f *Feature) Codes() int {
	if f.Folded {
		return len(f.Levels) + 1
	}
	return len(f.Levels)
}

// Encoder encodes the records of one data set. It does not change once made,
// so many goroutines may use it.
type Encoder struct {
	Features []Feature
	Seen     *Seen // nil for a version from before training kept it

	spec    *dataset.Spec
	columns [][]op  // by column of the spec: what its value does to the vector
	usual   []usual // by column, the same for values that are known
	limits  []limit // by column: what training saw

	literals []literals // by column
	blank    []float32  // the working vector of a record without any value
	pasts    []pastFeature

	expected []int // the columns that were never missing in training
	scarce   int   // a record with fewer values has hardly any
}

// op is one effect of a column's value on the vector.
type op struct {
	feature int
	kind    kind
	codes   map[string]float32 // numbers or codes of the values
	folds   bool               // values that are not in codes have the code other
	other   float32
	ranges  []span
	inverse bool    // count: values that are not in codes count; days: the column is the later date
	typical float32 // count: what the column adds where it has no value
	part    string  // of a date
	rank    func(float64) float32
	day     int // days: the other date, where it is not a column; 0: it is one
}

type kind uint8

const (
	number kind = iota
	coded
	ranged
	counted
	dated
	days
	dayed  // the day of a date
	hashed // a number that stands for the text
	ranked // a number that stands for one; see NewRanked
)

type span struct {
	from, to float64
	prefix   string
	code     float32
}

// New returns the encoder for a spec, the fitted features that a model version
// stores, and what training saw, if the version has it. It is an error if they
// don't belong together.
func New(spec *dataset.Spec, features []Feature, seen *Seen) (*Encoder, error) {
	return newEncoder(spec, features, seen, nil)
}

// NewRanked is New for a model that compares float64 values, of which a vector has
// what rank makes of a feature's number.
func NewRanked(spec *dataset.Spec, features []Feature, rank func(feature int, x float64) float32) (*Encoder, error) {
	return newEncoder(spec, features, nil, rank)
}

func newEncoder(spec *dataset.Spec, features []Feature, seen *Seen, rank func(feature int, x float64) float32) (*Encoder, error) {
	if len(features) != len(spec.Features) {
		return nil, fmt.Errorf("encoder has %d features, the spec %d", len(features), len(spec.Features))
	}
	e := &Encoder{Features: features, Seen: seen, spec: spec, columns: make([][]op, len(spec.Columns)), blank: make([]float32, len(features))}
	slots := map[string]int{}
	for i := range spec.Features {
		f, fitted := &spec.Features[i], &features[i]
		if f.Name != fitted.Name {
			return nil, fmt.Errorf("feature %d is %q in the encoder, %q in the spec", i, fitted.Name, f.Name)
		}
		if f.Categorical() != fitted.Categorical {
			return nil, fmt.Errorf("feature %q: encoder and spec differ on whether it is a category", f.Name)
		}
		if f.Earlier != "" {
			if err := e.addPast(i, f, fitted, slots); err != nil {
				return nil, err
			}
			continue
		}
		for j, name := range f.Columns() {
			c := spec.Column(name)
			o, blank := plan(spec, c, f, fitted, seen.Of(name))
			o.feature = i
			if rank != nil {
				o.toRanks(func(x float64) float32 { return rank(i, x) })
			}
			e.columns[c] = append(e.columns[c], o)
			if j == 0 {
				e.blank[i] = blank
			}
		}
	}
	if err := e.limit(); err != nil {
		return nil, err
	}
	e.literals = make([]literals, len(spec.Columns))
	e.usual = make([]usual, len(spec.Columns))
	for c, ops := range e.columns {
		if !spec.Ignored(c) {
			e.usual[c] = e.newUsual(c)
		}
		e.literals[c] = newLiterals(spec, c, ops) // an ignored column may be in the cohort
	}
	return e, nil
}

// plan makes the op of a feature for one of its columns, of which training saw that
// (nil if it is not known), and says what the feature is in a record without values.
func plan(spec *dataset.Spec, column int, f *dataset.Feature, fitted *Feature, seen *SeenColumn) (op, float32) {
	nan := float32(math.NaN())
	switch {
	case f.Number != "" && spec.Columns[column].Type == dataset.Boolean && len(f.Values) == 0:
		return op{kind: coded, codes: map[string]float32{"false": 0, "true": 1}}, nan
	case f.Number != "" && len(f.Values) == 0:
		return op{kind: number}, nan
	case f.Date != "":
		return op{kind: dated, part: f.Part}, nan
	case f.DaysFrom != "":
		o := op{kind: days, inverse: spec.Columns[column].Name != f.DaysFrom}
		if to, fixed := f.ToDate(); fixed {
			o.day = dayOf(to)
		}
		return o, nan
	case f.Number != "":
		o := op{kind: coded, codes: make(map[string]float32, len(f.Values))}
		for v, x := range f.Values {
			if v, err := spec.Value(column, []byte(v)); err == nil && v != nil {
				o.codes[string(v)] = float32(x)
			}
		}
		return o, nan
	case f.Category != "":
		// Where training folded no level, no tree knows the folded one: then a level
		// never seen is missing.
		folded := fitted.Folded && (seen == nil || seen.Levels > len(fitted.Levels))
		return op{kind: coded, codes: codes(fitted.Levels), folds: folded, other: float32(len(fitted.Levels))}, nan
	case f.Ranges != "":
		o := op{kind: ranged}
		code := codes(fitted.Levels)
		for _, r := range f.Table {
			s := span{prefix: r.Prefix, code: code[r.Name]}
			if r.From != nil {
				s.from, s.to = *r.From, *r.To
			}
			o.ranges = append(o.ranges, s)
		}
		return o, nan
	default:
		// Each column has its own form of a value, and may not be able to hold it.
		o := op{kind: counted, codes: map[string]float32{}, inverse: len(f.NotOf) > 0}
		for _, v := range slices.Concat(f.Of, f.NotOf) {
			if v, err := spec.Value(column, []byte(v)); err == nil && v != nil {
				o.codes[string(v)] = 1
			}
		}
		return o, 0
	}
}

// toRanks makes an op of a number set its rank.
func (o *op) toRanks(rank func(float64) float32) {
	switch o.kind {
	case number:
		o.kind, o.rank = ranked, rank
	case coded:
		if _, boolean := o.codes["true"]; boolean && !o.folds && len(o.codes) == 2 {
			for v, x := range o.codes {
				o.codes[v] = rank(float64(x))
			}
		}
	}
}

func codes(levels []string) map[string]float32 {
	m := make(map[string]float32, len(levels))
	for i, l := range levels {
		m[l] = float32(i)
	}
	return m
}

// Spec returns the data set's spec.
func (e *Encoder) Spec() *dataset.Spec { return e.spec }

// Width is the length of a vector.
func (e *Encoder) Width() int { return len(e.Features) }

// Reset makes a working vector that of a record without any value.
func (e *Encoder) Reset(work []float32) { copy(work, e.blank) }

// Set adds the value of one column, cleaned by Spec.Value and not missing, to a
// working vector. A column may be set once a record. It reports how many of the
// column's features did not know the value, and whether the training rows had
// nothing like it. A feature that does not know a value takes its folded level; if it
// has none, a value that training never saw is as if it were missing, and one that it
// saw is NaN, as it was there.
func (e *Encoder) Set(vector []float32, column int, value []byte) (unknown int, odd Oddity) {
	ops, l := e.columns[column], &e.limits[column]
	v := l.value(value)
	odd = l.odd(v)
	if l.plain {
		vector[ops[0].feature] = float32(v.number)
		return 0, odd
	}
	for i := range ops {
		o := &ops[i]
		if o.kind == days {
			o.setDays(vector, value)
			continue
		}
		x, counts, known := o.of(v)
		switch {
		case counts:
			vector[o.feature] += x - o.typical
		case known:
			vector[o.feature] = x
		case o.folds:
			vector[o.feature] = o.other
			if !e.behind(o) {
				unknown++
			}
		case e.behind(o):
			vector[o.feature] = float32(math.NaN())
		default:
			if unknown++; odd != Unseen {
				vector[o.feature] = float32(math.NaN())
			}
		}
	}
	return unknown, odd
}

// behind reports whether an op sets a value behind the features.
func (e *Encoder) behind(o *op) bool { return o.feature >= len(e.Features) }

// of returns the number that a value gives the op's feature, or adds to it, and
// whether the value is known.
func (o *op) of(v value) (x float32, counts, known bool) {
	switch o.kind {
	case number:
		return float32(v.number), false, v.ok
	case ranked:
		return o.rank(v.number), false, v.ok
	case coded:
		x, ok := o.codes[string(v.text)]
		return x, false, ok
	case ranged:
		x, ok := o.lookup(v)
		return x, false, ok
	case dated:
		t, ok := dataset.ParseDate(v.text)
		return float32(dataset.Part(t, o.part)), false, ok
	case dayed:
		t, ok := dataset.ParseDate(v.text)
		return float32(dayOf(t)), false, ok
	case hashed:
		return sameness(v.text), false, true
	default:
		if _, in := o.codes[string(v.text)]; in != o.inverse {
			x = 1
		}
		return x, true, true
	}
}

func (o *op) lookup(v value) (float32, bool) {
	for i := range o.ranges {
		r := &o.ranges[i]
		if r.prefix != "" {
			if len(v.text) >= len(r.prefix) && string(v.text[:len(r.prefix)]) == r.prefix {
				return r.code, true
			}
		} else if v.ok && v.number >= r.from && v.number < r.to {
			return r.code, true
		}
	}
	return 0, false
}

// Encode makes vector that of a whole record without earlier ones: fields holds one
// cleaned value a column of the spec, nil where it is missing.
func (e *Encoder) Encode(vector []float32, fields [][]byte) {
	if !e.LooksBack() {
		e.encode(vector, fields)
		return
	}
	e.EncodeAfter(vector, fields, nil)
}

// EncodeAfter is Encode for a record with earlier ones, the newest last.
func (e *Encoder) EncodeAfter(vector []float32, fields [][]byte, earlier [][][]byte) {
	work, p := make([]float32, e.Room()), e.NewPast()
	for _, row := range earlier {
		e.encode(work, row)
		p.Add(work[e.Width():])
	}
	e.encode(work, fields)
	e.Complete(work, p)
	copy(vector, work[:e.Width()])
}

// encode makes a working vector, without the features of earlier rows.
func (e *Encoder) encode(work []float32, fields [][]byte) {
	e.Reset(work)
	for c, v := range fields {
		if v != nil {
			e.Set(work, c, v)
		}
	}
}
