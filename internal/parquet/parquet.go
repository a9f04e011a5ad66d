// Package parquet reads a Parquet file as the CSV text that its rows would have, so that
// whatever reads tables reads both alike. Memory holds a page per column, whatever the
// file's size.
package parquet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"

	"mlops/internal/source"
)

// table is a Parquet file as a table of text.
type table struct {
	file    *parquet.File
	columns []column
}

// Rows implements source.Rows.
func (t *table) Rows() int64 { return t.file.NumRows() }

// Text implements source.Rows.
func (t *table) Text() io.ReadCloser { return newReader(t) }

type column struct {
	name   string
	leaf   *parquet.Column // nil where it is nested
	nested string          // what it is then, "" otherwise
	text   func([]byte, parquet.Value) []byte
}

const magic = "PAR1"

// maxFooter bounds what a Parquet file says of itself: those of 1,000 columns in 1,000
// row groups have some 100 MiB.
const maxFooter = 256 << 20

// Open opens a Parquet file. decimal is how the text spells numbers: what stands between
// the whole and the fraction, a point where it is empty. It is a source.Options.Parquet.
func Open(file io.ReaderAt, size int64, decimal string) (p source.Rows, err error) {
	defer func() {
		if r := recover(); r != nil { // the library panics at some files that are damaged
			p, err = nil, fmt.Errorf("the Parquet file is damaged: %v", r)
		}
	}()
	var end [8]byte
	if size < 12 {
		return nil, errors.New("the Parquet file is truncated")
	}
	if _, err := file.ReadAt(end[:], size-8); err != nil {
		return nil, err
	}
	if string(end[4:]) == "PARE" {
		return nil, errors.New("the Parquet file is encrypted")
	}
	if footer := int64(binary.LittleEndian.Uint32(end[:4])); string(end[4:]) != magic || footer > min(size-12, maxFooter) {
		return nil, errors.New("the Parquet file is truncated or damaged: it does not end like one")
	}
	f, err := parquet.OpenFile(file, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true), parquet.ReadBufferSize(32<<10))
	if err != nil {
		return nil, fmt.Errorf("the Parquet file is damaged: %w", err)
	}
	t := &table{file: f}
	for _, c := range f.Root().Columns() {
		col := column{name: c.Name()}
		switch {
		case !c.Leaf() || c.Repeated():
			col.nested = nestedKind(c)
		default:
			col.leaf = c
			if col.text = cellOf(c.Type(), decimal); col.text == nil {
				col.leaf, col.nested = nil, "binary data ("+c.Type().String()+")"
			}
		}
		t.columns = append(t.columns, col)
	}
	return t, nil
}

// nestedKind says what a column is that has more than one value in a row.
func nestedKind(c *parquet.Column) string {
	if c.Leaf() || len(c.Columns()) == 1 && c.Columns()[0].Repeated() {
		if !c.Leaf() && len(c.Columns()[0].Columns()) == 2 {
			return "a map"
		}
		return "a list"
	}
	return "a structure"
}

// Nested implements source.Rows.
func (t *table) Nested() map[string]string {
	all := map[string]string{}
	for _, c := range t.columns {
		if c.nested != "" {
			all[c.name] = c.nested
		}
	}
	return all
}

// chunkRows is how many rows are rendered at a time.
const chunkRows = 256

// reader writes the rows as CSV: a header, then a line for each row, with quotes
// where they are needed.
type reader struct {
	t      *table
	groups []parquet.RowGroup
	pages  []*pages // of the row group at hand, one per column; nil: nested
	left   int64    // rows of it

	cells [][]byte // of the chunk at hand, by column
	ends  [][]int  // of each cell
	row   []byte
	out   bytes.Buffer
	err   error
}

func newReader(t *table) *reader {
	r := &reader{t: t, groups: t.file.RowGroups(), cells: make([][]byte, len(t.columns)), ends: make([][]int, len(t.columns))}
	for i, c := range t.columns {
		if i > 0 {
			r.row = append(r.row, ',')
		}
		r.row = appendCell(r.row, []byte(c.name))
	}
	r.out.Write(append(r.row, '\n'))
	return r
}

