package bulk

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"slices"
	"strings"

	"mlops/internal/scoring"
)

// mostParts is how many parts of a run are in memory: one that is written, and others that
// are scored meanwhile.
const mostParts = 3

// flow is the parts of a run from where its input is, scored several at a time. They come
// out in order, so that a run that is stopped has a beginning in its target and no gaps.
type flow struct {
	parts  chan chan scored
	room   chan struct{} // a place per part in memory
	ended  chan struct{} // closed once the input is not read any more
	cancel context.CancelFunc
}

// scored is a part with its predictions; without rows, the end of the input.
type scored struct {
	position string     // behind it
	columns  []string   // of rows, the record's place first
	rows     [][]string // records with their predictions
	err      error
}

func (b *batch) flow(ctx context.Context, r *run) *flow {
	scoring, cancel := context.WithCancel(ctx)
	f := &flow{parts: make(chan chan scored, mostParts), room: make(chan struct{}, mostParts), ended: make(chan struct{}), cancel: cancel}
	source, model := r.source, r.model
	go func() {
		defer close(f.ended)
		for {
			select {
			case f.room <- struct{}{}:
			case <-scoring.Done():
				return
			}
			// A reader that is cut off within a part would lose its connection.
			part, err := b.in.next(ctx, b.Part)
			one := make(chan scored, 1)
			f.parts <- one
			if err != nil || len(part.records) == 0 {
				one <- scored{position: part.position, err: err}
				return
			}
			go func() {
				s := scored{position: part.position}
				s.columns, s.rows, s.err = b.predict(scoring, source, model, &part)
				one <- s
			}()
		}
	}()
	return f
}

// next waits for the next part. After an error, or the end, there is none.
func (f *flow) next(ctx context.Context) scored {
	select {
	case one := <-f.parts:
		return <-one // ends with the context, as the requests do
	case <-ctx.Done():
		return scored{err: context.Cause(ctx)}
	}
}

// written makes room for another part.
func (f *flow) written() { <-f.room }

// stop ends the flow. From then on the input may be used otherwise.
func (f *flow) stop() {
	f.cancel()
	<-f.ended
}

// recordColumn is the column that says which record of the source a row is.
const recordColumn = "_record"

// predict scores a part, and returns each record with its place and its prediction.
func (b *batch) predict(ctx context.Context, source, model string, part *part) (columns []string, rows [][]string, err error) {
	var text bytes.Buffer
	w := csv.NewWriter(&text)
	if err := w.Write(b.in.columns()); err != nil {
		return nil, nil, err
	}
	for _, record := range part.records {
		if len(record) == 1 && record[0] == "" {
			w.Flush()
			text.WriteString("\"\"\n") // an empty line would be no record
			continue
		}
		if err := w.Write(record); err != nil {
			return nil, nil, err
		}
	}
	w.Flush()
	part.records = nil // text has them
	t := scoring.Table{Name: source, Client: b.Client, Batch: b.Part / 2, Numbers: b.in.numbers(), Where: func(i int) string { return b.in.where(part.names[i]) }}
	var scored bytes.Buffer
	n, err := t.Score(ctx, &text, &scored)
	if err != nil {
		return nil, nil, err
	}
	if n != len(part.names) {
		return nil, nil, fmt.Errorf("%d records were sent and %d scored", len(part.names), n)
	}
	if len(t.Models) != 1 || t.Models[0] != model {
		return nil, nil, fmt.Errorf("%w: the run is of %s, records were scored by %s", errSwapped, model, strings.Join(t.Models, " and "))
	}
	in := csv.NewReader(&scored)
	if rows, err = in.ReadAll(); err != nil {
		return nil, nil, fmt.Errorf("reading the scored records: %w", err)
	}
	columns = append([]string{recordColumn}, rows[0]...)
	rows = rows[1:]
	for i := range rows {
		rows[i] = slices.Insert(rows[i], 0, part.names[i])
	}
	return columns, rows, nil
}
