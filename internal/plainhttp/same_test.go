package plainhttp

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// seen is what a handler sees of a request.
type seen struct {
	Method, URI, Path, Query, Proto, Host, Body string
	Header                                      http.Header
	Length                                      int64
}

// echo responds with what it sees, and says which way the request came.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "incomplete", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Plain", fmt.Sprint(byPlain(w)))
	json.NewEncoder(w).Encode(seen{r.Method, r.RequestURI, r.URL.Path, r.URL.RawQuery, r.Proto, r.Host, string(body), r.Header, r.ContentLength})
}

// Whatever a client sends, byte by byte, gets the same status and is the same
// request to the handler as with net/http alone.
func TestSameAsNetHTTP(t *testing.T) {
	t.Parallel()
	const line = "POST /predict HTTP/1.1\r\nHost: x\r\n"
	ours, _ := serve(t, http.HandlerFunc(echo), nil)
	l := listen(t)
	alone := &http.Server{Handler: http.HandlerFunc(echo), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	go alone.Serve(l)
	t.Cleanup(func() { alone.Close() })
	for _, test := range []struct {
		name, sent string
		plain      bool
	}{
		{"a request", line + "Content-Length: 2\r\n\r\n{}", true},
		{"all that middleware may want", line + "Authorization: Bearer a\r\nX-Request-Id: 7\r\ntraceparent: 00-a-b-01\r\nCookie: a=b\r\nAccept: */*\r\nX-Forwarded-For: 1\r\nx-forwarded-for: 2\r\nContent-Type: text/csv\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", true},
		{"no body", line + "Content-Length: 0\r\n\r\n", true},
		{"kept alive", line + "Connection: keep-alive\r\nContent-Length: 2\r\n\r\n{}", true},
		{"in chunks", line + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", false},
		{"in chunks with a trailer", line + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: y\r\n\r\n", false},
		{"HTTP/1.0", "POST /predict HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}", false},
		{"line ends without CR", "POST /predict HTTP/1.1\nHost: x\nContent-Length: 2\n\n{}", false},
		{"the path as a whole URL", "POST http://x/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", false},
		{"an escaped path", "POST /%70redict HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", false},
		{"a query", "POST /predict?a=b&c=%20d HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", true},
		{"a query that can't be read", "POST /predict?a=%zz HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", true},
		{"an empty query", "POST /predict? HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", false},
		{"no length", line + "\r\n", false},
		{"another method", "BREW /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", false},
		{"OPTIONS of everything", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", false},
		{"CONNECT", "CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n", false},
		{"a pragma", line + "Pragma: no-cache\r\nContent-Length: 2\r\n\r\n{}", false},
		{"a length that is none", line + "Content-Length: two\r\n\r\n{}", false},
		{"a negative length", line + "Content-Length: -2\r\n\r\n{}", false},
		{"two lengths that differ", line + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", false},
		{"an unknown transfer encoding", line + "Transfer-Encoding: gzip\r\n\r\n{}", false},
		{"an expectation that can't be met", line + "Expect: tea\r\nContent-Length: 2\r\n\r\n{}", false},
		{"no host", "POST /predict HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", false},
		{"two hosts", line + "Host: y\r\nContent-Length: 2\r\n\r\n{}", false},
		{"a space in a field's name", line + "A b: c\r\nContent-Length: 2\r\n\r\n{}", false},
		{"NUL in a header", line + "A: \x00\r\nContent-Length: 2\r\n\r\n{}", false},
		{"a version to come", "POST /predict HTTP/9.9\r\nHost: x\r\n\r\n", false},
		{"a request line of one word", "hello\r\n\r\n", false},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", false},
		{"half a request line", "POST /pre", false},
		{"half a body", line + "Content-Length: 3\r\n\r\n{}", false},
		{"many headers", line + strings.Repeat("A: b\r\n", 1000) + "Content-Length: 2\r\n\r\n{}", false},
		{"a body past the buffer", line + "Content-Length: 9000\r\n\r\n" + strings.Repeat(" ", 9000), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			ask := func(address string) (int, http.Header, string) {
				c := connect(t, address)
				go func() {
					io.WriteString(c, test.sent)
					c.(*net.TCPConn).CloseWrite()
				}()
				res, body := answer(t, bufio.NewReader(c))
				header := res.Header
				header.Del("Date")
				return res.StatusCode, header, body
			}
			wantStatus, wantHeader, want := ask(l.Addr().String())
			status, header, got := ask(ours)
			if plain := header.Get("X-Plain") == "true"; plain != test.plain {
				t.Errorf("plain: %v, want %v", plain, test.plain)
			}
			header.Del("X-Plain")
			wantHeader.Del("X-Plain")
			if diff := cmp.Diff([]any{wantStatus, wantHeader, want}, []any{status, header, got}); diff != "" {
				t.Errorf("(-net/http +ours):\n%s", diff)
			}
		})
	}
}

// Whatever a handler writes, the client reads the same as with net/http alone.
func TestResponses(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]http.HandlerFunc{
		"nothing":              func(http.ResponseWriter, *http.Request) {},
		"text":                 func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "text") },
		"a page":               func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") },
		"in pieces":            func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("a")); w.Write([]byte("b")) },
		"a status":             func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusUnprocessableEntity) },
		"an unknown status":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(799) },
		"no content":           func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204); w.Write([]byte("x")) },
		"not modified":         func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("ETag", `"1"`); w.WriteHeader(304) },
		"two statuses":         func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201); w.WriteHeader(500) },
		"a header too late":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200); w.Header().Set("A", "late") },
		"a status too late":    func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("x")); w.WriteHeader(500) },
		"two values":           func(w http.ResponseWriter, _ *http.Request) { w.Header()["A"] = []string{"1", "2"} },
		"line ends in a value": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("A", " b\r\nC: d\n") },
		"much":                 func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, maxWhole+1)) },
		"much in pieces": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "a/b")
			for i := range 40 {
				io.WriteString(w, strings.Repeat(fmt.Sprint(i%10), maxWhole/7))
			}
		},
		"an impossible name": func(w http.ResponseWriter, _ *http.Request) { w.Header()["A: b"] = []string{"c"} },
		"no type wanted":     func(w http.ResponseWriter, _ *http.Request) { w.Header()["Content-Type"] = nil; w.Write([]byte("x")) },
		"its own date":       func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Date", "today") },
		"the last":           func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") },
		"a length": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1")
			w.Write([]byte("x"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			was := make(chan bool, 2)
			address, _ := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				was <- byPlain(w)
				h(w, r)
			}), nil)
			ask := func(line string) (*http.Response, string) {
				c := connect(t, address)
				io.WriteString(c, line+" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
				res, body := answer(t, bufio.NewReader(c))
				if at, err := http.ParseTime(res.Header.Get("Date")); res.Header.Get("Date") != "today" && (err != nil || time.Since(at).Abs() > 10*time.Second) {
					t.Errorf("%s: Date is %q", line, res.Header.Get("Date"))
				}
				res.Header.Del("Date")
				return res, body
			}
			ours, body := ask("POST /predict")
			theirs, want := ask("POST /predict?")
			if !<-was || <-was {
				t.Fatal("the first request is not plain, or the second is")
			}
			if diff := cmp.Diff([]any{theirs.Status, theirs.Header, theirs.Close, want}, []any{ours.Status, ours.Header, ours.Close, body}); diff != "" {
				t.Errorf("(-net/http +ours):\n%s", diff)
			}
		})
	}
}
