package source

import (
	"fmt"
	"io"

	"mlops/internal/dataset"
)

// ratioFrom is the size from which on the ratio of a table to its archive counts: a
// small table of equal rows does no harm.
const ratioFrom = 64 << 20

// bound makes t.open end with an error where the unpacked table exceeds a bound.
func (t *Table) bound(opts *Options) {
	open, most, by := t.open, opts.MaxSize, ""
	if t.packed > 0 {
		if n := max(ratioFrom, t.packed*opts.MaxRatio); n < most {
			most = n
			by = fmt.Sprintf("the table unpacks to more than %d times the %s of its archive, as no honest table does; if this one is, raise the bound: source: {max_ratio: %d}",
				opts.MaxRatio, dataset.Size(t.packed), 10*opts.MaxRatio)
		}
	}
	if by == "" {
		by = fmt.Sprintf("the table is larger than %s; if it is meant to be, raise the bound: source: {max_size: %s}", dataset.Size(most), dataset.Size(10*most))
	}
	t.open = func() (io.ReadCloser, error) {
		in, err := open()
		if err != nil {
			return nil, err
		}
		if s, ok := in.(uncompressed); ok {
			if s.Size() > most {
				return nil, &boundError{by}
			}
			return in, nil
		}
		return &bounded{ReadCloser: in, left: most, by: by}, nil
	}
}

// bounded is a table that ends with an error after so many bytes.
type bounded struct {
	io.ReadCloser
	left int64
	by   string
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, &boundError{b.by}
	}
	return n, err
}

// boundError says which bound a table exceeds.
type boundError struct{ text string }

func (e *boundError) Error() string { return e.text }

func tooManyLines(most int64) error {
	return &boundError{fmt.Sprintf("the table has more than %d lines; if it is meant to, raise the bound: source: {max_lines: %d}", most, 10*most)}
}
