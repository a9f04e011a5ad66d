package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"mlops/internal/api"
	"mlops/internal/program"
	"mlops/internal/progress"
)

func predictCommand() command {
	return command{
		name:  "predict",
		args:  "FILE",
		short: "score a CSV file with the served model: mlops predict my.csv > scored.csv",
		long: `
Sends the records of a CSV file (or of standard input: -; gzip and zstd are unpacked) to
the inference server, and writes each line again with its prediction behind it: label and
probability (or the classes' probabilities, or value, low and high), why a record gets no
score (excluded), and in what it is unlike the training rows (warnings). The file may be of
any size; lines come out in their order. The first record that is wrong ends it, with the
line and what to do; nothing behind that is written.`,
		define: func(f *flag.FlagSet) work {
			in := newInputs()
			server := f.String("server", os.Getenv("MLOPS_INFERENCE"), "`URL` of the inference server (also: MLOPS_INFERENCE; default: the demo's, else http://localhost:8000)")
			key := f.String("key-file", "", "`file` with the API key to send (default: MLOPS_API_KEY, or the demo's own)")
			return func(ctx context.Context, out io.Writer, args []string) error {
				if len(args) != 1 {
					return program.Inputf("predict takes one file: mlops predict FILE > scored.csv")
				}
				p := &scoring{name: args[0], batch: 10_000}
				if err := p.find(in, *server, *key); err != nil {
					return err
				}
				from, err := openTable(args[0])
				if err != nil {
					return err
				}
				defer from.Close()
				d := progress.New(os.Stderr, os.Getenv("TERM"), os.Getenv("NO_COLOR") == "")
				defer d.Close()
				return d.Do("predict "+args[0], func(log *slog.Logger) (string, error) { return p.run(ctx, log, from, out) })
			}
		},
	}
}

// scoring sends a file's records to a server.
type scoring struct {
	name   string
	client *api.Client
	batch  int // records of a request
}

// batchBytes bounds a request; the server takes 32 MiB.
const batchBytes = 8 << 20

// find finds the server, and the key that it may want.
func (p *scoring) find(in *inputs, server, keyFile string) error {
	key := os.Getenv("MLOPS_API_KEY")
	if server == "" {
		server = "http://localhost:8000"
		if c, err := in.config(); err == nil {
			records, err := c.State.Records()
			if err != nil {
				return err
			}
			for _, r := range records {
				if strings.HasPrefix(r.Name, "inference-") {
					server = r.URL()
					if own, err := c.State.APIKey(false); err == nil && key == "" {
						key = own
					}
					break
				}
			}
		}
	}
	if keyFile != "" {
		text, err := os.ReadFile(keyFile)
		if err != nil {
			return program.Input(err)
		}
		key = strings.TrimSpace(string(text))
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true
	p.client = api.NewClient(server, &http.Client{Timeout: 5 * time.Minute, Transport: transport})
	if key != "" {
		p.client = p.client.WithKey(key)
	}
	return nil
}

// openTable opens a file, or standard input, and unpacks it.
func openTable(name string) (io.ReadCloser, error) {
	f := os.Stdin
	if name != "-" {
		var err error
		if f, err = os.Open(name); err != nil {
			return nil, program.Input(err)
		}
	}
	r := bufio.NewReaderSize(f, 1<<20)
	magic, _ := r.Peek(4)
	switch {
	case bytes.HasPrefix(magic, []byte("\x1f\x8b")):
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, program.Inputf("%s: %w", name, err)
		}
		return unpacked{z, f}, nil
	case bytes.HasPrefix(magic, []byte("\x28\xb5\x2f\xfd")):
		z, err := zstd.NewReader(r)
		if err != nil {
			return nil, program.Inputf("%s: %w", name, err)
		}
		return unpacked{z.IOReadCloser(), f}, nil
	case bytes.HasPrefix(magic, []byte("PAR1")):
		return nil, program.Inputf("%s is a Parquet file; predict takes CSV (pandas: to_csv(index=False))", name)
	case bytes.HasPrefix(magic, []byte("PK\x03\x04")):
		return nil, program.Inputf("%s is a ZIP archive or a spreadsheet; predict takes CSV (unzip -p %s | mlops predict -)", name, name)
	}
	return unpacked{r, f}, nil
}

type unpacked struct {
	io.Reader
	file *os.File
}

func (u unpacked) Close() error { return u.file.Close() }

// part is some records of the file.
type part struct {
	text  []byte // the header, then the records
	lines []int  // by record, the line of the file that it begins on
	ends  []int  // by record, where it ends in text
	done  chan error
	reply []byte
}

