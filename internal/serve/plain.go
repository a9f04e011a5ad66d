package serve

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	plainSize = 8 << 10                // bytes of a plain request at most, head and body; a connection's buffer
	restTime  = time.Second            // for the rest of a request that has begun; who is slower is net/http's
	lastWords = 500 * time.Millisecond // that a client has to close a connection after its last answer
)

// plainConn is a connection of which all requests have been plain so far.
type plainConn struct {
	front *front
	net.Conn

	buf  []byte
	have int // bytes of it that have come

	readBy, writeBy time.Time // the connection's time limits

	// Used for each request anew.
	request http.Request
	body    bytes.Reader
	answer  plainAnswer
	out     []byte
}

// run answers the connection's plain requests.
func (c *plainConn) run() {
	defer c.front.forget(c)
	defer func() {
		if p := recover(); p != nil {
			c.Close()
			if p != http.ErrAbortHandler { // which the handler has logged; like net/http, nobody else's concern
				c.front.log.Error("a connection panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			}
		}
	}()
	for first := true; ; first = false {
		head, length, what := c.next(first)
		switch what {
		case ended:
			c.Close()
			return
		case other:
			c.SetDeadline(time.Time{}) // the server has its own
			select {
			case c.front.others <- &begun{c.Conn, bytes.Clone(c.buf[:c.have])}:
			case <-c.front.closed:
				c.Close()
			}
			return
		}
		if !c.reply(c.buf[head : head+length]) {
			c.end()
			return
		}
		c.have = copy(c.buf, c.buf[head+length:c.have])
	}
}

// What comes next on a connection.
const (
	plain = iota
	other // than plain
	ended
)

// next waits for a whole request. Its body is the length bytes behind head.
func (c *plainConn) next(first bool) (head, length, what int) {
	idle := c.front.server.IdleTimeout
	if first {
		idle = c.front.server.ReadHeaderTimeout
	}
	var rest time.Time // when the rest of a request that has begun is due
	for {
		now := time.Now()
		limit := c.readBy
		switch {
		case c.have > 0:
			head, length, what = plainHead(c.buf[:c.have])
			switch {
			case what == other || head > 0 && head+length > len(c.buf) || head == 0 && c.have == len(c.buf):
				return 0, 0, other
			case head > 0 && c.have >= head+length:
				return head, length, plain
			}
			if rest.IsZero() {
				rest = now.Add(min(restTime, c.front.server.ReadHeaderTimeout))
			}
			limit = rest
		case limit.Sub(now) < idle/2: // not for each request: it costs as much as decoding ten values
			limit = now.Add(idle)
		}
		if limit != c.readBy {
			c.readBy = limit
			c.SetReadDeadline(limit)
			if c.have == 0 && c.front.stops() { // this may have undone what shutdown did
				return 0, 0, ended
			}
		}
		n, err := c.Read(c.buf[c.have:])
		if c.have += n; n > 0 {
			continue
		}
		if err != nil && c.have == 0 {
			return 0, 0, ended
		}
		if err != nil {
			return 0, 0, other // net/http knows what is to be said to half a request
		}
	}
}

// reply answers a request and reports whether the connection goes on.
func (c *plainConn) reply(body []byte) bool {
	c.body.Reset(body)
	c.request.ContentLength = int64(len(body))
	a := &c.answer
	clear(a.header)
	a.code, a.text = http.StatusOK, a.text[:0]
	c.front.predict(a, &c.request)

	last := c.front.closing.Load()
	now := time.Now()
	c.out = a.append(c.out[:0], now, last)
	if most := c.front.server.WriteTimeout; c.writeBy.Sub(now) < most/2 {
		c.writeBy = now.Add(most)
		c.SetWriteDeadline(c.writeBy)
	}
	_, err := c.Write(c.out)
	if cap(a.text)+cap(c.out) > 4*plainSize { // the answer to many records; the next is to one
		a.text, c.out = nil, nil
	}
	return err == nil && !last
}

// end closes the connection so that the client can read its last answer: what it
// has sent meanwhile and nobody reads would have the system throw that away.
func (c *plainConn) end() {
	defer c.Close()
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		c.SetReadDeadline(time.Now().Add(lastWords))
		io.Copy(io.Discard, io.LimitReader(c.Conn, maxBody))
	}
}

// plainHead looks at a request's beginning. It returns where the body begins and
// how long it is, zeros where more has to come first, or other.
//
// Plain is POST /predict of HTTP/1.1 with one Host, one Content-Length and JSON,
// every line of which is beyond doubt, and without any header that would change
// how the request is read or answered.
func plainHead(b []byte) (head, length, what int) {
	const line = "POST /predict HTTP/1.1\r\n"
	if n := min(len(b), len(line)); string(b[:n]) != line[:n] {
		return 0, 0, other
	}
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return 0, 0, plain
	}
	length = -1
	host := false
	for rest := b[len(line) : end+2]; len(rest) > 0; {
		at := bytes.IndexByte(rest, '\n') // there is one: end is behind one
		colon := 0
		for colon < at && token[rest[colon]] {
			colon++
		}
		if colon == 0 || rest[colon] != ':' || rest[at-1] != '\r' {
			return 0, 0, other
		}
		name, value := rest[:colon], bytes.Trim(rest[colon+1:at-1], " \t")
		for _, c := range value {
			if c < ' ' || c > '~' {
				return 0, 0, other
			}
		}
		rest = rest[at+1:]
		switch fold := func(s string) bool { return bytes.EqualFold(name, []byte(s)) }; len(name) {
		case len("te"):
			if fold("te") {
				return 0, 0, other
			}
		case len("Host"):
			if !fold("Host") {
				break
			}
			if host || len(value) == 0 || bytes.ContainsFunc(value, func(r rune) bool { return !hostByte[r] }) {
				return 0, 0, other
			}
			host = true
		case len("Expect"):
			if fold("Expect") {
				return 0, 0, other
			}
		case len("Trailer"): // and Upgrade
			if fold("Trailer") || fold("Upgrade") {
				return 0, 0, other
			}
		case len("Connection"):
			if fold("Connection") && !bytes.EqualFold(value, []byte("keep-alive")) {
				return 0, 0, other
			}
		case len("Content-Type"):
			if fold("Content-Type") && string(value) != "application/json" && !isJSON(string(value)) {
				return 0, 0, other
			}
		case len("Content-Length"):
			if !fold("Content-Length") {
				break
			}
			n, err := strconv.ParseUint(string(value), 10, 16)
			if length >= 0 || err != nil {
				return 0, 0, other
			}
			length = int(n)
		case len("Content-Encoding"):
			if fold("Content-Encoding") {
				return 0, 0, other
			}
		case len("Transfer-Encoding"):
			if fold("Transfer-Encoding") {
				return 0, 0, other
			}
		}
	}
	if !host || length < 0 {
		return 0, 0, other
	}
	return end + 4, length, plain
}

