package loadtest

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"syscall"
	"time"
)

// Kinds of failures; any other status than 200 is "status 4xx" and the like.
const (
	NotConnected = "not connected" // no connection could be opened
	Broken       = "broken"        // the connection ended before the whole response had arrived
	TimedOut     = "timed out"     // the whole response did not arrive in time
	WrongAnswer  = "wrong answer"  // a 200 without a prediction for each record
)

// failure is why a request failed.
type failure struct{ kind, text string }

func (f *failure) Error() string { return f.kind + ": " + f.text }

// request is a Body as it goes over the wire.
type request struct {
	wire    []byte
	records int
}

// endpoint is where and how requests are sent.
type endpoint struct {
	address string      // host:port
	tls     *tls.Config // nil for plain HTTP
	timeout time.Duration
	check   func(body []byte, records int) (version string, err error) // nil: the API's own
	accepts func(status int) bool                                      // nil: 200 only
}

// endpointOf returns the endpoint of a server's URL.
func endpointOf(u *url.URL, timeout time.Duration) *endpoint {
	e := &endpoint{timeout: timeout}
	port := u.Port()
	if u.Scheme == "https" {
		// Without offering HTTP/2, so that the server speaks HTTP/1.1.
		e.tls = &tls.Config{ServerName: u.Hostname()}
	}
	switch {
	case port != "":
	case e.tls != nil:
		port = "443"
	default:
		port = "80"
	}
	e.address = net.JoinHostPort(u.Hostname(), port)
	return e
}

// client is a user's connection. It sends one request at a time, each once.
type client struct {
	*endpoint
	opened func() // called for each connection

	tcp  *net.TCPConn
	conn net.Conn // tcp, or TLS over it; nil where there is none
	in   *bufio.Reader
	body []byte // of the last response
	last known
}

// post tells http.ReadResponse what kind of request it reads the response to.
var post = &http.Request{Method: http.MethodPost}

// send sends a request and returns the version that answered, or a *failure.
func (c *client) send(r *request) (version string, err error) {
	deadline := time.Now().Add(c.timeout)
	if c.conn != nil && !c.usable() {
		c.close()
	}
	if c.conn == nil {
		if err := c.open(deadline); err != nil {
			return "", &failure{NotConnected, short(err.Error())}
		}
	}
	// From here on the connection stays open only if the whole response is read.
	res, err := c.exchange(r, deadline)
	if err != nil {
		c.close()
		kind := Broken
		if errors.Is(err, os.ErrDeadlineExceeded) {
			kind = TimedOut
		}
		return "", &failure{kind, short(err.Error())}
	}
	if res != nil && res.Close {
		c.close()
	}
	if res == nil && c.accepts != nil && !c.accepts(http.StatusOK) {
		return "", &failure{"status 2xx", "200 OK: " + short(string(c.body))}
	}
	if res != nil && res.StatusCode != http.StatusOK && c.accepts == nil || res != nil && c.accepts != nil && !c.accepts(res.StatusCode) {
		return "", &failure{fmt.Sprintf("status %dxx", res.StatusCode/100), status(res, c.body)}
	}
	if c.check != nil {
		version, err = c.check(c.body, r.records)
	} else {
		version, err = c.last.check(c.body, r.records)
	}
	if err != nil {
		return "", &failure{WrongAnswer, short(err.Error())}
	}
	return version, nil
}

// usable reports whether nothing has arrived on the connection since the last
// response. Its end, or unsolicited bytes, mean that the server is done with it.
func (c *client) usable() bool {
	if c.in.Buffered() > 0 {
		return false
	}
	raw, err := c.tcp.SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK
	})
	return err == nil && quiet
}

func (c *client) open(deadline time.Time) error {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", c.address)
	if err != nil {
		return err
	}
	c.tcp, c.conn = conn.(*net.TCPConn), conn
	if c.tls != nil {
		secure := tls.Client(conn, c.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			c.conn = nil
			return err
		}
		c.conn = secure
	}
	if c.in == nil {
		c.in = bufio.NewReader(nil)
	}
	c.in.Reset(c.conn)
	c.opened()
	return nil
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// exchange sends a request and reads the whole response, its body into c.body. It
// returns nil for a simple 200.
func (c *client) exchange(r *request, deadline time.Time) (*http.Response, error) {
	if err := c.conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	if _, err := c.conn.Write(r.wire); err != nil {
		return nil, err
	}
	if length, ok := readSimpleHead(c.in); ok {
		c.body = slices.Grow(c.body[:0], length)[:length]
		if _, err := io.ReadFull(c.in, c.body); err != nil {
			return nil, fmt.Errorf("reading the response: %w", err)
		}
		return nil, nil
	}
	for {
		res, err := http.ReadResponse(c.in, post)
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return nil, errors.New("the server closed the connection before it responded")
			}
			return nil, err
		}
		if res.StatusCode < 200 {
			continue // informational; the response proper is yet to come
		}
		if c.body, err = readAll(res.Body, c.body[:0]); err != nil {
			return nil, fmt.Errorf("reading the response: %w", err)
		}
		return res, nil
	}
}

const maxResponse = 64 << 20 // bytes of a body

// readAll reads a whole body into buf, growing it if need be.
func readAll(r io.Reader, buf []byte) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case err == io.EOF:
			return buf, nil
		case err != nil:
			return buf, err
		case len(buf) > maxResponse:
			return buf, fmt.Errorf("longer than %d bytes", maxResponse)
		}
	}
}
