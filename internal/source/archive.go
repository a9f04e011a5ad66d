package source

import (
	"archive/zip"
	"bytes"
	"compress/bzip2"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// locate determines the file's type by its first bytes, not by its name, and sets
// t.open to a function that opens the table in it.
func (t *Table) locate(source string, opts *Options) error {
	st, err := t.file.Stat()
	if err != nil {
		return err
	}
	if st.Size() == 0 {
		return errors.New("the file is empty")
	}
	magic := make([]byte, 8)
	n, err := t.file.ReadAt(magic, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	magic = magic[:n]
	name := strings.ToLower(strings.SplitN(source, "?", 2)[0])
	t.name = name
	whole := func() (io.ReadCloser, error) {
		return uncompressed{io.NewSectionReader(t.file, 0, st.Size())}, nil
	}
	packing := packingOf(magic)
	switch {
	case bytes.HasPrefix(magic, []byte("PK\x03\x04")), bytes.HasPrefix(magic, []byte("PK\x05\x06")):
		return t.locateZip(st.Size(), opts)
	case packing != nil:
		t.packed = st.Size()
		t.name = strings.TrimSuffix(name, packing.ext)
		t.open = packing.opener(whole)
	case strings.HasSuffix(name, ".zip"):
		return notNamed(magic, "named .zip, but not a zip archive")
	case strings.HasSuffix(name, ".gz"):
		return notNamed(magic, "named .gz, but not gzip")
	default:
		t.open = whole
	}
	return nil
}

// notNamed is the error of a file that is something else than its name says.
func notNamed(start []byte, what string) error {
	if is := foreign(start, ""); is != "" {
		return fmt.Errorf("%s: %s", what, is)
	}
	return errors.New(what)
}

// packing is a way to compress one file.
type packing struct {
	magic string
	ext   string
	open  func(io.Reader) (io.ReadCloser, error)
}

var packings = []*packing{
	{"\x1f\x8b", ".gz", func(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) }},
	{"BZh", ".bz2", func(r io.Reader) (io.ReadCloser, error) { return io.NopCloser(bzip2.NewReader(r)), nil }},
	{"\x28\xb5\x2f\xfd", ".zst", func(r io.Reader) (io.ReadCloser, error) {
		// One goroutine, and no more memory than a level of 19 needs.
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}},
}

// packingOf returns how a file with that start is compressed, or nil.
func packingOf(start []byte) *packing {
	for _, p := range packings {
		if bytes.HasPrefix(start, []byte(p.magic)) && (p.ext != ".bz2" || len(start) > 3 && start[3] >= '1' && start[3] <= '9') {
			return p
		}
	}
	return nil
}

// opener returns what opens the compressed file that another function opens.
func (p *packing) opener(packed func() (io.ReadCloser, error)) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		in, err := packed()
		if err != nil {
			return nil, err
		}
		out, err := p.open(in)
		if err != nil {
			in.Close()
			return nil, err
		}
		return both{out, in}, nil
	}
}

// both is a reader that closes what it reads from too.
type both struct {
	io.ReadCloser
	from io.Closer
}

func (b both) Close() error { return errors.Join(b.ReadCloser.Close(), b.from.Close()) }

// uncompressed is a table that can be read from any position.
type uncompressed struct{ *io.SectionReader }

func (uncompressed) Close() error { return nil }

func (t *Table) locateZip(size int64, opts *Options) error {
	z, err := zip.NewReader(t.file, size)
	if err != nil {
		return fmt.Errorf("the zip archive is truncated or damaged: %w", err)
	}
	if kind := documentOf(z.File); kind != "" {
		return errors.New(unreadable(kind))
	}
	f, err := pick(z.File, opts.Member)
	if err != nil && opts.Guess && opts.Member == "" {
		if f = largest(z.File); f != nil {
			t.Member, err = f.Name, nil
		}
	}
	if err != nil {
		return err
	}
	if f.Flags&1 != 0 {
		return fmt.Errorf("%s in the archive is encrypted", f.Name)
	}
	t.name, t.packed = f.Name, int64(f.CompressedSize64)
	t.open = func() (io.ReadCloser, error) {
		in, err := f.Open()
		if err != nil {
			return nil, fmt.Errorf("opening %s in the archive: %w", f.Name, err)
		}
		return in, nil
	}
	in, err := t.open()
	if err != nil {
		return err
	}
	defer in.Close()
	start := make([]byte, 8)
	n, err := io.ReadFull(in, start)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return archiveError(err)
	}
	if p := packingOf(start[:n]); p != nil {
		t.name, t.open = strings.TrimSuffix(f.Name, p.ext), p.opener(t.open)
	}
	return nil
}

