package source

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"os"
)

// digester hashes and counts what is read through it.
type digester struct {
	r     io.Reader
	hash  hash.Hash
	size  int64
	lines int64
	most  int64 // lines
	last  byte
	end   int64 // of the last byte that is neither a line end nor a blank
}

func newDigester(r io.Reader, maxLines int64) *digester {
	return &digester{r: r, hash: sha256.New(), most: maxLines}
}

func (d *digester) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if n > 0 {
		d.hash.Write(p[:n])
		if text := len(bytes.TrimRight(p[:n], " \t\r\n")); text > 0 {
			d.end = d.size + int64(text)
		}
		d.size += int64(n)
		d.lines += int64(bytes.Count(p[:n], []byte{'\n'}))
		d.last = p[n-1]
		if d.lines > d.most {
			return n, tooManyLines(d.most)
		}
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
