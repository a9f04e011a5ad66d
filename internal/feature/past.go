package feature

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"mlops/internal/dataset"
)

// Features of earlier rows look at values that a row has beside its features: a
// number, a level's code, a date's day. A working vector is as long as Room says and
// has these values behind the features. Past adds them up row by row, the same way in
// training, where a Stream goes over all rows, and in serving.

// pastFeature is a feature of earlier rows.
type pastFeature struct {
	feature int
	kind    string // one of dataset.EarlierKinds
	slot    int    // the value that it looks at
}

// Past is what the earlier rows of a group add up to. It serves one goroutine.
type Past struct {
	rows  int
	slots []summary
}

// summary is what one value of the earlier rows adds up to.
type summary struct {
	values  int // rows that have it
	sum     float64
	largest float32
	last    float32 // the last row's, NaN if that has none
}

// NewPast returns a Past of no rows.
func (e *Encoder) NewPast() *Past {
	p := &Past{slots: make([]summary, len(e.blank)-e.Width())}
	p.Reset()
	return p
}

// Reset forgets all rows.
func (p *Past) Reset() {
	p.rows = 0
	for i := range p.slots {
		p.slots[i] = summary{last: float32(math.NaN())}
	}
}

// Rows is how many there are.
func (p *Past) Rows() int { return p.rows }

// Add adds the next row: its values are those behind the features in its working
// vector.
func (p *Past) Add(values []float32) {
	p.rows++
	for i, v := range values {
		s := &p.slots[i]
		s.last = v
		if v != v {
			continue
		}
		if s.values == 0 || v > s.largest {
			s.largest = v
		}
		s.values++
		s.sum += float64(v)
	}
}

// copy makes p what from is.
func (p *Past) copy(from *Past) {
	p.rows = from.rows
	copy(p.slots, from.slots)
}

// LooksBack reports whether a feature looks at earlier rows.
func (e *Encoder) LooksBack() bool { return len(e.pasts) > 0 }

// Room is the length of a working vector.
func (e *Encoder) Room() int { return len(e.blank) }

// Complete sets the features of earlier rows in the working vector of a record.
func (e *Encoder) Complete(work []float32, p *Past) {
	for i := range e.pasts {
		f := &e.pasts[i]
		if f.kind == dataset.EarlierCount {
			work[f.feature] = float32(p.rows)
			continue
		}
		s, own := &p.slots[f.slot], work[e.Width()+f.slot]
		x := float32(math.NaN())
		switch f.kind {
		case dataset.EarlierSum:
			if s.values > 0 {
				x = float32(s.sum)
			}
		case dataset.EarlierMean:
			if s.values > 0 {
				x = float32(s.sum / float64(s.values))
			}
		case dataset.EarlierLargest:
			if s.values > 0 {
				x = s.largest
			}
		case dataset.EarlierLast:
			x = s.last
		case dataset.EarlierChange, dataset.EarlierDaysSince:
			x = float32(float64(own) - float64(s.last))
		case dataset.EarlierSame:
			if own == s.last {
				x = 1
			} else if own == own && s.last == s.last {
				x = 0
			}
		}
		if x != x {
			x = float32(math.NaN()) // not one that holds a day
		}
		work[f.feature] = x
	}
}

// addPast adds a feature of earlier rows, with the value that it looks at unless
// another feature looks at it too. slots has the places of these values.
func (e *Encoder) addPast(i int, f *dataset.Feature, fitted *Feature, slots map[string]int) error {
	e.blank[i] = float32(math.NaN())
	if f.Earlier == dataset.EarlierCount {
		e.pasts = append(e.pasts, pastFeature{feature: i, kind: f.Earlier})
		return nil
	}
	value := *f
	value.Name, value.Earlier = "", ""
	if f.Earlier == dataset.EarlierDaysSince || f.Earlier == dataset.EarlierSame && f.Category != "" {
		value.Earlier = f.Earlier
	}
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("feature %q: %w", f.Name, err)
	}
	slot, there := slots[string(text)]
	if !there {
		slot = len(slots)
		slots[string(text)] = slot
		for j, name := range f.Columns() {
			c := e.spec.Column(name)
			o, blank := planPast(e.spec, c, f, fitted)
			o.feature = e.Width() + slot
			e.columns[c] = append(e.columns[c], o)
			if j == 0 {
				e.blank = append(e.blank, blank)
			}
		}
	}
	e.pasts = append(e.pasts, pastFeature{feature: i, kind: f.Earlier, slot: slot})
	return nil
}

