package plainhttp

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	predictStart = "POST /predict"
	predictLine  = "POST /predict HTTP/1.1\r\n"
	usualHead    = predictLine + "Host: x:8000\r\nUser-Agent: a/1 (b; c)\r\nAccept: */*\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
)

func TestHead(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, sent string
		want       verdict
	}{
		{"curl's", usualHead + "\r\n{}", plain},
		{"small letters", predictLine + "host: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}", plain},
		{"a type with a parameter", predictLine + "Host: x\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: 2\r\n\r\n", plain},
		{"no type", predictLine + "Host: x\r\nContent-Length: 2\r\n\r\n", plain},
		{"kept alive", usualHead + "Connection: Keep-Alive\r\n\r\n", plain},
		{"an IPv6 address", predictLine + "Host: [::1]:8000\r\nContent-Length: 2\r\n\r\n", plain},
		{"no spaces", predictLine + "Host:x\r\nContent-Length:2\r\n\r\n", plain},
		{"an empty value", usualHead + "A:\r\n\r\n", plain},
		{"headers for middleware", usualHead + "X-Forwarded-For: 10.0.0.1, 10.0.0.2\r\nAuthorization: Bearer a.b\r\ntraceparent: 00-0af7-b7ad-01\r\nX-Request-Id: 7\r\nA_b: c\r\n\r\n", plain},
		{"another type", predictLine + "Host: x\r\nContent-Type: text/csv\r\nContent-Length: 2\r\n\r\n", plain},
		{"two types", usualHead + "Content-Type: text/csv\r\n\r\n", plain},
		{"a compressed body", usualHead + "Content-Encoding: gzip\r\n\r\n", plain},

		{"another path", "POST /predict/ HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n", other},
		{"a query", "POST /predict?a=b&c=%20.1,2+3_-%zz HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n", plain},
		{"an empty query", "POST /predict? HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n", other},
		{"a fragment", "POST /predict?a#b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n", other},
		{"two questions", "POST /predict?a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n", other},
		{"a semicolon in the query", "POST /predict?a;b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n", other},
		{"a space in the query", "POST /predict?a b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n", other},
		{"a query and older HTTP", "POST /predict?a HTTP/1.0\r\nHost: x\r\nContent-Length: 2\r\n\r\n", other},
		{"another method", "GET /predict HTTP/1.1\r\nHost: x\r\n\r\n", other},
		{"older HTTP", "POST /predict HTTP/1.0\r\nHost: x\r\nContent-Length: 2\r\n\r\n", other},
		{"line ends without CR", "POST /predict HTTP/1.1\nHost: x\nContent-Length: 2\n\n", other},
		{"one of them without", predictLine + "Host: x\nContent-Length: 2\r\n\r\n", other},
		{"a CR in a line", predictLine + "Host: x\r\nA: b\rc\r\nContent-Length: 2\r\n\r\n", other},
		{"a folded line", predictLine + "Host: x\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\n", other},
		{"a space before the colon", predictLine + "Host : x\r\nContent-Length: 2\r\n\r\n", other},
		{"no colon", predictLine + "Host: x\r\nA\r\nContent-Length: 2\r\n\r\n", other},
		{"a colon as the last byte of its line", predictLine + "Host: x\r\nA:\nContent-Length: 2\r\n\r\n", other},
		{"no name", predictLine + "Host: x\r\n: b\r\nContent-Length: 2\r\n\r\n", other},
		{"an odd name", predictLine + "Host: x\r\nA(b): c\r\nContent-Length: 2\r\n\r\n", other},
		{"NUL", usualHead + "A: \x00\r\n\r\n", other},
		{"bytes past ASCII", usualHead + "A: ä\r\n\r\n", other},
		{"no host", predictLine + "Content-Length: 2\r\n\r\n", other},
		{"an empty host", predictLine + "Host: \r\nContent-Length: 2\r\n\r\n", other},
		{"two hosts", predictLine + "Host: x\r\nHost: x\r\nContent-Length: 2\r\n\r\n", other},
		{"an odd host", predictLine + "Host: x/y\r\nContent-Length: 2\r\n\r\n", other},
		{"no length", predictLine + "Host: x\r\n\r\n", other},
		{"two lengths", usualHead + "Content-Length: 2\r\n\r\n", other},
		{"a length with a sign", predictLine + "Host: x\r\nContent-Length: +2\r\n\r\n", other},
		{"lengths in a list", predictLine + "Host: x\r\nContent-Length: 2, 2\r\n\r\n", other},
		{"a length of more than a buffer", predictLine + "Host: x\r\nContent-Length: 70000\r\n\r\n", other},
		{"an empty length", predictLine + "Host: x\r\nContent-Length:\r\n\r\n", other},
		{"chunks", predictLine + "Host: x\r\nTransfer-Encoding: chunked\r\n\r\n", other},
		{"chunks and a length", usualHead + "transfer-encoding: chunked\r\n\r\n", other},
		{"an expectation", usualHead + "Expect: 100-continue\r\n\r\n", other},
		{"the last of its connection", usualHead + "Connection: close\r\n\r\n", other},
		{"another protocol", usualHead + "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", other},
		{"an upgrade alone", usualHead + "Upgrade: h2c\r\n\r\n", other},
		{"a trailer", usualHead + "Trailer: A\r\n\r\n", other},
		{"TE", usualHead + "TE: trailers\r\n\r\n", other},
		{"Pragma, which net/http rewrites", usualHead + "Pragma: no-cache\r\n\r\n", other},
		{"too many fields", usualHead + strings.Repeat("A: b\r\n", maxFields) + "\r\n", other},
	} {
		h := head{start: predictStart}
		size, length, got := h.parse([]byte(test.sent))
		wantSize := strings.Index(test.sent, "\r\n\r\n") + 4
		if got != test.want || got == plain && (size != wantSize || length != 2) {
			t.Errorf("%s: body of %d bytes at %d, verdict %d; want verdict %d, a body at %d", test.name, length, size, got, test.want, wantSize)
		}
		if test.want == other {
			continue
		}
		for n := range wantSize { // as it arrives
			if size, _, got := h.parse([]byte(test.sent[:n])); size != 0 || got != plain {
				t.Fatalf("%s: after %d bytes: size %d, verdict %d", test.name, n, size, got)
			}
		}
	}
}

