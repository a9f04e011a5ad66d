// Package plainhttp serves an http.Server's handler and reads one endpoint's short
// requests itself, at a fraction of net/http's cost. It knows nothing of what the
// endpoint does.
//
// For a short request net/http often takes longer than its handler: it allocates a
// request, a map of headers, a context and a reader, starts a goroutine that
// watches the connection, and sets four time limits. A client that keeps its
// connection and says how long its body is needs none of that.
//
// A plain request is one with the endpoint's method and path, perhaps a query of
// letters, digits and the like, one Host, one Content-Length, and no header that changes how it is read or answered; head and
// body together have at most 8 KiB, and no byte of it leaves room for doubt. The
// first request on a connection that is anything else is left to net/http with
// every byte that has arrived, and so is everything that follows on that
// connection. Two parsers that disagree are how requests get smuggled past a
// proxy, so this one never guesses: net/http has the last word on everything that
// is not plain.
//
// Both ways call the same handler, http.Server.Handler, so middleware wraps it
// once and applies to both. The handler sees the same *http.Request either way:
// all headers, Host, RemoteAddr, RequestURI and the body. It must know of these
// differences:
//
//   - Request.Context is the connection's. It carries http.ServerContextKey,
//     http.LocalAddrContextKey and what BaseContext and ConnContext add, and ends
//     with the connection, not with each request. The connection is not
//     watched while the handler runs, so a client that goes away is not noticed.
//   - The request and its headers are used again for the connection's next
//     request: a handler must not keep them after it returns, nor close over them
//     in a goroutine that outlives it.
//   - The response is sent when the handler returns, with a Content-Length that is
//     always that of what was written; a long one goes out in chunks. There is no Flusher, Hijacker
//     or http.ResponseController, no trailer, and no informational (1xx) status.
//
// A Server takes TLS connections from a Limiter (see Limiter.Secure), and sets no
// http.Request.TLS then. It calls no http.Server.ConnState.
package plainhttp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Server serves an http.Server's handler.
type Server struct {
	http    *http.Server
	handler http.Handler
	method  string
	path    string
	log     *slog.Logger

	listener net.Listener
	others   chan net.Conn // connections left to net/http
	closed   chan struct{} // no more connections are accepted
	once     sync.Once

	stopping atomic.Bool
	mu       sync.Mutex // also held while stopping changes
	conns    map[*conn]struct{}
	running  sync.WaitGroup
}

// New returns a server that calls the http.Server's handler for each request, and
// reads plain requests with that method and path itself. The http.Server's time
// limits apply to both. The path is compared byte for byte, so it needs no
// escaping.
func New(s *http.Server, method, path string, log *slog.Logger) *Server {
	h := s.Handler
	if h == nil {
		h = http.DefaultServeMux
	}
	return &Server{
		http: s, handler: h, method: method, path: path, log: log,
		others: make(chan net.Conn), closed: make(chan struct{}), conns: map[*conn]struct{}{},
	}
}

// Serve accepts connections and serves them, like http.Server.Serve; it returns
// http.ErrServerClosed after Shutdown or Close. A Server serves once.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	s.listener = l
	stopping := s.stopping.Load()
	s.mu.Unlock()
	if stopping {
		l.Close()
		return http.ErrServerClosed
	}
	if limiter, ok := l.(*Limiter); ok {
		limiter.Attach(s.http)
	}
	base := context.Background()
	if s.http.BaseContext != nil {
		base = s.http.BaseContext(l)
	}
	base = context.WithValue(base, http.ServerContextKey, s.http)
	failed := make(chan error, 1)
	s.running.Go(func() {
		if err := s.accept(base, l); err != nil {
			failed <- err
			(*others)(s).Close()
		}
	})
	err := s.http.Serve((*others)(s))
	select {
	case cause := <-failed:
		return cause
	default:
		return err
	}
}

// accept accepts connections until the listener is closed.
func (s *Server) accept(base context.Context, l net.Listener) error {
	delay := time.Duration(0)
	for {
		c, err := l.Accept()
		if err == nil {
			delay = 0
			if c := s.open(base, c); c != nil {
				s.running.Go(c.run)
			}
			continue
		}
		select {
		case <-s.closed:
			return nil
		default:
		}
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if temporary, ok := err.(interface{ Temporary() bool }); !ok || !temporary.Temporary() { // as http.Server does
			return err
		}
		delay = min(max(2*delay, 5*time.Millisecond), time.Second)
		s.log.Warn("can't accept a connection", "error", err, "retry_after", delay.String())
		time.Sleep(delay)
	}
}

// Shutdown stops accepting connections, closes idle ones and waits for the
// requests being served, both plain ones and net/http's. When the context ends it
// closes the connections of the rest.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop(func(c *conn) {
		c.Conn.SetReadDeadline(time.Unix(1, 0)) // wakes a connection that waits for a request
	})
	done := make(chan struct{})
	go func() { s.running.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		s.Close()
	}
	return s.http.Shutdown(ctx)
}

// Close closes the listener and all connections immediately.
func (s *Server) Close() error {
	s.stop(func(c *conn) { c.Conn.Close() })
	return s.http.Close()
}

func (s *Server) stop(each func(*conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping.Store(true)
	if s.listener != nil {
		s.listener.Close()
	}
	for c := range s.conns {
		each(c)
	}
}

// open registers a connection, unless the server is stopping.
func (s *Server) open(ctx context.Context, nc net.Conn) *conn {
	if s.http.ConnContext != nil {
		ctx = s.http.ConnContext(ctx, nc)
	}
	ctx = context.WithValue(ctx, http.LocalAddrContextKey, nc.LocalAddr())
	ctx, cancel := context.WithCancel(ctx)
	c := &conn{server: s, Conn: nc, cancel: cancel, now: time.Now(), buf: make([]byte, maxRequest)}
	c.head.start = s.method + " " + s.path
	c.usual = *(&http.Request{
		Method: s.method, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: io.NopCloser(&c.body), RemoteAddr: nc.RemoteAddr().String(),
	}).WithContext(ctx)
	c.response.header, c.response.conn = http.Header{}, c
	c.limited = limitedOf(nc)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping.Load() {
		cancel()
		nc.Close()
		return nil
	}
	s.conns[c] = struct{}{}
	return c
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// others is the Server as the listener that net/http accepts its connections from.
type others Server

func (o *others) Accept() (net.Conn, error) {
	select {
	case c := <-o.others:
		return c, nil
	case <-o.closed:
		return nil, net.ErrClosed
	}
}

func (o *others) Addr() net.Addr { return o.listener.Addr() }

// Close ends accepting connections; those that are open stay.
func (o *others) Close() error {
	o.once.Do(func() { close(o.closed) })
	if err := o.listener.Close(); !errors.Is(err, net.ErrClosed) { // Shutdown may have closed it
		return err
	}
	return nil
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
func (b *begun) CloseWrite() error { return closeWrite(b.Conn) }

func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return os.ErrInvalid
}