// junk reports whether a member is one that a program added for itself.
func junk(f *zip.File) bool {
	base := path.Base(strings.ReplaceAll(f.Name, "\\", "/"))
	return f.FileInfo().IsDir() || strings.HasPrefix(base, ".") || strings.HasPrefix(f.Name, "__MACOSX/") ||
		strings.EqualFold(base, "thumbs.db") || strings.EqualFold(base, "desktop.ini")
}

// extension is a member's, without that of its compression.
func extension(name string) string {
	name = strings.ToLower(name)
	for _, p := range packings {
		name = strings.TrimSuffix(name, p.ext)
	}
	return path.Ext(name)
}

// aboutTable reports whether a member is rather about a table than one.
func aboutTable(f *zip.File) bool {
	base := strings.ToLower(path.Base(f.Name))
	switch extension(base) {
	case ".md", ".names", ".pdf", ".html", ".htm", ".doc", ".docx", ".rtf", ".json", ".xml", ".py", ".r", ".ipynb", ".png", ".jpg":
		return true
	}
	for _, word := range []string{"readme", "license", "licence", "index", "copying"} {
		if strings.HasPrefix(base, word) {
			return true
		}
	}
	return false
}

// pick returns the archive's member with that name (its path or the last part of
// it). Without a name it is the only table: the only CSV or TSV file, or else the
// only file that may be one.
func pick(files []*zip.File, name string) (*zip.File, error) {
	var fit, tables, others []*zip.File
	var names []string
	for _, f := range files {
		if name != "" && f.Name == name && !f.FileInfo().IsDir() {
			fit = append(fit, f)
		}
		if junk(f) {
			continue
		}
		if len(names) < 20 {
			names = append(names, f.Name)
		}
		switch ext := extension(f.Name); {
		case ext == ".csv" || ext == ".tsv" || ext == ".tab":
			tables = append(tables, f)
		case !aboutTable(f):
			others = append(others, f)
		}
	}
	if name != "" && len(fit) == 0 {
		for _, f := range files {
			if path.Base(f.Name) == name && !junk(f) {
				fit = append(fit, f)
			}
		}
	}
	if name == "" {
		if fit = tables; len(fit) == 0 && len(others) == 1 {
			fit = others
		}
	}
	list := strings.Join(names, ", ")
	switch {
	case len(fit) == 1:
		return fit[0], nil
	case len(names) == 0:
		return nil, errors.New("the archive contains no file")
	case name != "" && len(fit) == 0:
		return nil, fmt.Errorf("the archive contains no %s, only: %s", name, list)
	case name != "":
		return nil, fmt.Errorf("the archive contains %s more than once: %s", name, list)
	case len(fit) == 0 && len(others) == 0:
		return nil, fmt.Errorf("the archive contains no CSV file, only: %s", list)
	case len(fit) == 0:
		return nil, fmt.Errorf("the archive contains no CSV file, and several that may be tables: %s; name one: source: {member: %q}", list, others[0].Name)
	}
	return nil, fmt.Errorf("the archive contains several CSV files, and source.member names none: %s; name one: source: {member: %q}", list, fit[0].Name)
}

// largest returns the largest member that may be a table.
func largest(files []*zip.File) (best *zip.File) {
	for _, f := range files {
		if !junk(f) && (best == nil || f.UncompressedSize64 > best.UncompressedSize64) {
			best = f
		}
	}
	return best
}

// archiveError explains a decompressor's error.
func archiveError(err error) error {
	var corrupt flate.CorruptInputError
	var bzip bzip2.StructuralError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the archive is truncated: it ends within the table")
	case errors.Is(err, zip.ErrChecksum), errors.Is(err, gzip.ErrChecksum), errors.Is(err, zstd.ErrCRCMismatch):
		return errors.New("the archive is damaged: the table's checksum is wrong")
	case errors.As(err, &corrupt), errors.Is(err, gzip.ErrHeader), errors.As(err, &bzip), errors.Is(err, zstd.ErrMagicMismatch):
		return fmt.Errorf("the archive is damaged: %w", err)
	}
	return err
}
