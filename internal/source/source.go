// Package source reads a data set's table from a file, an S3 object or a web
// address; the table may be uncompressed, in gzip or in a zip archive. It gives
// the table's digest and its records, each with its line number, in memory that
// doesn't grow with the table.
//
// A table is read at least twice: once completely for its digest, so that a
// truncated archive is detected before any record is used, then for its records,
// from any position where a record starts.
package source

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"mlops/internal/charset"
	"mlops/internal/dataset"
)

// Error says that the source itself is wrong, so that another try can't help:
// there is nothing at the address, or not the expected table.
type Error struct {
	Source string // without credentials
	Err    error
}

func (e *Error) Error() string { return fmt.Sprintf("source %s: %v", e.Source, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// Options control how a source is opened.
type Options struct {
	Columns []string // headers that the table must have, in the order of a record's fields; none: those of its header
	Member  string   // the table's name in an archive with several
	Named   string   // a column that the header has, where it is guessed; empty: not known
	Guess   bool     // find out what isn't given: the largest member of an archive, the separator, the encoding, whether there is a header
	SHA256  string   // hex; if set, the table's bytes must have this digest

	Separator byte     // between fields; 0: a comma, or a tab in a file named .tsv
	Encoding  string   // one of dataset.Encodings; empty: UTF-8, or UTF-16 where the table's first bytes say so
	NoHeader  bool     // the first line is a record: the columns are all that the table has, in its order
	Skip      int      // lines before the header that are none of the table's
	Decimal   string   // of the numbers that a Parquet file's become; empty: a point
	Ignore    []string // headers of columns that are left out
	IgnoreAll bool     // every column that is not in Columns is left out

	// Bounds of the table, 0: those that a spec has by default.
	MaxLines int64
	MaxSize  int64 // bytes, unpacked
	MaxRatio int64 // of the unpacked to the packed size

	S3 S3

	// Parquet reads a Parquet file whose numbers the text spells with decimal; nil: such a
	// file is refused. It is internal/parquet's Open, which most programs don't need.
	Parquet func(file io.ReaderAt, size int64, decimal string) (Rows, error)

	TempDir  string        // for copies of remote sources; empty: the system's
	MaxBytes int64         // size limit of a remote source; 0: 8 GiB
	Tries    int           // to read a remote source; 0: 5
	Wait     time.Duration // before the second try, doubled each time; 0: 1 s
	Idle     time.Duration // time without data after which a remote source is tried again; 0: 30 s

	Logger *slog.Logger
}

// For returns the options with what a data set's spec says of its table.
func (o Options) For(spec *dataset.Spec) Options {
	s := &spec.Source
	o.Member, o.Separator, o.NoHeader = s.Member, s.Separates(), s.Header == dataset.NoHeader
	o.Encoding, _ = dataset.Encoding(s.Encoding) // a valid spec's is known
	o.Skip = s.Skip
	o.Decimal, o.Ignore, o.IgnoreAll = s.Decimal, s.Ignore.Names, s.Ignore.All
	o.MaxLines, o.MaxSize, o.MaxRatio = int64(s.MaxLines), int64(s.MaxSize), int64(s.MaxRatio)
	o.Columns = nil
	for i := range spec.Columns {
		o.Columns = append(o.Columns, spec.Columns[i].Header())
	}
	return o
}

// S3 names a server of S3 objects and the credentials for it.
type S3 struct {
	Endpoint  string // URL; empty: Amazon's
	AccessKey string // empty: anonymous
	SecretKey string
	Region    string // empty: looked up

	Transport http.RoundTripper // nil: the usual one
}

func (o *Options) defaults() {
	if o.MaxBytes == 0 {
		o.MaxBytes = 8 << 30
	}
	if o.MaxLines == 0 {
		o.MaxLines = dataset.DefaultMaxLines
	}
	if o.MaxSize == 0 {
		o.MaxSize = int64(dataset.DefaultMaxSize)
	}
	if o.MaxRatio == 0 {
		o.MaxRatio = dataset.DefaultMaxRatio
	}
	if o.Tries == 0 {
		o.Tries = 5
	}
	if o.Wait == 0 {
		o.Wait = time.Second
	}
	if o.Idle == 0 {
		o.Idle = 30 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Table is a complete table whose header has the expected columns.
type Table struct {
	Source string   // its address without credentials
	Digest string   // SHA-256 of its text in hex, decompressed and in UTF-8
	Size   int64    // bytes of its text
	Lines  int64    // physical lines, including the header; of a Parquet file its rows
	Names  []string // the header's fields, without blanks around them
	Member string   // of the archive; empty: the file is no archive of several members

	file     *os.File
	unpacked *os.File // a Parquet file out of an archive
	rows     Rows     // of a Parquet file; nil: the table is text
	stat     os.FileInfo
	packed   int64  // bytes of the compressed table, 0 if it is not compressed
	private  bool   // a copy that no other process can change
	name     string // of the file, or of the archive's member
	open     func() (io.ReadCloser, error)
	encoding string // of the bytes that open gives
	cr       bool   // its lines end in carriage returns alone, as those of an old Mac
	explicit bool   // the spec names the encoding
	header   header
}

// Separator returns the byte between the table's fields.
func (t *Table) Separator() byte { return t.header.sep }

// Encoding returns the encoding that the table is read in, "" for UTF-8.
func (t *Table) Encoding() string { return t.encoding }

// Skipped is how many lines before the header are none of the table's.
func (t *Table) Skipped() int { return t.header.skip }

// NoHeader reports whether the first line is a record. Names then are made up.
func (t *Table) NoHeader() bool { return t.header.none }

// ByRow reports whether records are numbered by row, from 1, and not by line: those of
// a Parquet file are.
func (t *Table) ByRow() bool { return t.header.byRow }

// Open finds the table at a URL (file://, s3://bucket/key, https://, http://)
// or a path, reads it once and checks its header. An error of the source itself
// is an *Error.
func Open(ctx context.Context, source string, opts Options) (*Table, error) {
	opts.defaults()
	t := &Table{Source: Redact(source)}
	if err := t.find(ctx, source, &opts); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

func (t *Table) find(ctx context.Context, source string, opts *Options) error {
	if err := t.fetch(ctx, source, opts); err != nil {
		return err
	}
	if err := t.locate(source, opts); err != nil {
		return t.wrong(err)
	}
	t.bound(opts)
	if err := t.findParquet(ctx, opts); err != nil {
		return err
	}
	if err := t.scan(ctx, opts); err != nil {
		return err
	}
	return t.Unchanged()
}

// wrong marks err as an error of the source itself.
func (t *Table) wrong(err error) error { return &Error{Source: t.Source, Err: err} }

// fetch opens the local file, or a copy of the remote one.
func (t *Table) fetch(ctx context.Context, source string, opts *Options) error {
	scheme, _, ok := strings.Cut(source, "://")
	if !ok {
		return t.local(source)
	}
	u, err := url.Parse(source)
	if err != nil {
		// url.Parse's own error quotes the whole address, secrets and all.
		return t.wrong(errors.New("the address is not a URL"))
	}
	switch strings.ToLower(scheme) {
	case "file":
		if u.Host != "" && u.Host != "localhost" {
			return t.wrong(fmt.Errorf("a file:// URL must have three slashes before the path; this one names the host %q", u.Host))
		}
		return t.local(u.Path)
	case "http", "https":
		return t.download(ctx, &web{url: u, client: webClient(u, opts)}, opts)
	case "s3":
		o, err := newObject(u, opts.S3)
		if err != nil {
			return t.wrong(err)
		}
		return t.download(ctx, o, opts)
	}
	return t.wrong(fmt.Errorf("unknown scheme %q, want file, s3, https or http", scheme))
}

func (t *Table) local(path string) error {
	if path == "" {
		return t.wrong(errors.New("no path given"))
	}
	// Checked before it is opened: opening a named pipe would wait for a writer.
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return t.wrong(errors.New("no such file"))
	case err != nil:
		return t.wrong(err)
	case !st.Mode().IsRegular():
		return t.wrong(fmt.Errorf("is not a regular file (%s)", st.Mode().Type()))
	}
	if t.file, err = os.Open(filepath.Clean(path)); err != nil {
		return t.wrong(err)
	}
	t.stat, err = t.file.Stat()
	return err
}

// Unchanged returns an error if the file was written to since it was opened, since
// its digest would then not match its records.
func (t *Table) Unchanged() error {
	if t.private {
		return nil
	}
	st, err := t.file.Stat()
	if err != nil {
		return fmt.Errorf("checking %s: %w", t.Source, err)
	}
	if st.Size() != t.stat.Size() || !st.ModTime().Equal(t.stat.ModTime()) {
		return t.wrong(errors.New("the file changed while it was read"))
	}
	return nil
}

// Close closes the file. Its readers can't be used afterwards.
func (t *Table) Close() error {
	if t.file == nil {
		return nil
	}
	if t.unpacked != nil {
		t.unpacked.Close()
	}
	return t.file.Close()
}

// scan reads the table once: header, digest, size, lines.
func (t *Table) scan(ctx context.Context, opts *Options) error {
	in, err := t.open()
	if err != nil {
		return t.wrong(archiveError(err))
	}
	defer in.Close()
	packed := bufio.NewReader(&contextReader{ctx, in})
	if err := t.settleEncoding(packed, opts); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return t.wrong(err)
	}
	if t.rows == nil {
		if err := t.settleLines(); err != nil {
			return t.wrong(archiveError(err))
		}
	}
	var raw hash.Hash // of the bytes, where they are not the text
	var from io.Reader = packed
	mostLines := opts.MaxLines
	switch {
	case t.rows != nil:
		if mostLines = math.MaxInt64; opts.SHA256 != "" { // its rows were counted; a cell may have lines
			raw = sha256.New()
			if err := t.hashFile(ctx, raw); err != nil {
				return err
			}
		}
	case opts.SHA256 != "" && (charset.Of(t.encoding) != nil || t.cr):
		raw = sha256.New()
		from = io.TeeReader(packed, raw)
	}
	d := newDigester(t.text(from), mostLines)
	if err := t.readHeader(d, opts); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return t.wrong(err)
	}
	if _, err := io.Copy(io.Discard, d); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return t.wrong(archiveError(err))
	}
	t.Digest = hex.EncodeToString(d.hash.Sum(nil))
	t.Size = d.size
	t.Lines = d.lines
	if d.size > 0 && d.last != '\n' {
		t.Lines++
	}
	if t.rows != nil {
		t.Lines = t.rows.Rows()
	}
	if t.Lines > opts.MaxLines {
		return t.wrong(tooManyLines(opts.MaxLines))
	}
	if d.end <= t.header.end.Offset && (t.header.width > 1 || t.Size == t.header.end.Offset) {
		return t.wrong(errors.New("the table has a header but no record"))
	}
	digest := t.Digest
	if raw != nil {
		digest = hex.EncodeToString(raw.Sum(nil))
	}
	if opts.SHA256 != "" && digest != opts.SHA256 {
		return t.wrong(fmt.Errorf("the table's SHA-256 is %s, want %s", digest, opts.SHA256))
	}
	return nil
}

// hashFile hashes the bytes of a Parquet file.
func (t *Table) hashFile(ctx context.Context, to io.Writer) error {
	file := t.file
	if t.unpacked != nil {
		file = t.unpacked
	}
	if _, err := io.Copy(to, &contextReader{ctx, io.NewSectionReader(file, 0, math.MaxInt64)}); err != nil {
		return fmt.Errorf("reading %s: %w", t.Source, err)
	}
	return nil
}

// settleEncoding decides which encoding the table is read in, by the spec or by
// its first bytes.
func (t *Table) settleEncoding(in *bufio.Reader, opts *Options) error {
	start, err := in.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return archiveError(err)
	}
	err = nil
	if len(start) == 0 {
		return errors.New("the table is empty")
	}
	if t.rows != nil {
		t.encoding, t.explicit = "", true
		return nil
	}
	t.encoding, t.explicit = opts.Encoding, opts.Encoding != ""
	if !t.explicit {
		t.encoding = charset.Declared(start)
	}
	what := foreign(start, t.encoding)
	if opts.Guess && t.encoding == "" {
		if order := utf16Order(start); order != "" {
			t.encoding, what = order, ""
		} else if what == "" && bytes.IndexByte(start, 0) < 0 { // else it is no text
			t.encoding, err = t.guessEncoding()
		}
	}
	if what != "" {
		return errors.New(what)
	}
	return err
}

