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

// maxWhole is how long a response may be to be sent in one piece: it is in memory until
// the client has taken it.
const maxWhole = 512 << 10

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
	w.body = append(w.body, b...)
	return len(b), w.flush()
}

func (w *response) WriteString(s string) (int, error) {
	if w.code == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.mayHaveBody() {
		return 0, http.ErrBodyNotAllowed
	}
	w.body = append(w.body, s...)
	return len(s), w.flush()
}

func (w *response) mayHaveBody() bool {
	return w.code != http.StatusNoContent && w.code != http.StatusNotModified
}

// flush sends what there is of a long response as a chunk.
func (w *response) flush() error {
	if len(w.body) <= maxWhole || w.err != nil {
		return w.err
	}
	w.conn.now = time.Now()
	out := w.head[:0]
	if !w.chunks {
		out = append(w.fields(w.conn.now), "Transfer-Encoding: chunked\r\n\r\n"...)
	}
	w.chunks = true
	w.head = w.chunk(out)
	w.body = w.body[:0]
	w.err = w.conn.send(w.head)
	return w.err
}

// chunk appends what there is of the body.
func (w *response) chunk(out []byte) []byte {
	out = append(strconv.AppendInt(out, int64(len(w.body)), 16), "\r\n"...)
	return append(append(out, w.body...), "\r\n"...)
}

// fields returns the head without its end, and without what says how long the body is.
func (w *response) fields(now time.Time) []byte {
	out := w.head
	if !w.dated {
		out = append(appendDate(append(out, "Date: "...), now), "\r\n"...)
	}
	if !w.typed && len(w.body) > 0 {
		out = append(append(append(out, "Content-Type: "...), http.DetectContentType(w.body)...), "\r\n"...)
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
		out := w.head[:0]
		if len(w.body) > 0 {
			out = w.chunk(out)
		}
		w.head = append(out, "0\r\n\r\n"...)
		return w.head
	}
	out := w.fields(now)
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
