package ingest

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"mlops/internal/dataset"
)

// cleaner turns rows of raw, in COPY's text, into rows of clean.
type cleaner struct {
	spec *dataset.Spec
	id   int32
	ctx  context.Context // of the one batch that it cleans
	full chan<- chunk
	free <-chan chunk

	in  copyFields
	out chunk
}

// line cleans one row: the spec's columns, then its line number.
func (c *cleaner) line(text []byte) error {
	fields, err := c.in.read(text)
	if err != nil {
		return err
	}
	n := len(c.spec.Columns)
	if len(fields) != n+1 {
		return fmt.Errorf("a row of raw has %d fields, want %d", len(fields), n+1)
	}
	lineNumber := fields[n]
	from := len(c.out.rows)
	for i, field := range fields[:n] {
		if c.out.rows, err = appendValue(c.out.rows, c.spec, i, field); err != nil {
			c.out.rows = c.out.rows[:from]
			line, perr := strconv.ParseInt(string(lineNumber), 10, 64)
			if perr != nil {
				return fmt.Errorf("a row of raw has the line %q", lineNumber)
			}
			c.out.rejected = appendRejected(c.out.rejected, c.id, line, c.spec.Columns[i].Name, err.Error(), kindOfValue(err), example(field))
			break
		}
		c.out.rows = append(c.out.rows, '\t')
	}
	if err == nil {
		c.out.rows = strconv.AppendInt(c.out.rows, int64(c.id), 10)
		c.out.rows = append(c.out.rows, '\t')
		c.out.rows = append(c.out.rows, lineNumber...)
		c.out.rows = append(c.out.rows, '\n')
	}
	if len(c.out.rows) >= chunkSize || len(c.out.rejected) >= chunkSize {
		return c.send()
	}
	return nil
}

// send hands the chunk on and takes a used one.
func (c *cleaner) send() error {
	select {
	case c.full <- c.out:
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
	select {
	case c.out = <-c.free:
		c.out.rows, c.out.rejected = c.out.rows[:0], c.out.rejected[:0]
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
	return nil
}

// cleanRejected are the columns of a rejected row, as appendRejected writes them.
const cleanRejected = `_batch, line, "column", reason, kind, value`

// kindOfValue is the reason of a rejected value, as reports group it.
func kindOfValue(err error) string {
	var bad *dataset.ValueError
	if errors.As(err, &bad) {
		return bad.Kind
	}
	return keyMissing
}

// appendValue appends a field's canonical form in COPY's text format.
func appendValue(b []byte, spec *dataset.Spec, column int, field []byte) ([]byte, error) {
	v, err := cleanValue(spec, column, field)
	if err != nil {
		return b, err
	}
	if v == nil {
		return append(b, `\N`...), nil
	}
	return appendField(b, v), nil
}

// cleanValue returns a field's canonical form, nil where it is missing and may be.
func cleanValue(spec *dataset.Spec, column int, field []byte) ([]byte, error) {
	v, err := spec.Cell(column, field)
	if err != nil || v != nil {
		return v, err
	}
	switch c := &spec.Columns[column]; {
	case c.Name == spec.Key:
		return nil, errors.New("the key is missing")
	case c.Name == spec.Split.By && spec.ByTime():
		return nil, &dataset.ValueError{Text: dataset.Quote(field), Kind: timeMissing}
	case c.Required:
		return nil, &dataset.ValueError{Text: dataset.Quote(field), Kind: valueMissing}
	}
	return nil, nil
}
