package plainhttp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"time"
)

const (
	maxRequest = 8 << 10                // bytes of a plain request, head and body; a connection's buffer
	maxRest    = time.Second            // for the rest of a request that has begun; slower ones are net/http's
	closeGrace = 500 * time.Millisecond // for a client to close a connection after its last response
	maxUnread  = 32 << 20               // bytes read and thrown away meanwhile
	maxKept    = 4 * maxRequest         // bytes of buffers that stay with a connection
)

// conn is a connection on which all requests have been plain so far.
type conn struct {
	server *Server
	net.Conn
	cancel  context.CancelFunc
	limited *limited // nil without a Limiter

	buf  []byte
	have int // bytes of buf that have arrived
	head head

	now             time.Time // when the last response was ready, at first when the connection was opened
	readBy, writeBy time.Time // the connection's time limits

	usual http.Request // what all requests have in common

	// Reset for each request.
	request  http.Request
	url      url.URL
	body     bytes.Reader
	response response
}

// run serves the connection's plain requests.
func (c *conn) run() {
	defer c.server.forget(c)
	defer c.cancel()
	defer func() {
		if p := recover(); p != nil {
			c.Close()
			//lint:ignore errorlint a panic's value is compared as net/http does
			if p != http.ErrAbortHandler { // a handler's way to close its connection, as in net/http
				c.server.log.Error("a handler panicked", "remote_addr", c.usual.RemoteAddr, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			}
		}
	}()
	for first := true; ; first = false {
		size, length, next := c.next(first)
		switch next {
		case ended:
			c.Close()
			return
		case other:
			c.SetDeadline(time.Time{}) // net/http sets its own
			select {
			case c.server.others <- &begun{c.Conn, bytes.Clone(c.buf[:c.have])}:
			case <-c.server.closed:
				c.Close()
			}
			return
		}
		if !c.serve(c.buf[size : size+length]) {
			c.end()
			return
		}
		c.have = copy(c.buf, c.buf[size+length:c.have])
	}
}

// next waits for a whole request. Its head has size bytes, its body length.
func (c *conn) next(first bool) (size, length int, v verdict) {
	h := c.server.http
	idle := h.IdleTimeout
	if first || idle == 0 {
		idle = headerTimeout(h)
	}
	var rest time.Time // when the rest of a request that has begun is due
	for {
		limit := c.readBy
		switch {
		case c.have > 0:
			size, length, v = c.head.parse(c.buf[:c.have])
			switch {
			case v == other || size > 0 && size+length > len(c.buf) || size == 0 && c.have == len(c.buf):
				return 0, 0, other
			case size > 0 && c.have >= size+length:
				return size, length, plain
			}
			if rest.IsZero() {
				wait := maxRest
				if t := headerTimeout(h); t > 0 {
					wait = min(wait, t)
				}
				rest = time.Now().Add(wait)
			}
			limit = rest
		case idle == 0:
			limit = time.Time{}
		case limit.Sub(c.now) < idle/2: // setting one for each request would cost as much as a short handler
			limit = time.Now().Add(idle)
		}
		if limit != c.readBy {
			c.readBy = limit
			c.SetReadDeadline(limit)
			if c.have == 0 && c.server.stopping.Load() { // this may have undone what Shutdown did
				return 0, 0, ended
			}
		}
		n, err := c.Read(c.buf[c.have:])
		if c.have += n; n > 0 {
			continue
		}
		if err != nil && c.have == 0 {
			misdirected(err)
			return 0, 0, ended
		}
		if err != nil {
			return 0, 0, other // net/http knows how to respond to half a request
		}
	}
}

// misdirected responds to a client that sent HTTP where TLS was expected, as net/http does.
func misdirected(err error) {
	var no tls.RecordHeaderError
	if errors.As(err, &no) && no.Conn != nil && no.RecordHeader[0] >= 'A' && no.RecordHeader[0] <= 'Z' {
		_, _ = io.WriteString(no.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
	}
}

// headerTimeout is how long a new connection may take for its first request's head.
func headerTimeout(h *http.Server) time.Duration {
	if h.ReadHeaderTimeout != 0 {
		return h.ReadHeaderTimeout
	}
	return h.ReadTimeout
}

// serve responds to a request and reports whether the connection stays open.
func (c *conn) serve(body []byte) bool {
	c.request = c.usual
	c.url = url.URL{Path: c.server.path, RawQuery: c.head.query}
	c.request.URL, c.request.RequestURI = &c.url, c.head.uri
	c.request.Host = c.head.fill(c.request.Header)
	c.request.ContentLength = int64(len(body))
	c.body.Reset(body)
	w := &c.response
	w.reset()
	if c.limited != nil {
		c.limited.serving()
	}
	c.server.handler.ServeHTTP(w, &c.request)

	c.now = time.Now()
	err := c.send(w.finish(c.now, c.server.stopping.Load()))
	if c.limited != nil {
		c.limited.waiting(c.now)
	}
	return err == nil && !w.last
}

// send writes a response, or a part of it.
func (c *conn) send(out []byte) error {
	if limit := c.server.http.WriteTimeout; limit > 0 && c.writeBy.Sub(c.now) < limit/2 {
		c.writeBy = c.now.Add(limit)
		c.SetWriteDeadline(c.writeBy)
	}
	_, err := c.Write(out)
	return err
}

// end closes the connection so that the client can read its last response: the
// system would drop that if bytes that the client has sent meanwhile stayed unread.
func (c *conn) end() {
	defer c.Close()
	if closeWrite(c.Conn) == nil {
		c.SetReadDeadline(time.Now().Add(closeGrace))
		io.Copy(io.Discard, io.LimitReader(c.Conn, maxUnread))
	}
}
