package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// MaxRecord is the most bytes that a record may have, its line end not counted.
const MaxRecord = 64 << 10

// MaxText is the most bytes of a rejected line's text that Cut keeps.
const MaxText = 2000

// Record is one record of the table, or one line that can't be one. Its bytes
// are good until the next call of Next.
type Record struct {
	Line   int64    // the physical line on which it starts; the header is line 1
	Fields [][]byte // in the order of Options.Columns; nil where Reason is set
	Text   []byte   // as it stands in the file, without the line end
	Plain  bool     // Text has no quotes and is Fields joined by commas
	Reason string   // why it was rejected; empty where it was not
}

// Reader gives a table's records one after the other, as RFC 4180 has them:
// fields parted by commas, lines ended by CRLF or LF, quotes around fields that
// hold commas, quotes or line ends, and doubled inside them.
//
// A line that is not one is given with its reason, and reading goes on at the
// next physical line: a quote that is never closed costs one line, not the rest
// of the table. A record whose bytes can't be kept (NUL, invalid UTF-8) is
// rejected whole.
type Reader struct {
	in     io.Reader
	close  func() error
	header header

	buf        []byte
	start, end int   // the bytes not taken yet
	offset     int64 // of buf[start] in the table
	line       int64 // of buf[start]
	eof        bool

	rec     Record
	fields  [][]byte // in the file's order
	mapped  [][]byte // in the wanted order
	scratch []byte   // fields with doubled quotes undone
}

// Records returns a reader of the records from a position on: the zero
// Position is the first one, others come from Reader.Position.
func (t *Table) Records(from Position) (*Reader, error) {
	if from == (Position{}) {
		from = t.header.end
	}
	in, err := t.open()
	if err != nil {
		return nil, t.wrong(err)
	}
	if err := skip(in, from.Offset); err != nil {
		in.Close()
		return nil, t.wrong(fmt.Errorf("going to byte %d: %w", from.Offset, archiveError(err)))
	}
	r := newReader(in, from, t.header)
	r.close = in.Close
	return r, nil
}