// token are the bytes of a header's name that are beyond doubt, hostByte those of
// a Host.
var token, hostByte = func() (token, host [256]bool) {
	for c := range 128 {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-'
		token[c] = letter || c == '_'
		host[c] = letter || c == '.' || c == ':' || c == '[' || c == ']'
	}
	return token, host
}()

// plainAnswer holds an answer until it is sent in one piece.
type plainAnswer struct {
	header http.Header
	code   int
	text   []byte
}

func (a *plainAnswer) Header() http.Header { return a.header }

func (a *plainAnswer) WriteHeader(code int) { a.code = code }

func (a *plainAnswer) Write(b []byte) (int, error) {
	a.text = append(a.text, b...)
	return len(b), nil
}

// append appends the answer as it goes over the wire.
func (a *plainAnswer) append(out []byte, now time.Time, last bool) []byte {
	if a.code == http.StatusOK {
		out = append(out, "HTTP/1.1 200 OK\r\nDate: "...)
	} else {
		out = append(out, "HTTP/1.1 "...)
		out = strconv.AppendInt(out, int64(a.code), 10)
		out = append(append(append(out, ' '), http.StatusText(a.code)...), "\r\nDate: "...)
	}
	out = appendDate(out, now)
	for name, values := range a.header {
		if name == "Content-Length" { // the handler leaves it out where it writes in pieces
			continue
		}
		for _, v := range values {
			out = append(append(append(append(out, "\r\n"...), name...), ": "...), v...)
		}
	}
	if last {
		out = append(out, "\r\nConnection: close"...)
	}
	out = append(out, "\r\nContent-Length: "...)
	out = strconv.AppendInt(out, int64(len(a.text)), 10)
	return append(append(out, "\r\n\r\n"...), a.text...)
}

// dated is the header Date as it is for a second.
type dated struct {
	second int64
	text   string
}

var date atomic.Pointer[dated]

func appendDate(out []byte, now time.Time) []byte {
	d := date.Load()
	if d == nil || d.second != now.Unix() {
		d = &dated{now.Unix(), now.UTC().Format(http.TimeFormat)}
		date.Store(d)
	}
	return append(out, d.text...)
}
