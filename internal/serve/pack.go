package serve

import (
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"mlops/internal/headers"
)

// maxWindow is the memory that unpacking a body may take besides what it unpacks to.
const maxWindow = 8 << 20

// unknownEncoding is a Content-Encoding that is not unpacked.
type unknownEncoding string

func (e unknownEncoding) Error() string {
	return fmt.Sprintf("the body has the Content-Encoding %q; send it as gzip or zstd, or uncompressed", clip([]byte(e)))
}

// unpack returns what a body unpacks to.
func (x *exchange) unpack(encoding string, body io.Reader) (io.ReadCloser, error) {
	packed := &countingReader{Reader: io.LimitReader(body, maxBody+1)}
	switch encoding {
	case "gzip", "x-gzip":
		r, err := gzip.NewReader(packed)
		if err != nil {
			return nil, packedError(packed, err)
		}
		return closing{&ratioReader{packed: packed, unpacked: r}, func() {}}, nil
	case "zstd":
		if err := x.hold(maxWindow); err != nil {
			return nil, err
		}
		r, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, packedError(packed, err)
		}
		return closing{&ratioReader{packed: packed, unpacked: r}, func() {
			r.Close()
			x.held -= maxWindow
			x.memory.give(maxWindow)
		}}, nil
	}
	return nil, unknownEncoding(encoding)
}

// packedError is the client's connection's error if there was one, else one about what
// it sent.
func packedError(packed *countingReader, err error) error {
	if packed.err != nil {
		return packed.err
	}
	return errPacked{err}
}

// closing is a reader with something to do at its end.
type closing struct {
	io.Reader
	close func()
}

func (c closing) Close() error { c.close(); return nil }

// packer compresses a response.
type packer struct {
	http.ResponseWriter
	encoding string
	to       interface {
		io.Writer
		Reset(io.Writer)
		Close() error
	}
	begun bool
}

var (
	gzips = sync.Pool{New: func() any { w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed); return w }}
	zstds = sync.Pool{New: func() any {
		w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(1<<20))
		if err != nil {
			panic(err) // constant options
		}
		return w
	}}
)

// pack returns a writer that compresses a response as the client accepts it, nil if it
// accepts nothing that we have.
func pack(w http.ResponseWriter, accept string) *packer {
	zstdQ, gzipQ := headers.Quality(accept, "zstd"), headers.Quality(accept, "gzip")
	switch {
	case zstdQ > 0 && zstdQ >= gzipQ:
		return &packer{ResponseWriter: w, encoding: "zstd", to: zstds.Get().(*zstd.Encoder)}
	case gzipQ > 0:
		return &packer{ResponseWriter: w, encoding: "gzip", to: gzips.Get().(*gzip.Writer)}
	}
	return nil
}

func (p *packer) Write(b []byte) (int, error) {
	if !p.begun {
		p.begun = true
		h := p.Header()
		h.Del("Content-Length")
		h.Set("Content-Encoding", p.encoding)
		h.Add("Vary", "Accept-Encoding")
		p.to.Reset(p.ResponseWriter)
	}
	return p.to.Write(b)
}

// Close ends the response.
func (p *packer) Close() {
	if p.begun {
		p.to.Close()
	}
	p.to.Reset(nil)
	switch to := p.to.(type) {
	case *gzip.Writer:
		gzips.Put(to)
	case *zstd.Encoder:
		zstds.Put(to)
	}
}