// run sends the file in parts, two at a time, and writes the responses in order.
func (p *scoring) run(ctx context.Context, log *slog.Logger, from io.Reader, to io.Writer) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &recordReader{r: bufio.NewReaderSize(from, 1<<20), line: 1}
	header, _, err := r.next()
	header = bytes.TrimPrefix(header, []byte("\xef\xbb\xbf"))
	if err != nil && !errors.Is(err, io.EOF) {
		return "", program.Inputf("%s: %w", p.name, err)
	}
	if len(bytes.TrimSpace(header)) == 0 {
		return "", program.Inputf("%s is empty; its first line has the columns' names", p.name)
	}
	header = bytes.Clone(withEnd(header))
	separator := separatorOf(header)
	w := bufio.NewWriterSize(to, 1<<20)
	total, first := 0, true
	finish := func(b *part) error {
		if err := <-b.done; err != nil {
			return err
		}
		if err := p.write(w, header, separator, b, first); err != nil {
			return err
		}
		first = false
		total += len(b.lines)
		log.Info("progress", "done", total, "total", 0, "unit", "rows")
		return nil
	}
	var waiting []*part
	for end := false; !end; {
		b := &part{text: append(make([]byte, 0, len(header)+1<<20), header...), done: make(chan error, 1)}
		for len(b.lines) < p.batch && len(b.text) < batchBytes {
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
				return "", program.Inputf("%s: line %d: %w", p.name, line, err)
			}
		}
		if len(b.lines) == 0 {
			break
		}
		go func() { b.done <- p.send(ctx, b) }()
		if waiting = append(waiting, b); len(waiting) == 2 {
			if err := finish(waiting[0]); err != nil {
				return "", errors.Join(err, w.Flush())
			}
			waiting = waiting[1:]
		}
	}
	for _, b := range waiting {
		if err := finish(b); err != nil {
			return "", errors.Join(err, w.Flush())
		}
	}
	if total == 0 {
		return "", program.Inputf("%s has a header and no record", p.name)
	}
	return fmt.Sprintf("%d rows", total), w.Flush()
}

// send has a part scored. An overloaded server is asked again.
func (p *scoring) send(ctx context.Context, b *part) error {
	for try := 0; ; try++ {
		resp, err := p.client.Do(ctx, http.MethodPost, "/predict", "text/csv", b.text)
		if err == nil && resp.Status == http.StatusOK {
			b.reply = resp.Body
			return nil
		}
		again := err != nil
		if err == nil {
			problem := api.ParseProblem(resp.Status, resp.Body)
			again = problem.Type == api.Overloaded || resp.Status == http.StatusTooManyRequests
			err = p.explain(problem, b)
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
func (p *scoring) explain(problem *api.Problem, b *part) error {
	if problem.Status >= 500 || problem.Status == http.StatusUnauthorized || problem.Status == http.StatusForbidden || problem.Status == http.StatusTooManyRequests {
		return fmt.Errorf("%s: %w", p.client.Base(), problem)
	}
	var lines []string
	for _, e := range problem.Errors {
		where := ""
		if e.Record < len(b.lines) {
			where = fmt.Sprintf("line %d", b.lines[e.Record])
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
		lines = []string{fmt.Sprintf("between lines %d and %d: %s", b.lines[0], b.lines[len(b.lines)-1], problem.Error())}
	}
	return program.Inputf("%s: %s", p.name, strings.Join(lines, "\n  "))
}

// write writes a part's records with their predictions.
func (p *scoring) write(to io.Writer, header []byte, separator byte, b *part, first bool) error {
	var w bytes.Buffer
	reply := csv.NewReader(bytes.NewReader(b.reply))
	reply.ReuseRecord = true
	names, err := reply.Read()
	if err != nil {
		return fmt.Errorf("reading the response of %s: %w", p.client.Base(), err)
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
			return fmt.Errorf("reading the response of %s: %w", p.client.Base(), err)
		}
		w.Write(trimEnd(b.text[begin:end]))
		begin = end
		for _, f := range fields {
			w.WriteByte(separator)
			writeField(&w, f, separator)
		}
		w.WriteByte('\n')
	}
	if _, err := reply.Read(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s has responded with more predictions than there are records", p.client.Base())
	}
	if _, err := w.WriteTo(to); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
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

// separatorOf is the character that parts the header into the most fields, as the
// server decides it.
func separatorOf(header []byte) byte {
	best, most := byte(','), 0
	for _, c := range []byte{',', ';', '\t', '|'} {
		if n := bytes.Count(header, []byte{c}); n > most {
			best, most = c, n
		}
	}
	return best
}

// recordReader reads records, which may have line ends within quotes.
type recordReader struct {
	r    *bufio.Reader
	line int // the next one
	buf  []byte
}

// next returns a record with its line end, good until the next call, and its first line.
func (r *recordReader) next() (record []byte, line int, err error) {
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
		if len(r.buf) > batchBytes {
			return r.buf, line, fmt.Errorf("a record is longer than %d MiB; is a quote missing?", batchBytes>>20)
		}
	}
}
