package image

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
)

// Layer writes the tree as a layer to a file in dir, which must exist as long as
// the layer is used.
func (f *Files) Layer(dir string) (v1.Layer, error) {
	l, err := f.layer(dir)
	if err != nil {
		return nil, fmt.Errorf("making a layer: %w", err)
	}
	return l, nil
}

func (f *Files) layer(dir string) (*layer, error) {
	file, err := os.CreateTemp(dir, "layer-*.tar.gz")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	outer, inner := &counter{w: file, sum: sha256.New()}, sha256.New()
	// A fixed level and no time or name in the header give the same bytes each time.
	z, err := gzip.NewWriterLevel(outer, 6)
	if err != nil {
		return nil, err
	}
	if err := f.writeTar(io.MultiWriter(z, inner)); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return &layer{path: file.Name(), size: outer.n, digest: hashOf(outer.sum), diffID: hashOf(inner)}, file.Close()
}

// layer is a compressed layer in a file. (go-containerregistry's own layers read
// and compress their content again on each call.)
type layer struct {
	path           string
	size           int64
	digest, diffID v1.Hash
}

func (l *layer) Digest() (v1.Hash, error)             { return l.digest, nil }
func (l *layer) DiffID() (v1.Hash, error)             { return l.diffID, nil }
func (l *layer) Size() (int64, error)                 { return l.size, nil }
func (l *layer) MediaType() (types.MediaType, error)  { return types.OCILayer, nil }
func (l *layer) Compressed() (io.ReadCloser, error)   { return os.Open(l.path) }
func (l *layer) Uncompressed() (io.ReadCloser, error) { return uncompressed(l) }

func uncompressed(l *layer) (io.ReadCloser, error) {
	file, err := os.Open(l.path)
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(file)
	if err != nil {
		file.Close()
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{z, file}, nil
}

func hashOf(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}

// counter hashes and counts the bytes written to it.
type counter struct {
	w   io.Writer
	sum hash.Hash
	n   int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.sum.Write(p[:n])
	c.n += int64(n)
	return n, err
}
