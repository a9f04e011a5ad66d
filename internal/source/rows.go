package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// Rows is a file of rows that is no text, and can be read as if it were.
type Rows interface {
	// Rows is how many there are.
	Rows() int64
	// Text returns the rows as a CSV table with a header. Each line is a row unless one of
	// its cells has lines.
	Text() io.ReadCloser
	// Nested are the columns that no column of a table can hold, each with what it is.
	// Their cells are empty.
	Nested() map[string]string
}

// Nested are the table's columns that hold lists, structures or bytes, by their name, and
// what they hold. They are read as if they were empty.
func (t *Table) Nested() map[string]string {
	if t.rows == nil {
		return nil
	}
	return t.rows.Nested()
}

// refuseNested returns an error if one of them is wanted.
func (t *Table) refuseNested(wanted []string) error {
	nested := t.Nested()
	for _, name := range slices.Sorted(maps.Keys(nested)) {
		if slices.Contains(wanted, strings.TrimSpace(name)) {
			return fmt.Errorf("column %q is %s, and a cell of a table holds one value: make columns of its parts, or leave it out: source: {ignore: [%[1]q]}", name, nested[name])
		}
	}
	return nil
}

const parquetMagic = "PAR1"

// findParquet makes t.open give the rows of a Parquet file as text, if the table is
// one. In an archive it is unpacked to a temporary file first, since a Parquet file is
// read from its end.
func (t *Table) findParquet(ctx context.Context, opts *Options) error {
	in, err := t.open()
	if err != nil {
		return t.wrong(archiveError(err))
	}
	defer in.Close()
	start := make([]byte, len(parquetMagic))
	if _, err := io.ReadFull(in, start); err != nil || string(start) != parquetMagic {
		return nil // what is wrong with it is said when it is read
	}
	if opts.Parquet == nil {
		return t.wrong(errors.New(unreadable("a Parquet file")))
	}
	file := t.file
	if _, plain := in.(uncompressed); !plain {
		if file, err = temporary(opts.TempDir); err != nil {
			return err
		}
		t.unpacked = file
		if _, err := file.Write(start); err != nil {
			return fmt.Errorf("unpacking %s: %w", t.Source, err)
		}
		var local *os.PathError
		switch _, err := io.Copy(file, &contextReader{ctx, in}); {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &local):
			return fmt.Errorf("unpacking %s: %w", t.Source, err)
		case err != nil:
			return t.wrong(archiveError(err))
		}
	}
	st, err := file.Stat()
	if err != nil {
		return err
	}
	p, err := opts.Parquet(file, st.Size(), opts.Decimal)
	if err != nil {
		return t.wrong(err)
	}
	if n := p.Rows(); n > opts.MaxLines {
		return t.wrong(fmt.Errorf("the table has %d rows, more than %d; if it is meant to, raise the bound: source: {max_lines: %d}", n, opts.MaxLines, n))
	}
	t.rows = p
	t.packed = 0 // equal values cost it next to nothing: its ratio says little
	t.open = func() (io.ReadCloser, error) { return p.Text(), nil }
	t.bound(opts)
	return nil
}
