package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// MaxRecord is the maximum size of a record in bytes, without its line end.
const MaxRecord = 64 << 10

// MaxText is the maximum of bytes of a rejected line's text that Cut keeps.
const MaxText = 2000

// Record is one record of the table, or one line that is rejected. Its bytes are
// valid until the next call of Next.
type Record struct {
	Line   int64    // the physical line on which it starts; the header is line 1
	Fields [][]byte // in the order of Options.Columns; nil if Reason is set
	Text   []byte   // as it is in the file, without the line end
	Plain  bool     // Text has no quotes and equals Fields joined by the separator
	Reason string   // why it was rejected; empty if it was not
}

// Reader returns a table's records one by one, in the format of RFC 4180: fields
// separated by commas or another byte, lines ended by CRLF or LF, quotes around fields that
// contain separators, quotes or line ends, and quotes in them doubled.
//
// A malformed line is returned with the reason, and reading goes on at the next
// physical line: a quote that is never closed costs one line, not the rest of the
// table. Lines that hold no value are no records, and are only counted. A record with bytes that Postgres can't store (NUL, invalid UTF-8) is
// rejected as a whole.
type Reader struct {
	in     io.Reader
	close  func() error
	header header

	buf        []byte
	start, end int   // of the bytes not consumed yet
	offset     int64 // of buf[start] in the table
	line       int64 // of buf[start]
	eof        bool

	empty   Empty
	rec     Record
	fields  [][]byte // in the file's order
	mapped  [][]byte // in the wanted order
	scratch []byte   // fields whose doubled quotes were undone
}

// Records returns a reader of the records from a position on: the zero Position
// is the first record, others come from Reader.Position.
func (t *Table) Records(from Position) (*Reader, error) {
	if from == (Position{}) {
		from = t.header.end
	}
	in, err := t.opened()
	if err != nil {
		return nil, t.wrong(err)
	}
	if err := skip(in, from.Offset); err != nil {
		in.Close()
		return nil, t.wrong(fmt.Errorf("skipping to byte %d: %w", from.Offset, archiveError(err)))
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

// Close releases the reader's resources.
func (r *Reader) Close() error {
	if r.close == nil {
		return nil
	}
	return r.close()
}

// Position returns where the next record starts.
func (r *Reader) Position() Position { return Position{Offset: r.offset, Line: r.line} }

// Next returns the next record, or io.EOF after the last one. Any other error is
// one of the file or the archive, not of a line.
func (r *Reader) Next() (*Record, error) {
	rec := &r.rec
	n, err := r.findLine()
	for ; err == nil && n > 0 && r.isEmpty(r.buf[r.start:r.start+n]); n, err = r.findLine() {
		if r.empty.Lines++; r.empty.Lines == 1 {
			r.empty.First = r.line
		}
		r.takeLine(n)
	}
	if err != nil {
		return nil, err
	}
	*rec = Record{Line: r.line}
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
	case len(line) == 0 && r.header.width == 0: // of a header, or of what may be one
		rec.Reason = "the line is empty"
	case bytes.IndexByte(line, '\r') >= 0:
		rec.Reason = "carriage return inside a field without quotes"
	default:
		r.split(line)
		rec.Reason = r.unfit(line, len(r.fields))
	}
	r.repeated()
	r.finish()
	r.takeLine(n)
	return rec, nil
}

// Empty is lines that are no records: they hold nothing, or nothing but separators and
// blanks.
type Empty struct {
	Lines int64
	First int64 // physical line of the first
}

// TakeEmpty returns which empty lines Next has passed over since it was last called.
func (r *Reader) TakeEmpty() Empty {
	e := r.empty
	r.empty = Empty{}
	return e
}

// isEmpty reports whether a line is no record. Where the table has one column, an
// empty line is a record without a value.
func (r *Reader) isEmpty(line []byte) bool {
	if r.header.width < 2 || r.header.byRow {
		return false
	}
	for _, c := range line {
		switch c {
		case r.header.sep, '\n', '\r', ' ', '\t', 0x1a: // DOS ends a file with it
		default:
			return false
		}
	}
	return true
}

// InvalidUTF8 is the reason of a record that is not in UTF-8.
const InvalidUTF8 = "invalid UTF-8"

// Replaced is the reason of a record in UTF-8 with a replacement character: what
// brought the table here did not know its encoding.
const Replaced = "a replacement character (U+FFFD) where another one was lost"

// noCharacter comes before the encoding of a table that has a byte which is no
// character in it.
const noCharacter = "a byte that is no character in "

// OfEncoding reports whether a reason for which a record was rejected is its encoding.
func OfEncoding(reason string) bool {
	return strings.HasPrefix(reason, InvalidUTF8) || reason == Replaced || strings.HasPrefix(reason, noCharacter)
}

var replacement = []byte("\uFFFD")

var tooLong = fmt.Sprintf("longer than %d bytes", MaxRecord)

// finish puts the fields into the order of Options.Columns.
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

// unfit returns why a record with n fields can't be used, or "". While the header
// itself is read, the width is still 0.
func (r *Reader) unfit(text []byte, n int) string {
	if i := bytes.IndexByte(text, 0); i >= 0 {
		return fmt.Sprintf("NUL byte at byte %d", i+1)
	}
	if w := r.header.width; w != 0 && n != w {
		return fmt.Sprintf("%d fields, want %d", n, w)
	}
	if !utf8.Valid(text) {
		return InvalidUTF8
	}
	if r.header.replaced != "" && bytes.Contains(text, replacement) {
		return r.header.replaced
	}
	return ""
}

// repeated rejects a record that is the header's text.
func (r *Reader) repeated() {
	if rec := &r.rec; rec.Reason == "" && len(rec.Text) == len(r.header.text) && r.header.width > 1 && bytes.Equal(rec.Text, r.header.text) {
		rec.Reason = HeaderAgain
	}
}

// findLine returns the length of the next line including its line end, -1 if it is
// longer than MaxRecord, and io.EOF after the last line.
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

// skipLong consumes a line that is longer than MaxRecord.
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

// fill reads until n bytes are buffered or the table ends.
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

// peek returns the next n bytes without consuming them, fewer at the end.
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

// trimEnd removes one line end.
func trimEnd(line []byte) []byte {
	line = bytes.TrimSuffix(line, []byte{'\n'})
	return bytes.TrimSuffix(line, []byte{'\r'})
}

// Cut turns a rejected line's bytes into text that Postgres can store: at most
// MaxText bytes, with U+FFFD for invalid UTF-8 and U+2400 for NUL.
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
