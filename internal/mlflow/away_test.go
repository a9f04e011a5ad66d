package mlflow

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// gate passes connections on to a server, until it is shut.
type gate struct {
	addr, to string
	mu       sync.Mutex
	listener net.Listener
	conns    []net.Conn
	after    int64 // breaks a connection that has sent so many bytes; 0: none
}

func newGate(t *testing.T, base string) (*gate, string) {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{addr: "127.0.0.1:0", to: u.Host}
	g.open(t)
	t.Cleanup(g.shut)
	u.Host = g.addr
	return g, u.String()
}

func (g *gate) open(t *testing.T) {
	l, err := net.Listen("tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	g.mu.Lock()
	g.listener, g.addr = l, l.Addr().String()
	after := g.after
	g.mu.Unlock()
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", g.to)
			if err != nil {
				in.Close()
				continue
			}
			g.mu.Lock()
			g.conns = append(g.conns, in, out)
			g.mu.Unlock()
			go func() {
				if after > 0 {
					io.CopyN(out, in, after)
					g.shut()
				}
				io.Copy(out, in)
				out.Close()
			}()
			go func() { io.Copy(in, out); in.Close() }()
		}
	}()
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.listener.Close()
	for _, c := range g.conns {
		c.Close()
	}
	g.conns = nil
}

func TestServerGoesAway(t *testing.T) {
	base := server(t)
	f := newFixture(t, base)
	ctx := t.Context()
	g, through := newGate(t, base)
	path := f.root + "/model/model.ubj"
	old := []byte("the old file")
	if err := f.UploadArtifact(ctx, path, bytes.NewReader(old)); err != nil {
		t.Fatal(err)
	}

	// Gone in the middle of an upload, and for good: a clear error, and the old
	// file is whole.
	g.shut()
	g.after = 1 << 20
	g.open(t)
	c := newClient(t, through, Options{Tries: 3, Wait: time.Millisecond})
	err := c.UploadArtifact(ctx, path, bytes.NewReader(make([]byte, 4<<20)))
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, ErrUnavailable) || e.Tries != 3 || e.Method != http.MethodPut {
		t.Fatalf("got %v, want ErrUnavailable after 3 tries", err)
	}
	t.Log(err)
	if got, err := f.readArtifact(ctx, path, 1<<20); err != nil || !bytes.Equal(got, old) {
		t.Errorf("after half an upload the file has %d bytes, %v", len(got), err)
	}
	if list, err := f.ListArtifacts(ctx, f.root+"/model"); err != nil || len(list) != 1 {
		t.Errorf("after half an upload the folder has %v, %v", list, err)
	}

	// Back while we try: it works.
	g.after = 0
	c = newClient(t, through, Options{Wait: 100 * time.Millisecond})
	refused := &firstError{seen: make(chan struct{})}
	c.http.Transport = refused
	done := make(chan error, 1)
	go func() { done <- c.UploadArtifact(ctx, path, strings.NewReader("the new file")) }()
	<-refused.seen
	g.open(t)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got, err := f.readArtifact(ctx, path, 1<<20); err != nil || string(got) != "the new file" {
		t.Errorf("got %q, %v", got, err)
	}
	if err := c.LogBatch(ctx, f.run.ID, Batch{Tags: many(1, "x")}); err != nil {
		t.Error(err)
	}

	// Nobody waits for a server longer than its context.
	g.shut()
	ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	c = newClient(t, through, Options{Wait: time.Minute, Patience: time.Hour})
	if _, err := c.GetRun(ctx, f.run.ID); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v", err)
	}
}

// firstError tells when a call has failed.
type firstError struct {
	once sync.Once
	seen chan struct{}
}

func (f *firstError) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		f.once.Do(func() { close(f.seen) })
	}
	return resp, err
}