// FuzzHead checks that a request taken for plain is the same request to net/http,
// with the same headers and body, whatever came before it on the connection.
func FuzzHead(f *testing.F) {
	usual := []byte(usualHead + "\r\n{}")
	f.Add(usual, usual)
	f.Add(usual, []byte(usualHead+"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"))
	f.Add(usual, []byte(predictLine+"Host: [::1]:80\r\ncontent-length:00003\r\nA:\t b\t\r\n\r\n123rest"))
	f.Add([]byte(predictLine+"host: a\r\nContent-Length: 3\r\nX: 1\r\nX: 2\r\n\r\n"), []byte(predictLine+"Host: b\r\nContent-Length: 1\r\nx: 1\r\nX: 3\r\nContent-Type: a\r\n\r\n1"))
	f.Add([]byte("POST /predict?a=b&c=%20 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"), usual)
	f.Add([]byte("POST /predict?explain=5 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"), []byte("POST /predict?explain=50 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, before, sent []byte) {
		h := head{start: predictStart}
		if _, _, v := h.parse(before); v == other { // would have left the connection to net/http
			h = head{start: predictStart}
		}
		size, length, v := h.parse(sent)
		if v != plain || size == 0 {
			return
		}
		in := bufio.NewReaderSize(bytes.NewReader(sent), len(sent)+16)
		r, err := http.ReadRequest(in)
		if err != nil {
			t.Fatalf("net/http: %v", err)
		}
		if r.Method != http.MethodPost || r.RequestURI != h.uri || r.URL.Path != "/predict" || r.URL.RawQuery != h.query || r.URL.String() != h.uri || r.ContentLength != int64(length) ||
			len(r.TransferEncoding) > 0 || r.Close || len(r.Trailer) > 0 {
			t.Fatalf("net/http: %+v", r)
		}
		header := http.Header{"Left": {"by an earlier request"}}
		if host := h.fill(header); host != r.Host || host == "" {
			t.Fatalf("host %q, net/http has %q", host, r.Host)
		}
		if diff := cmp.Diff(r.Header, header); diff != "" {
			t.Fatalf("headers (-net/http +plain):\n%s", diff)
		}
		rest := sent[size:]
		body, err := io.ReadAll(r.Body)
		if want := rest[:min(length, len(rest))]; !bytes.Equal(body, want) || (err == nil) != (len(rest) >= length) {
			t.Fatalf("net/http reads the body %q, %v; want %q", body, err, want)
		}
	})
}
