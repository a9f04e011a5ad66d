package source

import (
	"bytes"
	"fmt"
)

// split splits a line without quotes at its separators.
func (r *Reader) split(line []byte) {
	f := r.fields[:0]
	from, sep := 0, r.header.sep
	for i, c := range line {
		if c == sep {
			f = append(f, line[from:i:i])
			from = i + 1
		}
	}
	r.fields = append(f, line[from:])
}

// quoted reads a record with quotes whose first line has n bytes.
func (r *Reader) quoted(n int) error {
	rec := &r.rec
	size, reason := r.parse(r.buf[r.start:r.start+n], r.eof && r.start+n == r.end)
	if size < 0 && reason == "" {
		// The first line ends inside a quote, so the record may go on.
		if err := r.fill(MaxRecord + 2); err != nil {
			return err
		}
		rec.Text = trimEnd(r.buf[r.start : r.start+n]) // filling moves the bytes
		whole := r.buf[r.start:min(r.end, r.start+MaxRecord+2)]
		ends := r.eof && len(whole) == r.end-r.start
		size, reason = r.parse(whole, ends)
		switch {
		case size < 0 && reason == "" && ends:
			reason = "a quote is not closed before the end of the file"
		case size < 0 && reason == "":
			reason = fmt.Sprintf("a quote is not closed within %d bytes", MaxRecord)
		}
	}
	if reason == "" {
		whole := r.buf[r.start : r.start+size]
		text := trimEnd(whole)
		reason = r.unfit(text, len(r.fields))
		// A wrong number of fields may come from a stray quote that swallowed
		// further lines; those are then read again, one by one.
		if w := r.header.width; w == 0 || len(r.fields) == w {
			rec.Text, rec.Reason = text, reason
			r.repeated()
			r.finish()
			if r.header.byRow {
				r.line++
			} else {
				r.line += int64(bytes.Count(whole, []byte{'\n'}))
				if whole[len(whole)-1] != '\n' {
					r.line++
				}
			}
			r.take(size)
			return nil
		}
	}
	rec.Reason = reason
	r.takeLine(n)
	return nil
}

// parse reads one record with quotes from the start of b into r.fields and
// returns its size in bytes. A negative size comes with the reason why it is no
// record, or without one if b ends inside the record. last says that the file ends
// with b.
func (r *Reader) parse(b []byte, last bool) (int, string) {
	f := r.fields[:0]
	r.scratch = r.scratch[:0]
	i, sep := 0, r.header.sep
	for {
		if i < len(b) && b[i] == '"' {
			field, end := r.unquote(b, i+1)
			if end < 0 || end == len(b) && !last {
				return -1, ""
			}
			f = append(f, field)
			i = end
			switch {
			case i == len(b), b[i] == '\n':
			case b[i] == sep:
			case b[i] == '\r' && i+1 < len(b) && b[i+1] == '\n':
				i++
			case b[i] == '\r' && i+1 == len(b):
				if !last {
					return -1, ""
				}
				i++
			default:
				return -1, fmt.Sprintf("text after the closing quote of field %d", len(f))
			}
		} else {
			from := i
			for i < len(b) && b[i] != sep && b[i] != '\n' {
				if b[i] == '"' {
					return -1, fmt.Sprintf("quote inside field %d, which does not start with one", len(f)+1)
				}
				i++
			}
			if i == len(b) && !last {
				return -1, ""
			}
			field := b[from:i:i]
			if i == len(b) || b[i] == '\n' {
				field = bytes.TrimSuffix(field, []byte{'\r'})
			}
			if bytes.IndexByte(field, '\r') >= 0 {
				return -1, "carriage return inside a field without quotes"
			}
			f = append(f, field)
		}
		if i == len(b) || b[i] == '\n' {
			break
		}
		i++ // the separator
	}
	r.fields = f
	return min(i+1, len(b)), ""
}

// unquote reads a quoted field from i, the position after its opening quote, and
// returns it with the position after its closing quote, which is negative if there
// is none.
func (r *Reader) unquote(b []byte, i int) ([]byte, int) {
	from, kept := i, len(r.scratch)
	doubled := false
	for {
		j := bytes.IndexByte(b[i:], '"')
		if j < 0 {
			return nil, -1
		}
		i += j + 1
		if i == len(b) || b[i] != '"' {
			break
		}
		doubled = true
		r.scratch = append(r.scratch, b[from:i]...)
		i++
		from = i
	}
	if !doubled {
		return b[from : i-1 : i-1], i
	}
	r.scratch = append(r.scratch, b[from:i-1]...)
	return r.scratch[kept:len(r.scratch):len(r.scratch)], i
}
