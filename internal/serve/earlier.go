package serve

import (
	"fmt"

	"mlops/internal/api"
	"mlops/internal/dataset"
	"mlops/internal/feature"
)

// What member returns for a member that is no column.
const (
	noColumn      = -1
	earlierMember = -2
)

// lookBack is what a decoder knows of a record's earlier ones.
type lookBack struct {
	of           *feature.Encoder
	on           bool // the model looks at earlier records
	group, order int  // columns

	work  []float32     // the working vector of the record
	row   []float32     // of an earlier one
	past  *feature.Past // what the earlier ones add up to
	seen  []bool        // columns of an earlier one
	key   []byte        // of the record's group
	keyed bool
	place int64 // of the record
	given bool  // the record brought its earlier ones

	collect func(group []byte) // takes the groups to look up, instead of looking them up

	within bool // an earlier record is being read
	index  int  // of it
	at     int64
	latest int64 // place of the latest earlier record that says it
	known  bool  // one says it
}

// prepare makes room for an encoder's records.
func (b *lookBack) prepare(e *feature.Encoder) {
	b.within = false
	if b.of == e {
		return
	}
	b.of, b.on = e, e.LooksBack()
	if !b.on {
		return
	}
	spec := e.Spec()
	b.group, b.order = spec.Column(spec.Group), spec.Column(spec.Order)
	b.work, b.row, b.past, b.seen = make([]float32, e.Room()), make([]float32, e.Room()), e.NewPast(), make([]bool, len(spec.Columns))
}

// begin begins a record.
func (b *lookBack) begin() {
	b.past.Reset()
	b.keyed, b.given, b.known, b.place = false, false, false, dataset.LastPlace
}

// where takes the group or the place of the record, or the place of an earlier one. A
// value that is wrong would find other rows, so it is an error.
func (d *decoder) where(c int, text []byte, literal bool) error {
	b, col := &d.back, &d.spec.Columns[c]
	if b.within && c == b.group {
		return nil // they are the record's, as the client says
	}
	if literal {
		var ok bool
		if text, ok = d.encoder.Literal(c, text); !ok {
			return d.wrong(col.Name, "is a boolean; it must be a number or a string")
		}
	}
	value, err := d.spec.Value(c, text)
	if err != nil {
		if !d.spec.Ignored(c) {
			return nil // value says it
		}
		return d.wrongValue(col, text, err)
	}
	if value == nil {
		return nil
	}
	switch {
	case c == b.group:
		b.key, b.keyed = append(b.key[:0], value...), true
	case b.within:
		b.at = d.spec.Place(value)
	default:
		b.place = d.spec.Place(value)
	}
	return nil
}

// earlierRecords reads those that a record brings, the newest last.
func (d *decoder) earlierRecords() error {
	b := &d.back
	if b.given {
		return d.skip(dataset.EarlierMember, "given twice")
	}
	switch d.peek() {
	case 'n':
		return d.literal("null")
	case '[':
	default:
		return d.skip(dataset.EarlierMember, "must be an array of earlier records, the newest last")
	}
	d.pos++
	b.given = true
	if d.peek() == ']' {
		d.pos++
		return nil
	}
	for b.index = 0; ; b.index++ {
		if d.peek() != '{' {
			return d.syntax("expected { for an earlier record in %s", dataset.EarlierMember)
		}
		if err := d.earlierRecord(); err != nil {
			return err
		}
		switch d.peek() {
		case ',':
			d.pos++
		case ']':
			d.pos++
			return nil
		default:
			return d.syntax("expected , or ] after an earlier record in %s", dataset.EarlierMember)
		}
	}
}

// earlierRecord reads one of them.
func (d *decoder) earlierRecord() error {
	b, unknown, absent := &d.back, d.unknown, len(d.absent)
	d.pos++ // {
	d.encoder.Reset(b.row)
	clear(b.seen)
	d.seen, b.seen = b.seen, d.seen
	b.within, b.at = true, dataset.LastPlace
	err := d.members(b.row)
	d.seen, b.seen = b.seen, d.seen
	d.unknown, d.absent = unknown, d.absent[:absent] // warnings are about the record itself
	if err == nil && b.at != dataset.LastPlace {
		if b.known && b.at < b.latest {
			err = d.wrong(d.spec.Order, "is before that of the record in front of it: the newest has to be last")
		}
		b.latest, b.known = b.at, true
	}
	b.within = false
	b.past.Add(b.row[d.encoder.Width():])
	return err
}

// checkPlaces refuses earlier records that are not before the record.
func (d *decoder) checkPlaces() error {
	if b := &d.back; b.given && b.known && b.latest >= b.place {
		return d.wrong(dataset.EarlierMember, fmt.Sprintf("has a record that is not before the record itself by %s", d.spec.Order))
	}
	return nil
}

// What a warning about earlier records that nobody knows says in its end.
const (
	noGroup    = iota // the record names no group
	noSnapshot        // the server has nothing to look up
	noResponse        // Postgres did not answer in time
)

// lookBack completes the record with what came before it: the records that it brought,
// or else what the server knows of its group.
func (d *decoder) lookBack() error {
	b := &d.back
	if b.collect != nil {
		if !b.given && b.keyed {
			b.collect(b.key)
		}
		return nil
	}
	var held *feature.Snapshot
	nothing := uint32(noSnapshot)
	if x := d.exchange; x != nil {
		held = x.earlier
		if x.unanswered {
			nothing = noResponse
		}
	}
	var err error
	switch {
	case b.given:
	case !b.keyed:
		err = d.note(warning{column: wholeRecord, odd: feature.NoEarlier, end: noGroup})
	case held == nil:
		err = d.note(warning{column: wholeRecord, odd: feature.NoEarlier, end: nothing})
	default:
		held.Before(b.past, b.row[d.encoder.Width():], b.key, b.place)
	}
	d.encoder.Complete(b.work, b.past)
	copy(d.vector, b.work[:d.encoder.Width()])
	return err
}

// noEarlier is a warning about earlier records that nobody knows as a response has it.
func noEarlier(w *warning, spec *dataset.Spec) api.Warning {
	out := api.Warning{Kind: api.EarlierUnavailable}
	switch w.end {
	case noGroup:
		out.Detail = fmt.Sprintf("without a %s nothing earlier can be looked up: scored as if nothing came before", spec.Group)
	case noResponse:
		out.Detail = fmt.Sprintf("Postgres, which the server asks for earlier records, did not answer in time: scored as the first of its %s; send them as %s, or try again", spec.Group, dataset.EarlierMember)
	default:
		out.Detail = fmt.Sprintf("the server has no earlier records to look up: scored as the first of its %s; send them as %s", spec.Group, dataset.EarlierMember)
	}
	return out
}

// earlierOf are a sample's earlier records on the wire.
func earlierOf(earlier []map[string]string) []api.Record {
	var list []api.Record
	for _, r := range earlier {
		list = append(list, r)
	}
	return list
}
