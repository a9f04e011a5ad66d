package plainhttp

import (
	"fmt"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// maxWhole is how long a response may be to be sent in one piece. Until the client has
// taken it, it is in memory twice, of which no handler knows.
const maxWhole = 16 << 10

// sniffed is how many bytes of a body net/http looks at for its type.
const sniffed = 512

// response collects a response until it is sent in one piece, or if it is long, in chunks.
type response struct {
	conn   *conn
	header http.Header
	code   int    // 0 before WriteHeader
	typed  bool   // the handler has set Content-Type
	dated  bool   // the handler has set Date
	last   bool   // the connection is closed afterwards
	head   []byte // the status line and headers, as they were at WriteHeader
	body   []byte
	chunks bool  // some of it has been sent
	err    error // of sending it
}

func (w *response) reset() {
	clear(w.header)
	w.code, w.last, w.chunks, w.err = 0, false, false, nil
	if cap(w.head)+cap(w.body) > maxKept { // of a long response; the next may be short
		w.head, w.body = nil, nil
	}
	w.head, w.body = w.head[:0], w.body[:0]
}

func (w *response) Header() http.Header { return w.header }

func (w *response) WriteHeader(code int) {
	if code < 100 || code > 999 {
		panic(fmt.Sprintf("invalid WriteHeader code %v", code)) // as net/http does
	}
	if w.code != 0 || code < 200 {
		return
	}
	w.code = code
	out := w.head
	if code == http.StatusOK {
		out = append(out, "HTTP/1.1 200 OK\r\n"...)
	} else {
		out = append(out, "HTTP/1.1 "...)
		out = strconv.AppendInt(out, int64(code), 10)
		text := http.StatusText(code)
		if text == "" {
			text = "status code " + strconv.Itoa(code) // as net/http does
		}
		out = append(append(append(out, ' '), text...), "\r\n"...)
	}
	w.typed, w.dated = false, false
	for name, values := range w.header {
		switch name {
		case "Content-Length", "Transfer-Encoding": // finish writes it
			continue
		case "Content-Type", "Content-Encoding": // which net/http takes for a type as well
			w.typed = true
		case "Date":
			w.dated = true
		case "Connection":
			for _, v := range values {
				w.last = w.last || strings.EqualFold(v, "close")
			}
			if w.last {
				continue
			}
		}
		if !validName(name) {
			continue
		}
		for _, v := range values {
			out = append(append(out, name...), ": "...)
			out = append(append(out, oneLine(v)...), "\r\n"...)
		}
	}
	w.head = out
}

func (w *response) Write(b []byte) (int, error) {
	if w.code == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.mayHaveBody() {
		return 0, http.ErrBodyNotAllowed
	}
	if len(w.body)+len(b) > maxWhole {
		return len(b), w.pass(b)
	}
	w.body = append(w.body, b...)
	return len(b), w.err
}

func (w *response) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

func (w *response) mayHaveBody() bool {
	return w.code != http.StatusNoContent && w.code != http.StatusNotModified
}

// pass sends what there is of a long response, and b, as a chunk. It does not copy b,
// which stays the handler's until the client has taken it.
func (w *response) pass(b []byte) error {
	if w.err != nil {
		return w.err
	}
	w.conn.now = time.Now()
	out := w.head // what ends the chunk before
	if !w.chunks {
		out = append(w.fields(w.conn.now, b), "Transfer-Encoding: chunked\r\n\r\n"...)
	}
	w.chunks = true
	out = w.chunk(out, len(b))
	w.body = w.body[:0]
	if w.err = w.conn.send(out); w.err == nil {
		w.err = w.conn.send(b)
	}
	w.head = append(out[:0], "\r\n"...)
	return w.err
}

// chunk begins a chunk with what there is of the body, and of more bytes that follow.
func (w *response) chunk(out []byte, more int) []byte {
	out = append(strconv.AppendInt(out, int64(len(w.body)+more), 16), "\r\n"...)
	return append(out, w.body...)
}

// fields returns the head without its end, and without what says how long the body is,
// which begins with what there is of it, or with next.
func (w *response) fields(now time.Time, next []byte) []byte {
	out := w.head
	if !w.dated {
		out = append(appendDate(append(out, "Date: "...), now), "\r\n"...)
	}
	if !w.typed && len(w.body)+len(next) > 0 {
		begin := append(w.body, next[:min(len(next), sniffed)]...)
		out = append(append(append(out, "Content-Type: "...), http.DetectContentType(begin)...), "\r\n"...)
	}
	if w.last {
		out = append(out, "Connection: close\r\n"...)
	}
	return out
}

// finish returns the response, or what has not been sent of it, as it goes over the wire.
func (w *response) finish(now time.Time, last bool) []byte {
	if w.code == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.last = w.last || last || w.err != nil
	if w.chunks {
		out := w.head
		if len(w.body) > 0 {
			out = append(w.chunk(out, 0), "\r\n"...)
		}
		w.head = append(out, "0\r\n\r\n"...)
		return w.head
	}
	out := w.fields(now, nil)
	if w.mayHaveBody() {
		out = strconv.AppendInt(append(out, "Content-Length: "...), int64(len(w.body)), 10)
		out = append(out, "\r\n"...)
	}
	w.head = append(append(out, "\r\n"...), w.body...)
	return w.head
}

func validName(name string) bool {
	for i := range len(name) {
		if !token[name[i]] {
			return false
		}
	}
	return len(name) > 0
}

// oneLine makes sure that a value can't end its line.
func oneLine(value string) string {
	if strings.IndexByte(value, '\n') >= 0 || strings.IndexByte(value, '\r') >= 0 {
		value = strings.NewReplacer("\r", " ", "\n", " ").Replace(value)
	}
	return textproto.TrimString(value)
}

// date is the header Date of one second.
type date struct {
	second int64
	text   string
}

var today atomic.Pointer[date]

func appendDate(out []byte, now time.Time) []byte {
	d := today.Load()
	if d == nil || d.second != now.Unix() {
		d = &date{now.Unix(), now.UTC().Format(http.TimeFormat)}
		today.Store(d)
	}
	return append(out, d.text...)
}