func skip(r io.Reader, n int64) error {
	if s, ok := r.(io.Seeker); ok {
		_, err := s.Seek(n, io.SeekStart)
		return err
	}
	_, err := io.CopyN(io.Discard, r, n)
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func newReader(in io.Reader, at Position, h header) *Reader {
	return &Reader{
		in: in, header: h, offset: at.Offset, line: at.Line,
		buf:    make([]byte, 4*MaxRecord),
		mapped: make([][]byte, len(h.order)),
	}
}

// Close frees what the reader holds open.
func (r *Reader) Close() error {
	if r.close == nil {
		return nil
	}
	return r.close()
}

// Position returns where the next record starts.
func (r *Reader) Position() Position { return Position{Offset: r.offset, Line: r.line} }

// Next returns the next record, or io.EOF after the last one. Any other error
// is the file's or the archive's, not a line's.
func (r *Reader) Next() (*Record, error) {
	rec := &r.rec
	*rec = Record{Line: r.line}
	n, err := r.findLine()
	if err != nil {
		return nil, err
	}
	if n < 0 {
		return rec, r.skipLong()
	}
	line := trimEnd(r.buf[r.start : r.start+n])
	if len(line) > MaxRecord {
		rec.Text, rec.Reason = line, tooLong
		r.takeLine(n)
		return rec, nil
	}
	rec.Text = line
	if bytes.IndexByte(line, '"') >= 0 {
		return rec, r.quoted(n)
	}
	rec.Plain = r.header.order == nil
	switch {
	case len(line) == 0 && r.header.width != 1:
		rec.Reason = "the line is empty"
	case bytes.IndexByte(line, '\r') >= 0:
		rec.Reason = "carriage return inside a field without quotes"
	default:
		r.split(line)
		rec.Reason = r.unfit(line, len(r.fields))
	}
	r.finish()
	r.takeLine(n)
	return rec, nil
}

var tooLong = fmt.Sprintf("longer than %d bytes", MaxRecord)

// finish puts the fields into the wanted order.
func (r *Reader) finish() {
	rec := &r.rec
	switch {
	case rec.Reason != "":
	case r.header.order == nil:
		rec.Fields = r.fields
	default:
		for i, j := range r.header.order {
			r.mapped[i] = r.fields[j]
		}
		rec.Fields = r.mapped
	}
}

// unfit returns why a record with n fields can't be used, or "". The header
// itself is read while the width is still 0.
func (r *Reader) unfit(text []byte, n int) string {
	if i := bytes.IndexByte(text, 0); i >= 0 {
		return fmt.Sprintf("NUL byte at byte %d", i+1)
	}
	if w := r.header.width; w != 0 && n != w {
		return fmt.Sprintf("%d fields where %d are expected", n, w)
	}
	if !utf8.Valid(text) {
		return "invalid UTF-8"
	}
	return ""
}

// split cuts a line without quotes at its commas.
func (r *Reader) split(line []byte) {
	f := r.fields[:0]
	from := 0
	for i, c := range line {
		if c == ',' {
			f = append(f, line[from:i:i])
			from = i + 1
		}
	}
	r.fields = append(f, line[from:])
}

// quoted reads a record with quotes, whose first line has n bytes.
func (r *Reader) quoted(n int) error {
	rec := &r.rec
	size, reason := r.parse(r.buf[r.start:r.start+n], r.eof && r.start+n == r.end)
	if size < 0 && reason == "" {
		// The first line ends inside a quote: look further.
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
		// Too few or too many fields may come from a stray quote that took
		// lines in; those are read again, each by itself.
		if w := r.header.width; w == 0 || len(r.fields) == w {
			rec.Text, rec.Reason = text, reason
			r.finish()
			r.line += int64(bytes.Count(whole, []byte{'\n'}))
			if whole[len(whole)-1] != '\n' {
				r.line++
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
// returns how many bytes it takes, or a negative number: with the reason why it
// is no record, or with none where b ends inside it. last says that the file
// ends where b does.
func (r *Reader) parse(b []byte, last bool) (int, string) {
	f := r.fields[:0]
	r.scratch = r.scratch[:0]
	i := 0
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
			case b[i] == ',':
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
			for i < len(b) && b[i] != ',' && b[i] != '\n' {
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
		i++ // the comma
	}
	r.fields = f
	return min(i+1, len(b)), ""
}

// unquote reads a quoted field that starts at i, after its quote, and returns
// it with the place after its closing quote, or a negative place where there is
// none.
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

// findLine returns the length of the line at the start of the buffer with its
// line end, -1 where it is longer than a record may be, io.EOF after the last.
func (r *Reader) findLine() (int, error) {
	seen := 0
	for {
		if i := bytes.IndexByte(r.buf[r.start+seen:r.end], '\n'); i >= 0 {
			return seen + i + 1, nil
		}
		seen = r.end - r.start
		switch {
		case r.eof && seen == 0:
			return 0, io.EOF
		case r.eof:
			return seen, nil
		case seen > MaxRecord+1:
			return -1, nil
		}
		if err := r.fill(seen + 1); err != nil {
			return 0, err
		}
	}
}

// skipLong takes a line that is longer than a record may be.
func (r *Reader) skipLong() error {
	r.rec.Reason = tooLong
	r.rec.Text = bytes.Clone(r.buf[r.start : r.start+2*MaxText])
	for {
		if i := bytes.IndexByte(r.buf[r.start:r.end], '\n'); i >= 0 {
			r.takeLine(i + 1)
			return nil
		}
		r.take(r.end - r.start)
		if r.eof {
			r.line++
			return nil
		}
		if err := r.fill(1); err != nil {
			return err
		}
	}
}

// fill reads until n bytes are there or the table ends.
func (r *Reader) fill(n int) error {
	if r.end-r.start >= n || r.eof {
		return nil
	}
	if r.start > 0 {
		copy(r.buf, r.buf[r.start:r.end])
		r.start, r.end = 0, r.end-r.start
	}
	for empty := 0; r.end < n; {
		m, err := r.in.Read(r.buf[r.end:])
		r.end += m
		if errors.Is(err, io.EOF) {
			r.eof = true
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading line %d: %w", r.line, archiveError(err))
		}
		if m == 0 {
			if empty++; empty == 100 {
				return io.ErrNoProgress
			}
		}
	}
	return nil
}

// peek returns the next bytes without taking them, fewer than n at the end.
func (r *Reader) peek(n int) ([]byte, error) {
	err := r.fill(n)
	return r.buf[r.start:min(r.end, r.start+n)], err
}

func (r *Reader) take(n int) {
	r.start += n
	r.offset += int64(n)
}

func (r *Reader) takeLine(n int) {
	r.take(n)
	r.line++
}

// trimEnd cuts one line end off.
func trimEnd(line []byte) []byte {
	line = bytes.TrimSuffix(line, []byte{'\n'})
	return bytes.TrimSuffix(line, []byte{'\r'})
}

// Cut makes a rejected line's bytes into text that Postgres keeps: at most
// MaxText bytes, invalid UTF-8 as U+FFFD and NUL as its picture, U+2400.
func Cut(text []byte) string {
	s := string(text[:min(len(text), 2*MaxText)])
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\u2400")
	if len(s) <= MaxText {
		return s
	}
	n := MaxText
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
