// Package scoring scores tables in CSV of any size with an inference server: each line
// comes back with its prediction behind it, in order.
package scoring

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/encoding"

	"mlops/internal/api"
	"mlops/internal/charset"
	"mlops/internal/program"
)

// Table is a table to be scored.
type Table struct {
	Name   string // in errors: a file's
	Client *api.Client

	// Encoding of lines that are not UTF-8, by its name in a spec. They are written in UTF-8.
	Encoding string
	Numbers  string // api.NumbersTable or api.NumbersPoint; empty: either

	Batch  int            // records per request; default: 10,000
	Line   int            // of the first record, where that isn't the line after the header
	Sheet  bool           // it is for a spreadsheet: names of classes and the like that this would take for a formula get an apostrophe in front
	Scored func(rows int) // not nil: called after each request, with the rows so far

	// Where names a record in errors by its place in the table, from 0; nil: by its line.
	Where func(record int) string

	// Models are the versions ("readmission/3") that have scored the table, in their
	// order: several if another one was put into production meanwhile.
	Models []string
}

// maxBatchBytes bounds a request; the server takes 32 MiB.
const maxBatchBytes = 8 << 20

// part is some records of the file.
type part struct {
	text  []byte // the header, then the records
	first int    // its first record's place in the table
	lines []int  // by record, the line of the file that it begins on
	ends  []int  // by record, where it ends in text
	done  chan error
	reply []byte
	model string // that scored it; empty: the server doesn't say
}

// Score sends the records of a table in parts, two at a time, writes each with its
// prediction, and returns how many there were. The first wrong record ends it with an
// error of the kind program.Input that names the line; nothing behind that is written.
// An overloaded server is asked again.
func (t *Table) Score(ctx context.Context, from io.Reader, to io.Writer) (rows int, err error) {
	batch := t.Batch
	if batch <= 0 {
		batch = 10_000
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := newRecordReader(from, t.Encoding)
	header, _, err := r.next()
	header = bytes.TrimPrefix(header, []byte("\xef\xbb\xbf"))
	if err != nil && !errors.Is(err, io.EOF) {
		return rows, program.Inputf("%s: %w", t.Name, err)
	}
	if len(bytes.TrimSpace(header)) == 0 {
		return rows, program.Inputf("%s is empty; its first line has the columns' names", t.Name)
	}
	header = bytes.Clone(withEnd(header))
	if t.Line > 0 {
		r.line = t.Line
	}
	separator := api.Separator(header)
	w := bufio.NewWriterSize(to, 1<<20)
	first := true
	finish := func(b *part) error {
		if err := <-b.done; err != nil {
			return err
		}
		if err := t.write(w, header, separator, b, first); err != nil {
			return err
		}
		first = false
		rows += len(b.lines)
		if b.model != "" && !slices.Contains(t.Models, b.model) {
			t.Models = append(t.Models, b.model)
		}
		if t.Scored != nil {
			t.Scored(rows)
		}
		return nil
	}
	var waiting []*part
	read := 0
	for end := false; !end; {
		b := &part{first: read, text: append(make([]byte, 0, len(header)+1<<20), header...), done: make(chan error, 1)}
		for len(b.lines) < batch && len(b.text) < maxBatchBytes {
			record, line, err := r.next()
			if len(bytes.TrimSpace(record)) > 0 {
				b.text = append(b.text, withEnd(record)...)
				b.lines, b.ends = append(b.lines, line), append(b.ends, len(b.text))
			}
			if errors.Is(err, io.EOF) {
				end = true
				break
			}
			if err != nil {
				return rows, program.Inputf("%s: line %d: %w", t.Name, line, err)
			}
		}
		if len(b.lines) == 0 {
			break
		}
		read += len(b.lines)
		go func() { b.done <- t.send(ctx, b) }()
		if waiting = append(waiting, b); len(waiting) == 2 {
			if err := finish(waiting[0]); err != nil {
				return rows, errors.Join(err, w.Flush())
			}
			waiting = waiting[1:]
		}
	}
	for _, b := range waiting {
		if err := finish(b); err != nil {
			return rows, errors.Join(err, w.Flush())
		}
	}
	if rows == 0 {
		return rows, program.Inputf("%s has a header and no record", t.Name)
	}
	return rows, w.Flush()
}

// send has a part scored. An overloaded server is asked again.
func (t *Table) send(ctx context.Context, b *part) error {
	contentType := api.TextCSV
	if t.Numbers != "" {
		contentType += "; numbers=" + t.Numbers
	}
	for try := 0; ; try++ {
		resp, err := t.Client.Do(ctx, http.MethodPost, "/predict", contentType, b.text)
		if err == nil && resp.Status == http.StatusOK {
			b.reply, b.model = resp.Body, resp.Header.Get(api.ModelHeader)
			return nil
		}
		again := err != nil
		if err == nil {
			problem := api.ParseProblem(resp.Status, resp.Body)
			again = problem.Type == api.Overloaded || resp.Status == http.StatusTooManyRequests
			err = t.explain(problem, b)
		}
		if !again || try == 5 || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Second << min(try, 3)):
		}
	}
}

