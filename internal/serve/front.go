package serve

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// For a small request net/http takes longer than decoding, scoring and answering
// it together: it makes a request, a map of headers, a context and a
// reader, starts a goroutine that watches the connection, and sets four time
// limits. Nearly all requests are POST /predict from a client that keeps its
// connection, with a short body whose length it says, and need none of that.
//
// A front reads such plain requests by itself and gives them to the same handler.
// The first request of a connection that is anything else, or that can't be told
// from it with certainty, is left to net/http with every byte that has come, and
// so is all that follows on that connection. So there is no HTTP that is not
// understood: plainHead says what is plain, net/http has the last word on the rest.
type front struct {
	net.Listener
	server  *http.Server // of what isn't plain; its time limits hold here too
	predict http.HandlerFunc
	closing *atomic.Bool // answers ask the client to connect anew
	log     *slog.Logger

	others chan net.Conn // connections for the server
	closed chan struct{}
	once   sync.Once

	mu       sync.Mutex
	conns    map[*plainConn]struct{}
	stopping bool
	all      sync.WaitGroup
}

func (s *Server) newFront(l net.Listener, server *http.Server) *front {
	return &front{
		Listener: l, server: server, predict: s.observe("predict", s.predict), closing: &s.draining, log: s.log,
		others: make(chan net.Conn), closed: make(chan struct{}), conns: map[*plainConn]struct{}{},
	}
}

// serve answers until the front is shut down or closed, like http.Server.Serve.
func (f *front) serve() error {
	failed := make(chan error, 1)
	f.all.Go(func() {
		if err := f.take(); err != nil {
			failed <- err
			f.Close()
		}
	})
	err := f.server.Serve(f)
	select {
	case cause := <-failed:
		return cause
	default:
		return err
	}
}

// take takes connections until there are no more to come.
func (f *front) take() error {
	pause := time.Duration(0)
	for {
		c, err := f.Listener.Accept()
		if err == nil {
			pause = 0
			if p := f.open(c); p != nil {
				f.all.Go(p.run)
			}
			continue
		}
		select {
		case <-f.closed:
			return nil
		default:
		}
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if passing, ok := err.(interface{ Temporary() bool }); !ok || !passing.Temporary() { // as http.Server asks
			return err
		}
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		f.log.Warn("can't take a connection", "error", err, "again in", pause.String())
		time.Sleep(pause)
	}
}

// Accept gives the server the connections that are left to it.
func (f *front) Accept() (net.Conn, error) {
	select {
	case c := <-f.others:
		return c, nil
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

// Close ends taking connections; those that there are stay.
func (f *front) Close() error {
	f.once.Do(func() { close(f.closed) })
	if err := f.Listener.Close(); !errors.Is(err, net.ErrClosed) { // shutdown may have closed it
		return err
	}
	return nil
}

// shutdown lets the requests under way be answered, the plain ones and the
// server's. Connections on which nothing is under way are closed.
func (f *front) shutdown(ctx context.Context) error {
	f.Listener.Close()
	f.mu.Lock()
	f.stopping = true
	for c := range f.conns {
		c.Conn.SetReadDeadline(time.Unix(1, 0)) // wakes who waits for a request
	}
	f.mu.Unlock()
	done := make(chan struct{})
	go func() { f.all.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		f.abort()
	}
	return f.server.Shutdown(ctx)
}

// abort closes all connections.
func (f *front) abort() {
	f.mu.Lock()
	f.stopping = true
	for c := range f.conns {
		c.Conn.Close()
	}
	f.mu.Unlock()
	f.server.Close()
}

// open makes a connection one of the front's, unless that is stopping.
func (f *front) open(c net.Conn) *plainConn {
	p := &plainConn{front: f, Conn: c, buf: make([]byte, plainSize)}
	p.request = http.Request{
		Method: http.MethodPost, URL: &url.URL{Path: "/predict"}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": jsonType}, Body: io.NopCloser(&p.body), RemoteAddr: c.RemoteAddr().String(),
	}
	p.answer.header = http.Header{}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopping {
		c.Close()
		return nil
	}
	f.conns[p] = struct{}{}
	return p
}

func (f *front) forget(c *plainConn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
}

func (f *front) stops() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stopping
}

// begun is a connection of which some bytes have been read.
type begun struct {
	net.Conn
	read []byte
}

func (b *begun) Read(p []byte) (int, error) {
	if len(b.read) == 0 {
		return b.Conn.Read(p)
	}
	n := copy(p, b.read)
	b.read = b.read[n:]
	return n, nil
}

// CloseWrite is what net/http closes first, so that a client can read to the end.
func (b *begun) CloseWrite() error {
	if c, ok := b.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return os.ErrInvalid
}
