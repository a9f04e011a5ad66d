package source

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"strings"
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
	magic := make([]byte, 4)
	n, err := t.file.ReadAt(magic, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	magic = magic[:n]
	name := strings.ToLower(strings.SplitN(source, "?", 2)[0])
	t.name = strings.TrimSuffix(name, ".gz")
	switch {
	case bytes.HasPrefix(magic, []byte("PK\x03\x04")), bytes.HasPrefix(magic, []byte("PK\x05\x06")):
		return t.locateZip(st.Size(), opts)
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		t.open = func() (io.ReadCloser, error) {
			return gzip.NewReader(io.NewSectionReader(t.file, 0, st.Size()))
		}
	case strings.HasSuffix(name, ".zip"):
		return errors.New("named .zip, but not a zip archive")
	case strings.HasSuffix(name, ".gz"):
		return errors.New("named .gz, but not gzip")
	default:
		t.open = func() (io.ReadCloser, error) {
			return uncompressed{io.NewSectionReader(t.file, 0, st.Size())}, nil
		}
	}
	return nil
}

// uncompressed is a table that can be read from any position.
type uncompressed struct{ *io.SectionReader }

func (uncompressed) Close() error { return nil }

func (t *Table) locateZip(size int64, opts *Options) error {
	z, err := zip.NewReader(t.file, size)
	if err != nil {
		return fmt.Errorf("the zip archive is truncated or damaged: %w", err)
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
	t.name = f.Name
	t.open = func() (io.ReadCloser, error) {
		in, err := f.Open()
		if err != nil {
			return nil, fmt.Errorf("opening %s in the archive: %w", f.Name, err)
		}
		return in, nil
	}
	return nil
}

// pick returns the archive's member with that name (its path or the last part of
// it), or the only CSV file if no name is given.
func pick(files []*zip.File, name string) (*zip.File, error) {
	var fit []*zip.File
	var names []string
	for _, f := range files {
		if f.FileInfo().IsDir() {
			continue
		}
		if len(names) < 20 {
			names = append(names, f.Name)
		}
		if name == "" && strings.EqualFold(path.Ext(f.Name), ".csv") || name != "" && f.Name == name {
			fit = append(fit, f)
		}
	}
	if name != "" && len(fit) == 0 {
		for _, f := range files {
			if path.Base(f.Name) == name && !f.FileInfo().IsDir() {
				fit = append(fit, f)
			}
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
	case len(fit) == 0:
		return nil, fmt.Errorf("the archive contains no CSV file, only: %s", list)
	}
	return nil, fmt.Errorf("the archive contains several CSV files, and source.member names none: %s", list)
}

// largest returns the largest member that may be a table.
func largest(files []*zip.File) (best *zip.File) {
	for _, f := range files {
		name := path.Base(f.Name)
		if f.FileInfo().IsDir() || strings.HasPrefix(name, ".") || strings.HasPrefix(f.Name, "__MACOSX/") {
			continue
		}
		if best == nil || f.UncompressedSize64 > best.UncompressedSize64 {
			best = f
		}
	}
	return best
}

// archiveError explains a decompressor's error.
func archiveError(err error) error {
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the archive is truncated: it ends within the table")
	case errors.Is(err, zip.ErrChecksum), errors.Is(err, gzip.ErrChecksum):
		return errors.New("the archive is damaged: the table's checksum is wrong")
	case errors.As(err, &corrupt), errors.Is(err, gzip.ErrHeader):
		return fmt.Errorf("the archive is damaged: %w", err)
	}
	return err
}

// digester hashes and counts what is read through it.
type digester struct {
	r     io.Reader
	hash  hash.Hash
	size  int64
	lines int64
	last  byte
}

func newDigester(r io.Reader) *digester { return &digester{r: r, hash: sha256.New()} }

func (d *digester) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if n > 0 {
		d.hash.Write(p[:n])
		d.size += int64(n)
		d.lines += int64(bytes.Count(p[:n], []byte{'\n'}))
		d.last = p[n-1]
	}
	return n, err
}

// temporary creates a file that vanishes once it is closed, even if the process is
// killed: its name is removed at once.
func temporary(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "mlops-source-*")
	if err != nil {
		return nil, fmt.Errorf("creating a temporary file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, fmt.Errorf("creating a temporary file: %w", err)
	}
	return f, nil
}

// foreign says what the first bytes of a table are, where they are no text of the
// encoding; "" if they may be.
func foreign(start []byte, encoding string) string {
	if bytes.HasPrefix(bytes.TrimSpace(bytes.TrimPrefix(start, []byte("\xef\xbb\xbf"))), []byte("<")) {
		return "not a CSV table: it starts like a web page"
	}
	return ""
}