func (r *reader) Close() error {
	for _, p := range r.pages {
		if p != nil {
			p.close()
		}
	}
	r.pages = nil
	return nil
}

func (r *reader) Read(b []byte) (int, error) {
	for r.out.Len() == 0 {
		if r.err == nil {
			r.err = r.chunk()
		}
		if r.err != nil {
			return 0, r.err
		}
	}
	return r.out.Read(b)
}

// chunk renders some rows.
func (r *reader) chunk() (err error) {
	defer func() {
		if x := recover(); x != nil {
			err = fmt.Errorf("the Parquet file is damaged: %v", x)
		}
	}()
	for r.left == 0 {
		r.Close()
		if len(r.groups) == 0 {
			return io.EOF
		}
		g := r.groups[0]
		r.groups, r.left = r.groups[1:], g.NumRows()
		chunks := g.ColumnChunks()
		r.pages = make([]*pages, len(r.t.columns))
		for i, c := range r.t.columns {
			if c.leaf != nil {
				r.pages[i] = &pages{pages: chunks[c.leaf.Index()].Pages(), values: make([]parquet.Value, chunkRows)}
			}
		}
	}
	n := int(min(r.left, chunkRows))
	for i, c := range r.t.columns {
		r.cells[i], r.ends[i] = r.cells[i][:0], r.ends[i][:0]
		if c.leaf == nil {
			continue
		}
		if err := r.pages[i].read(n, func(v parquet.Value) {
			from := len(r.cells[i])
			if !v.IsNull() {
				r.cells[i] = c.text(r.cells[i], v)
			}
			// One byte more than a record may have makes the reader reject it.
			r.cells[i] = r.cells[i][:min(len(r.cells[i]), from+source.MaxRecord+1)]
			r.ends[i] = append(r.ends[i], len(r.cells[i]))
		}); err != nil {
			return fmt.Errorf("the Parquet file is damaged: column %q: %w", c.name, err)
		}
	}
	r.left -= int64(n)
	r.write(n)
	return nil
}

// write writes the lines of the chunk.
func (r *reader) write(n int) {
	for k := range n {
		r.row = r.row[:0]
		for i := range r.t.columns {
			if i > 0 {
				r.row = append(r.row, ',')
			}
			if len(r.ends[i]) == 0 {
				continue // nested
			}
			from := 0
			if k > 0 {
				from = r.ends[i][k-1]
			}
			r.row = appendCell(r.row, r.cells[i][from:r.ends[i][k]])
		}
		if len(r.row) > source.MaxRecord { // one line for the reader to reject, whatever is in it
			for i, c := range r.row {
				if c == '\n' || c == '\r' || c == '"' {
					r.row[i] = ' '
				}
			}
		}
		r.out.Write(r.row)
		r.out.WriteByte('\n')
	}
}

// appendCell appends a field, in quotes where it needs them.
func appendCell(b, cell []byte) []byte {
	if !bytes.ContainsAny(cell, ",\"\r\n") {
		return append(b, cell...)
	}
	b = append(b, '"')
	for _, c := range cell {
		if c == '"' {
			b = append(b, '"')
		}
		b = append(b, c)
	}
	return append(b, '"')
}

// pages are the values of a column of a row group, page by page.
type pages struct {
	pages  parquet.Pages
	page   parquet.Page
	in     parquet.ValueReader
	values []parquet.Value
}

// read calls f with the next n values.
func (p *pages) read(n int, f func(parquet.Value)) error {
	for n > 0 {
		if p.in == nil {
			page, err := p.pages.ReadPage()
			if errors.Is(err, io.EOF) {
				return io.ErrUnexpectedEOF
			}
			if err != nil {
				return err
			}
			p.page, p.in = page, page.Values()
		}
		m, err := p.in.ReadValues(p.values[:min(n, len(p.values))])
		for _, v := range p.values[:m] {
			f(v)
		}
		n -= m
		switch {
		case errors.Is(err, io.EOF):
			parquet.Release(p.page)
			p.page, p.in = nil, nil
		case err != nil:
			return err
		case m == 0:
			return io.ErrNoProgress
		}
	}
	return nil
}

func (p *pages) close() {
	if p.page != nil {
		parquet.Release(p.page)
	}
	p.pages.Close()
}