// planPast is plan for a value that features of earlier rows look at.
func planPast(spec *dataset.Spec, column int, f *dataset.Feature, fitted *Feature) (op, float32) {
	nan := float32(math.NaN())
	switch {
	case f.Earlier == dataset.EarlierDaysSince:
		return op{kind: dayed}, nan
	case f.Earlier == dataset.EarlierSame && f.Category != "":
		return op{kind: hashed}, nan
	}
	levels := *fitted
	if f.Ranges != "" {
		levels.Levels = rangeNames(f.Table)
	}
	o, blank := plan(spec, column, f, &levels, nil)
	o.folds = fitted.Rare > 0
	return o, blank
}

// own reports whether a feature looks at a column of the record itself.
func own(spec *dataset.Spec, column string) bool {
	return slices.ContainsFunc(spec.Features, func(f dataset.Feature) bool {
		return f.LooksAtRow() && slices.Contains(f.Columns(), column)
	})
}

// sameness is a number that two texts share if they are the same. That two others
// share it happens once in 2^31.
func sameness(text []byte) float32 {
	h := hash(text)
	return math.Float32frombits(uint32(h^h>>32) &^ (1 << 23)) // finite: an exponent without its last bit
}

// turn follows rows that are sorted by group and order.
type turn struct {
	group   []byte
	grouped bool // the last row has a group
	place   int64
}

// next takes the next row. It says whether the row is the first of its group, and
// if not, whether it comes after the last one or has the same place.
func (t *turn) next(group []byte, place int64) (first, after bool, err error) {
	if group == nil || !t.grouped || string(group) != string(t.group) {
		t.group, t.grouped, t.place = append(t.group[:0], group...), group != nil, place
		return true, false, nil
	}
	if place < t.place {
		return false, false, fmt.Errorf("rows of group %q are not in order", group)
	}
	after, t.place = place > t.place, place
	return false, after, nil
}

// Stream encodes all rows of a data set, sorted by group and order, each with the
// rows before it in its group. Of rows with the same place, none is before another.
type Stream struct {
	e             *Encoder
	group, order  int
	work          []float32
	turn          turn
	before, until *Past // the rows before the current place, and those until now

	// Visit, if set, gets each row that has a group: its place and the values that
	// later rows look at, good until it returns.
	Visit func(group []byte, place int64, values []float32) error
}

// Stream returns a new stream.
func (e *Encoder) Stream() *Stream {
	s := &Stream{e: e}
	if e.LooksBack() {
		s.group, s.order = e.spec.Column(e.spec.Group), e.spec.Column(e.spec.Order)
		s.work, s.before, s.until = make([]float32, e.Room()), e.NewPast(), e.NewPast()
	}
	return s
}

// Encode makes vector, if it is not nil, that of the next row. Rows for which nobody
// wants a vector have to be passed too, since later ones look at them.
func (s *Stream) Encode(vector []float32, fields [][]byte) error {
	if !s.e.LooksBack() {
		if vector != nil {
			s.e.Encode(vector, fields)
		}
		return nil
	}
	group, place := fields[s.group], s.e.spec.Place(fields[s.order])
	first, after, err := s.turn.next(group, place)
	if err != nil {
		return err
	}
	switch {
	case first:
		s.before.Reset()
		s.until.Reset()
	case after:
		s.before.copy(s.until)
	}
	s.e.encode(s.work, fields)
	if vector != nil {
		s.e.Complete(s.work, s.before)
		copy(vector, s.work[:s.e.Width()])
	}
	values := s.work[s.e.Width():]
	s.until.Add(values)
	if s.Visit != nil && group != nil {
		return s.Visit(group, place, values)
	}
	return nil
}