// explain turns a problem into an error that names the lines of the file.
func (t *Table) explain(problem *api.Problem, b *part) error {
	if problem.Status >= 500 || problem.Status == http.StatusUnauthorized || problem.Status == http.StatusForbidden || problem.Status == http.StatusTooManyRequests {
		return fmt.Errorf("%s: %w", t.Client.Base(), problem)
	}
	var lines []string
	for _, e := range problem.Errors {
		where := ""
		if e.Record < len(b.lines) {
			where = fmt.Sprintf("line %d", b.lines[e.Record])
			if t.Where != nil {
				where = t.Where(b.first + e.Record)
			}
		}
		if e.Field != "" {
			where += fmt.Sprintf(", column %q", e.Field)
		}
		lines = append(lines, fmt.Sprintf("%s: %s", where, e.Detail))
		if len(lines) == 5 && len(problem.Errors) > 5 {
			lines = append(lines, fmt.Sprintf("and %d more", len(problem.Errors)-5))
			break
		}
	}
	if len(lines) == 0 {
		from, to := fmt.Sprintf("line %d", b.lines[0]), fmt.Sprintf("line %d", b.lines[len(b.lines)-1])
		if t.Where != nil {
			from, to = t.Where(b.first), t.Where(b.first+len(b.lines)-1)
		}
		lines = []string{fmt.Sprintf("between %s and %s: %s", from, to, problem.Error())}
	}
	return program.Inputf("%s: %s", t.Name, strings.Join(lines, "\n  "))
}

// write writes a part's records with their predictions.
func (t *Table) write(to io.Writer, header []byte, separator byte, b *part, first bool) error {
	var w bytes.Buffer
	reply := csv.NewReader(bytes.NewReader(b.reply))
	reply.ReuseRecord = true
	names, err := reply.Read()
	if err != nil {
		return fmt.Errorf("reading the response of %s: %w", t.Client.Base(), err)
	}
	if first {
		w.Write(trimEnd(header))
		has := strings.FieldsFunc(string(trimEnd(header)), func(r rune) bool { return r == rune(separator) || r == '"' })
		for _, name := range names {
			for _, other := range has {
				if other == name {
					name = "predicted_" + name
					break
				}
			}
			w.WriteByte(separator)
			writeField(&w, name, separator)
		}
		w.WriteByte('\n')
	}
	begin := len(header)
	for _, end := range b.ends {
		fields, err := reply.Read()
		if err != nil {
			return fmt.Errorf("reading the response of %s: %w", t.Client.Base(), err)
		}
		w.Write(trimEnd(b.text[begin:end]))
		begin = end
		for _, f := range fields {
			if t.Sheet {
				f = noFormula(f)
			}
			w.WriteByte(separator)
			writeField(&w, f, separator)
		}
		w.WriteByte('\n')
	}
	if _, err := reply.Read(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s has responded with more predictions than there are records", t.Client.Base())
	}
	if _, err := w.WriteTo(to); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}

// noFormula keeps a spreadsheet from running a text (https://owasp.org/www-community/attacks/CSV_Injection).
func noFormula(text string) string {
	if text == "" || strings.IndexByte("=+-@\t\r", text[0]) < 0 {
		return text
	}
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return text
	}
	return "'" + text
}

func writeField(w *bytes.Buffer, text string, separator byte) {
	if strings.IndexByte(text, separator) < 0 && !strings.ContainsAny(text, "\"\n\r") {
		w.WriteString(text)
		return
	}
	w.WriteByte('"')
	w.WriteString(strings.ReplaceAll(text, `"`, `""`))
	w.WriteByte('"')
}

func withEnd(record []byte) []byte {
	if bytes.HasSuffix(record, []byte{'\n'}) {
		return record
	}
	return append(record, '\n')
}

func trimEnd(record []byte) []byte { return bytes.TrimRight(record, "\r\n") }

// recordReader reads records, which may have line ends within quotes.
type recordReader struct {
	r       *bufio.Reader
	line    int // the next one
	buf     []byte
	decoder *encoding.Decoder // of records that are not UTF-8; may be nil
}

func newRecordReader(from io.Reader, encoding string) *recordReader {
	r := &recordReader{r: bufio.NewReaderSize(from, 1<<20), line: 1}
	start, _ := r.r.Peek(2)
	if e := charset.Of(charset.Declared(start)); e != nil {
		r.r = bufio.NewReaderSize(e.NewDecoder().Reader(r.r), 1<<20)
	} else if e := charset.OfLine(encoding); e != nil {
		r.decoder = e.NewDecoder()
	}
	return r
}

// next returns a record with its line end, good until the next call, and its first line.
func (r *recordReader) next() (record []byte, line int, err error) {
	record, line, err = r.raw()
	if r.decoder != nil && !utf8.Valid(record) {
		text, failed := r.decoder.Bytes(record)
		if failed != nil {
			return record, line, errors.Join(err, failed)
		}
		record = text
	}
	return record, line, err
}

// raw returns a record in the file's encoding.
func (r *recordReader) raw() (record []byte, line int, err error) {
	line = r.line
	r.buf = r.buf[:0]
	for quotes := 0; ; {
		text, err := r.r.ReadSlice('\n')
		quotes += bytes.Count(text, []byte{'"'})
		r.buf = append(r.buf, text...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil:
			if errors.Is(err, io.EOF) && quotes%2 == 1 {
				err = errors.New("a quoted field that begins here is not terminated")
			}
			return r.buf, line, err
		default:
			if r.line++; quotes%2 == 0 {
				return r.buf, line, nil
			}
		}
		if len(r.buf) > maxBatchBytes {
			return r.buf, line, fmt.Errorf("a record is longer than %d MiB; is a quote missing?", maxBatchBytes>>20)
		}
	}
}
