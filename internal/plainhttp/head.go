package plainhttp

import (
	"bytes"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

// verdict is what comes next on a connection.
type verdict int

const (
	plain verdict = iota // a plain request, as far as it has arrived
	other                // anything else
	ended                // nothing
)

// maxFields is how many header fields a plain request may have.
const maxFields = 64

// head parses the heads of a connection's requests. Clients send nearly the same
// fields each time, so those that stay the same, byte for byte, are not parsed
// again.
type head struct {
	start  string  // of the request line, up to the path
	line   []byte  // the request line of the last request
	query  string  // of that request
	uri    string  // the path and the query as they arrived
	fields []field // the request's, then those of earlier requests that had more
	n      int     // fields of the request
}

// field is a header field.
type field struct {
	line  []byte   // as it arrived, with its line end
	name  string   // canonical
	value string   // without the spaces around it
	list  []string // the value alone, as http.Header wants it
	kind  kind
	bytes int // for contentLength
}

type kind int

const (
	ordinary kind = iota
	host
	contentLength
)

// parse looks at the beginning of a request. It returns the size of its head and
// the length of its body, zeros if more has to arrive first, or other.
func (h *head) parse(b []byte) (size, length int, v verdict) {
	if size, v = h.parseLine(b); size == 0 {
		return 0, 0, v
	}
	h.n, length = 0, -1
	hosts := 0
	for {
		after := size + bytes.IndexByte(b[min(size, len(b)):], '\n') + 1
		if after <= size {
			return 0, 0, plain
		}
		line := b[size:after]
		size = after
		if string(line) == "\r\n" {
			break
		}
		if h.n == len(h.fields) {
			if h.n == maxFields {
				return 0, 0, other
			}
			h.fields = append(h.fields, field{})
		}
		f := &h.fields[h.n]
		if !bytes.Equal(f.line, line) && !f.parse(line) {
			return 0, 0, other
		}
		h.n++
		switch f.kind {
		case host:
			hosts++
		case contentLength:
			if length >= 0 {
				return 0, 0, other
			}
			length = f.bytes
		}
	}
	if hosts != 1 || length < 0 {
		return 0, 0, other
	}
	return size, length, plain
}

// lineEnd is what a request line ends with.
const lineEnd = " HTTP/1.1\r\n"

// parseLine reads the request line and returns its size, 0 if it has not arrived or is
// not plain.
func (h *head) parseLine(b []byte) (size int, v verdict) {
	if bytes.HasPrefix(b, h.line) && len(h.line) > 0 {
		return len(h.line), plain
	}
	n := len(h.start)
	if len(b) <= n {
		if !strings.HasPrefix(h.start, string(b)) {
			return 0, other
		}
		return 0, plain
	}
	if string(b[:n]) != h.start {
		return 0, other
	}
	end := n
	if b[n] == '?' {
		for end++; end < len(b) && queryByte[b[end]]; end++ {
		}
	}
	rest := b[end:min(len(b), end+len(lineEnd))]
	if string(rest) != lineEnd[:len(rest)] || end == n+1 && len(rest) > 0 { // net/http notes that a query is empty
		return 0, other
	}
	if len(rest) < len(lineEnd) {
		return 0, plain
	}
	path := h.start[strings.IndexByte(h.start, ' ')+1:]
	h.line = append(h.line[:0], b[:end+len(lineEnd)]...)
	h.uri, h.query = path+string(b[n:end]), string(b[min(n+1, end):end])
	return len(h.line), plain
}

// parse reads a field from its line, and reports whether a plain request may have it.
func (f *field) parse(line []byte) bool {
	colon := 0
	for colon < len(line) && token[line[colon]] {
		colon++
	}
	if colon == 0 || line[colon] != ':' || len(line) < colon+3 || line[len(line)-2] != '\r' {
		return false
	}
	value := trim(line[colon+1 : len(line)-2])
	for _, c := range value {
		if c < ' ' || c > '~' {
			return false
		}
	}
	known := len(f.line) > colon && bytes.Equal(f.line[:colon+1], line[:colon+1])
	f.line = append(f.line[:0], line...)
	if !known {
		f.name = textproto.CanonicalMIMEHeaderKey(string(line[:colon]))
	}
	f.value = string(value)
	if f.list == nil {
		f.list = make([]string, 1)
	}
	f.kind = ordinary
	switch f.name {
	case "Host":
		f.kind = host
		return len(value) > 0 && !bytes.ContainsFunc(value, func(r rune) bool { return !hostByte[r] })
	case "Content-Length":
		n, err := strconv.ParseUint(f.value, 10, 16)
		f.kind, f.bytes = contentLength, int(n)
		return err == nil
	case "Connection":
		return bytes.EqualFold(value, []byte("keep-alive"))
	case "Te", "Expect", "Trailer", "Upgrade", "Transfer-Encoding": // change how the request is read or answered
		return false
	case "Pragma": // net/http makes a Cache-Control of it
		return false
	}
	return true
}

// trim removes spaces and tabs at both ends.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for n := len(b); n > 0 && (b[n-1] == ' ' || b[n-1] == '\t'); n-- {
		b = b[:n-1]
	}
	return b
}

// fill puts the request's fields into a header and returns the host.
func (h *head) fill(header http.Header) (hostname string) {
	clear(header)
	want := 0
	for i := range h.fields[:h.n] {
		f := &h.fields[i]
		if f.kind == host {
			hostname = f.value
			continue
		}
		f.list[0] = f.value // an earlier handler may have changed it
		header[f.name] = f.list
		want++
	}
	if len(header) == want {
		return hostname
	}
	// Some names occur more than once.
	clear(header)
	for i := range h.fields[:h.n] {
		if f := &h.fields[i]; f.kind != host {
			header[f.name] = append(header[f.name], f.value)
		}
	}
	return hostname
}

// token holds the bytes of a field name that are beyond doubt, hostByte those of a
// host, queryByte those of a query.
var token, hostByte, queryByte = func() (token, host, query [256]bool) {
	for c := range 128 {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-'
		token[c] = letter || c == '_'
		host[c] = letter || c == '.' || c == ':' || c == '[' || c == ']'
		query[c] = token[c] || c == '=' || c == '&' || c == '.' || c == ',' || c == '+' || c == '%'
	}
	return token, host, query
}()
