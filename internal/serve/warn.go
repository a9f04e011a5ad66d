package serve

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"mlops/internal/api"
	"mlops/internal/dataset"
	"mlops/internal/feature"
	"mlops/internal/metrics"
)

// warning notes in what a record of a request is unlike the training rows. The text
// of it is made when the response is written.
type warning struct {
	record     uint32
	column     uint16 // of the spec; wholeRecord if it is about no column
	odd        feature.Oddity
	start, end uint32 // of the value in the body; for a whole record, end is how many values it has
}

const (
	warningSize = 16 // bytes of a warning
	wholeRecord = 1<<16 - 1
)

// warn notes that the value that begins at start, and has just been read, is unlike
// those of the training rows. That one is missing is known only at the record's end.
func (d *decoder) warn(column int, odd feature.Oddity, start int) error {
	if d.back.within {
		return nil
	}
	if odd == feature.Missing {
		d.absent = append(d.absent, column)
		return nil
	}
	return d.note(warning{column: uint16(column), odd: odd, start: uint32(start), end: uint32(d.pos)})
}

// warnRecord notes at a record's end which values are missing though they never were in
// training, or, where hardly any is there, only that.
func (d *decoder) warnRecord() error {
	if d.encoder.Ordinary(d.seen, d.absent) {
		return nil
	}
	if values, scarce := d.encoder.Scarce(d.seen, d.absent); scarce {
		return d.note(warning{column: wholeRecord, odd: feature.Scarce, end: uint32(values)})
	}
	for c, given := range d.seen {
		if d.encoder.Expects(c) && (!given || slices.Contains(d.absent, c)) {
			if err := d.note(warning{column: uint16(c), odd: feature.Missing}); err != nil {
				return err
			}
		}
	}
	return nil
}

// note keeps a warning of the record being read until the response is written.
func (d *decoder) note(w warning) error {
	x := d.exchange
	if x == nil || len(d.errs) > 0 {
		return nil
	}
	if n := len(x.warnings); n == cap(x.warnings) {
		more := max(16, n)
		if err := x.hold(int64(more) * warningSize); err != nil {
			return err
		}
		x.warnings = append(make([]warning, 0, n+more), x.warnings...)
	}
	w.record = uint32(d.record)
	x.warnings = append(x.warnings, w)
	return nil
}

// wire is a warning as a response has it.
func (w *warning) wire(x *exchange, e *feature.Encoder) api.Warning {
	if w.odd == feature.NoEarlier {
		return noEarlier(w, e.Spec())
	}
	if w.column == wholeRecord {
		return api.Warning{Kind: api.HardlyGiven, Detail: fmt.Sprintf("only %d of the %d columns that the model uses have a value, and 99 of 100 training rows have at least %d; the others are scored with their usual values", w.end, len(e.Seen.Columns), e.Seen.Fewest)}
	}
	name := e.Spec().Columns[w.column].Name
	out := api.Warning{Column: name, Kind: kinds[w.odd]}
	seen := e.Seen.Of(name)
	shown := func() string { return shown(x.body[w.start:w.end], x.in) }
	switch {
	case w.odd == feature.Missing:
		out.Detail = "no value, though every training row has one; " + seen.StandIn(e.Spec())
	case seen.Missing == e.Seen.Rows:
		out.Detail = shown() + " is a value, and no training row has one"
	case w.odd == feature.Unseen:
		out.Detail = "no training row has " + shown()
	default:
		out.Detail = fmt.Sprintf("%s is outside the training range, %s to %s", shown(), dataset.AppendNumber(nil, *seen.Min), dataset.AppendNumber(nil, *seen.Max))
	}
	return out
}

// kinds are the oddities on the wire.
var kinds = [...]string{feature.Missing: api.NotGiven, feature.Unseen: api.UnseenLevel, feature.OutOfRange: api.OutOfRange, feature.Scarce: api.HardlyGiven, feature.NoEarlier: api.EarlierUnavailable}

// shown is a value of a body as a person reads it, kept short.
func shown(value []byte, in format) string {
	if in == csvFormat {
		return dataset.Quote(bytes.ReplaceAll(value, []byte(`""`), []byte(`"`)))
	}
	var text string
	if json.Unmarshal(value, &text) == nil {
		return dataset.Quote([]byte(text))
	}
	return clip(value)
}

// counted are the counters of warnings by column and oddity.
type counted map[[2]int]prometheus.Counter

// warningCounters makes a counter for each warning that a version can give, so that
// each is there from 0 on.
func warningCounters(m *metrics.Inference, e *feature.Encoder) counted {
	c := counted{}
	add := func(column int, name string, odd feature.Oddity) {
		c[[2]int{column, int(odd)}] = m.Warnings.WithLabelValues(name, kinds[odd])
	}
	if e.LooksBack() {
		add(wholeRecord, "", feature.NoEarlier)
	}
	if e.Seen == nil {
		return c
	}
	add(wholeRecord, "", feature.Scarce)
	for i := range e.Seen.Columns {
		name := e.Seen.Columns[i].Name
		column := e.Spec().Column(name)
		for _, odd := range e.Oddities(column) {
			add(column, name, odd)
		}
	}
	return c
}

// add counts the warnings of a request.
func (c counted) add(list []warning) {
	for i := range list {
		if counter, ok := c[[2]int{int(list[i].column), int(list[i].odd)}]; ok {
			counter.Inc()
		}
	}
}
