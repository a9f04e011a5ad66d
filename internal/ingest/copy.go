package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// The text format of COPY (Postgres' documentation, COPY, "Text Format"): a row
// a line, fields parted by tabs, \N for NULL, and backslash, tab, newline and
// carriage return written with a backslash.

// appendField appends one field's text, escaped.
func appendField(b, field []byte) []byte {
	for {
		i := bytes.IndexAny(field, "\\\t\n\r")
		if i < 0 {
			return append(b, field...)
		}
		b = append(b, field[:i]...)
		switch field[i] {
		case '\\':
			b = append(b, `\\`...)
		case '\t':
			b = append(b, `\t`...)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		}
		field = field[i+1:]
	}
}

// appendPlain appends a line without quotes, whose fields are parted by sep: by far
// the most lines. With its separators made tabs it is COPY's text already, if
// nothing in it has to be escaped.
func appendPlain(b, line []byte, sep byte) []byte {
	if sep == '\t' {
		for { // a tab parts fields here, and no other byte but the backslash needs an escape
			i := bytes.IndexByte(line, '\\')
			if i < 0 {
				return append(b, line...)
			}
			b = append(append(b, line[:i]...), `\\`...)
			line = line[i+1:]
		}
	}
	from := len(b)
	b = appendField(b, line)
	for i, c := range b[from:] {
		if c == sep {
			b[from+i] = '\t'
		}
	}
	return b
}

// appendRejected appends a row of a rejected table: the batch, the line, then
// the texts, in the order of rawRejected or cleanRejected.
func appendRejected(b []byte, batch int32, line int64, texts ...string) []byte {
	b = strconv.AppendInt(b, int64(batch), 10)
	b = append(b, '\t')
	b = strconv.AppendInt(b, line, 10)
	for _, t := range texts {
		b = append(b, '\t')
		b = appendField(b, []byte(t))
	}
	return append(b, '\n')
}

// copyFields reads lines of COPY's text format. Its fields are good until the
// next call.
type copyFields struct {
	fields  [][]byte
	scratch []byte
}

// read splits one line, without its newline, into fields; NULL is nil.
func (c *copyFields) read(line []byte) ([][]byte, error) {
	f := c.fields[:0]
	c.scratch = c.scratch[:0]
	escaped := bytes.IndexByte(line, '\\') >= 0
	for {
		var field []byte
		i := bytes.IndexByte(line, '\t')
		last := i < 0
		if last {
			field = line
		} else {
			field, line = line[:i:i], line[i+1:]
		}
		if escaped && bytes.IndexByte(field, '\\') >= 0 {
			var err error
			if field, err = c.unescape(field); err != nil {
				return nil, err
			}
		}
		f = append(f, field)
		if last {
			c.fields = f
			return f, nil
		}
	}
}

func (c *copyFields) unescape(field []byte) ([]byte, error) {
	if string(field) == `\N` {
		return nil, nil
	}
	from := len(c.scratch)
	for i := 0; i < len(field); i++ {
		b := field[i]
		if b == '\\' {
			if i++; i == len(field) {
				return nil, errors.New("COPY data ends in a backslash")
			}
			switch b = field[i]; b {
			case 'b':
				b = '\b'
			case 'f':
				b = '\f'
			case 'n':
				b = '\n'
			case 'r':
				b = '\r'
			case 't':
				b = '\t'
			case 'v':
				b = '\v'
			case '\\':
			default: // Postgres writes no other
				return nil, fmt.Errorf("COPY data has the escape \\%c", b)
			}
		}
		c.scratch = append(c.scratch, b)
	}
	return c.scratch[from:len(c.scratch):len(c.scratch)], nil
}

// lineWriter cuts what is written to it into lines.
type lineWriter struct {
	line func([]byte) error
	rest []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			w.rest = append(w.rest, p...)
			return n, nil
		}
		line := p[:i]
		if len(w.rest) > 0 {
			w.rest = append(w.rest, line...)
			line = w.rest
		}
		if err := w.line(line); err != nil {
			return 0, err
		}
		w.rest = w.rest[:0]
		p = p[i+1:]
	}
}

// chunk is a piece of a batch in COPY's text format.
type chunk struct {
	rows     []byte
	rejected []byte
}

const (
	chunkSize = 64 << 10 // bytes of rows in a chunk, about
	// maxRejected is how many bytes of rejected rows wait in memory while rows
	// are copied; a connection does one COPY at a time.
	maxRejected = 1 << 20
)

// copyBatch copies a batch's rows and rejected rows, each with its COPY
// statement, in turns: memory does not grow with the batch. next gives chunks
// whose bytes it leaves alone until its next call, and io.EOF at the end; it may
// be called from another goroutine, but never twice at once.
func copyBatch(ctx context.Context, conn *pgx.Conn, rowsSQL, rejectedSQL string, next func() (chunk, error)) (rows int64, rejected int64, err error) {
	f := &feed{next: next}
	for !f.done {
		// Only once there are rows: a COPY of none would cost a round trip.
		if err := f.more(); err != nil && !errors.Is(err, io.EOF) {
			return 0, 0, err
		}
		if len(f.rows) > 0 {
			tag, err := conn.PgConn().CopyFrom(ctx, f, rowsSQL)
			if err != nil {
				// f may still be in use by the COPY's own goroutine when the
				// connection broke, so its error is looked at only otherwise.
				if !conn.IsClosed() && f.err != nil {
					return 0, 0, f.err
				}
				return 0, 0, err
			}
			rows += tag.RowsAffected()
		}
		if len(f.rejected) > 0 {
			tag, err := conn.PgConn().CopyFrom(ctx, bytes.NewReader(f.rejected), rejectedSQL)
			if err != nil {
				return 0, 0, fmt.Errorf("writing rejected rows: %w", err)
			}
			rejected += tag.RowsAffected()
			f.rejected = f.rejected[:0]
		}
	}
	return rows, rejected, nil
}

// feed is the rows of a batch as CopyFrom reads them. It ends early when many
// rejected rows wait.
type feed struct {
	next     func() (chunk, error)
	rows     []byte // of the current chunk, not read yet
	rejected []byte
	done     bool
	err      error
}

// more gets chunks until there are rows, or many rejected ones, or the end.
func (f *feed) more() error {
	for len(f.rows) == 0 && len(f.rejected) < maxRejected && !f.done {
		c, err := f.next()
		f.rows = c.rows
		f.rejected = append(f.rejected, c.rejected...)
		switch {
		case errors.Is(err, io.EOF):
			f.done = true
		case err != nil:
			f.err = err
			return err
		}
	}
	if len(f.rows) == 0 {
		return io.EOF
	}
	return nil
}

func (f *feed) Read(p []byte) (int, error) {
	if err := f.more(); err != nil {
		return 0, err
	}
	n := copy(p, f.rows)
	f.rows = f.rows[n:]
	return n, nil
}