// mostForeign is how many lines that are not UTF-8 an encoding is guessed by.
const mostForeign = 1000

// guessEncoding reads the table and guesses by its lines that are not UTF-8: "" if there
// are none, or at least as many with foreign letters that are: the table is one of UTF-8
// with lines of another, which no encoding reads.
func (t *Table) guessEncoding() (string, error) {
	in, err := t.open()
	if err != nil {
		return "", archiveError(err)
	}
	defer in.Close()
	lines := bufio.NewReaderSize(in, MaxRecord)
	var guess encodingGuess
	var foreign, fine int
	for {
		line, err := lines.ReadSlice('\n')
		if err == nil || errors.Is(err, io.EOF) { // a longer line may be cut within a character
			switch ascii := isASCII(line); {
			case ascii:
			case utf8.Valid(line):
				fine++
			default:
				if foreign++; foreign <= mostForeign {
					guess.add(line)
				}
			}
		}
		switch {
		case errors.Is(err, io.EOF) && foreign <= fine:
			return "", nil
		case errors.Is(err, io.EOF):
			return guess.name(), nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return "", archiveError(err)
		}
	}
}

func isASCII(line []byte) bool {
	for _, c := range line {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// contextReader ends a long read when the context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// Redact returns an address without the parts that may be secret: user, password,
// query (which holds a presigned address's signature) and fragment.
func Redact(source string) string {
	if !strings.Contains(source, "://") {
		return source
	}
	u, err := url.Parse(source)
	if err != nil {
		scheme, _, _ := strings.Cut(source, "://")
		return scheme + "://(not a URL)"
	}
	u.User, u.RawQuery, u.Fragment, u.RawFragment, u.ForceQuery = nil, "", "", "", false
	return u.String()
}
