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

// response collects a response until it is sent in one piece.
type response struct {
	header http.Header
	code   int    // 0 before WriteHeader
	typed  bool   // the handler has set Content-Type
	dated  bool   // the handler has set Date
	last   bool   // the connection is closed afterwards
	head   []byte // the status line and headers, as they were at WriteHeader
	body   []byte
}

func (w *response) reset() {
	clear(w.header)
	w.code, w.last = 0, false
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
	return len(b), nil
}

func (w *response) WriteString(s string) (int, error) {
	if w.code == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.mayHaveBody() {
		return 0, http.ErrBodyNotAllowed
	}
	w.body = append(w.body, s...)
	return len(s), nil
}

func (w *response) mayHaveBody() bool {
	return w.code != http.StatusNoContent && w.code != http.StatusNotModified
}

// finish returns the response as it goes over the wire.
func (w *response) finish(now time.Time, last bool) []byte {
	if w.code == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.last = w.last || last
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
