package plainhttp

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Limiter is a listener that bounds how many connections are open. When one more
// arrives, the connection that has owed a whole request for the longest time is
// closed: it was opened and has sent nothing, or half a request, or has kept quiet
// since its last response. Bytes that trickle in don't make it younger. So whoever
// holds connections without using them loses them, and a client that sends its
// request is served. A new connection is refused with a 503 only if requests
// are being served on all others.
type Limiter struct {
	net.Listener
	most   int
	secure *tls.Config // nil: no TLS

	mu   sync.Mutex
	open []*limited

	closed, refused atomic.Int64
}

// Limit returns a Limiter of at most so many connections. It tells whether a
// connection owes a request only of an http.Server that it is attached to, or a Server.
func Limit(l net.Listener, most int) *Limiter { return &Limiter{Listener: l, most: most} }

// Secure returns the Limiter, whose connections begin with TLS from now on. Without it a
// connection costs nothing for that.
func (l *Limiter) Secure(config *tls.Config) *Limiter {
	l.secure = config
	return l
}

// Open is how many connections are open.
func (l *Limiter) Open() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(len(l.open))
}

// Closed is how many connections were closed to make room for others.
func (l *Limiter) Closed() int64 { return l.closed.Load() }

// Refused is how many new connections were refused.
func (l *Limiter) Refused() int64 { return l.refused.Load() }

// limited is a connection of a Limiter.
type limited struct {
	net.Conn
	limiter *Limiter
	place   int          // in the limiter's list; -1: closed
	since   atomic.Int64 // Unix time in ns since when it has owed a request; 0: it is being served
}

// Accept returns the next connection that there is room for.
func (l *Limiter) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nc, err
		}
		c := &limited{Conn: nc, limiter: l}
		c.since.Store(time.Now().UnixNano())
		l.mu.Lock()
		var oldest *limited
		full := len(l.open) >= l.most
		if full {
			if oldest = l.oldest(); oldest != nil {
				l.remove(oldest)
			}
		}
		if !full || oldest != nil {
			c.place = len(l.open)
			l.open = append(l.open, c)
		}
		l.mu.Unlock()
		switch {
		case oldest != nil:
			l.closed.Add(1)
			oldest.Conn.Close()
		case full:
			l.refused.Add(1)
			if l.secure != nil {
				nc.Close() // a response would have to wait for a handshake
			} else {
				refuse(nc)
			}
			continue
		}
		if l.secure != nil {
			return tls.Server(c, l.secure), nil
		}
		return c, nil
	}
}

// oldest returns the connection that has owed a request for longest; nil if all are
// being served.
func (l *Limiter) oldest() *limited {
	var found *limited
	var since int64
	for _, c := range l.open {
		if s := c.since.Load(); s != 0 && (found == nil || s < since) {
			found, since = c, s
		}
	}
	return found
}

func (l *Limiter) remove(c *limited) {
	last := len(l.open) - 1
	l.open[c.place] = l.open[last]
	l.open[c.place].place = c.place
	l.open[last] = nil
	l.open = l.open[:last]
	c.place = -1
}

const full = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: 1\r\nContent-Length: 25\r\n\r\ntoo many open connections"

// refuse responds to a connection and closes it. It never waits: what is written to
// a new connection fits into the system's buffer.
func refuse(c net.Conn) {
	c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
	_, _ = io.WriteString(c, full) // whoever is gone misses nothing
	c.Close()
}

func (c *limited) Close() error {
	c.limiter.mu.Lock()
	if c.place >= 0 {
		c.limiter.remove(c)
	}
	c.limiter.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite is what net/http closes first.
func (c *limited) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return os.ErrInvalid
}

// limitedOf returns the connection of a Limiter below another one; nil if there is none.
func limitedOf(nc net.Conn) *limited {
	switch c := nc.(type) {
	case *limited:
		return c
	case *begun:
		return limitedOf(c.Conn)
	case *tls.Conn:
		return limitedOf(c.NetConn())
	}
	return nil
}

func (c *limited) serving() { c.since.Store(0) }

func (c *limited) waiting(now time.Time) { c.since.Store(now.UnixNano()) }

type connKey struct{}

// Attach has an http.Server tell the Limiter, whose connections it serves, which of
// them are being served. A Server does it by itself.
func (l *Limiter) Attach(h *http.Server) {
	inner := h.ConnContext
	h.ConnContext = func(ctx context.Context, nc net.Conn) context.Context {
		if inner != nil {
			ctx = inner(ctx, nc)
		}
		if c := limitedOf(nc); c != nil {
			ctx = context.WithValue(ctx, connKey{}, c)
		}
		return ctx
	}
	handler := h.Handler
	if handler == nil {
		handler = http.DefaultServeMux
	}
	h.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, ok := r.Context().Value(connKey{}).(*limited)
		if !ok {
			handler.ServeHTTP(w, r)
			return
		}
		if r.ContentLength == 0 {
			c.serving()
		} else {
			// A copy: net/http looks at its own request's body when it responds, and
			// would wait for the rest of one that it doesn't know.
			r = r.WithContext(r.Context())
			r.Body = &owed{r.Body, c} // until all of it is there
		}
		defer func() { c.waiting(time.Now()) }()
		handler.ServeHTTP(w, r)
	})
}

// owed is a request's body, which a client may be slow to send.
type owed struct {
	io.ReadCloser
	conn *limited
}

func (o *owed) Read(p []byte) (int, error) {
	n, err := o.ReadCloser.Read(p)
	if err != nil {
		o.conn.serving()
	}
	return n, err
}
