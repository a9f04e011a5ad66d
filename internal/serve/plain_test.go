package serve

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

const usualHead = "POST /predict HTTP/1.1\r\nHost: x:8000\r\nUser-Agent: a/1 (b; c)\r\nAccept: */*\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"

func TestPlainHead(t *testing.T) {
	const line = "POST /predict HTTP/1.1\r\n"
	for _, test := range []struct {
		because, sent string
		want          int
	}{
		{"curl, but for the type", usualHead + "\r\n{}", plain},
		{"small letters", line + "host: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}", plain},
		{"a type with a parameter", line + "Host: x\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: 2\r\n\r\n", plain},
		{"no type", line + "Host: x\r\nContent-Length: 2\r\n\r\n", plain},
		{"kept alive", usualHead + "Connection: Keep-Alive\r\n\r\n", plain},
		{"an address of IPv6", line + "Host: [::1]:8000\r\nContent-Length: 2\r\n\r\n", plain},
		{"no spaces", line + "Host:x\r\nContent-Length:2\r\n\r\n", plain},
		{"headers that change nothing", usualHead + "X-Forwarded-For: 10.0.0.1, 10.0.0.2\r\nAuthorization: Bearer a.b\r\nA_b: c\r\n\r\n", plain},

		{"another path", "POST /predict/ HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n", other},
		{"another method", "GET /predict HTTP/1.1\r\nHost: x\r\n\r\n", other},
		{"older HTTP", "POST /predict HTTP/1.0\r\nHost: x\r\nContent-Length: 2\r\n\r\n", other},
		{"line ends without CR", "POST /predict HTTP/1.1\nHost: x\nContent-Length: 2\n\n", other},
		{"one of them without", line + "Host: x\nContent-Length: 2\r\n\r\n", other},
		{"a CR in a line", line + "Host: x\r\nA: b\rc\r\nContent-Length: 2\r\n\r\n", other},
		{"a line that goes on", line + "Host: x\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\n", other},
		{"a space before the colon", line + "Host : x\r\nContent-Length: 2\r\n\r\n", other},
		{"no colon", line + "Host: x\r\nA\r\nContent-Length: 2\r\n\r\n", other},
		{"no name", line + "Host: x\r\n: b\r\nContent-Length: 2\r\n\r\n", other},
		{"an odd name", line + "Host: x\r\nA(b): c\r\nContent-Length: 2\r\n\r\n", other},
		{"NUL", usualHead + "A: \x00\r\n\r\n", other},
		{"bytes past ASCII", usualHead + "A: ä\r\n\r\n", other},
		{"no host", line + "Content-Length: 2\r\n\r\n", other},
		{"an empty host", line + "Host: \r\nContent-Length: 2\r\n\r\n", other},
		{"two hosts", line + "Host: x\r\nHost: x\r\nContent-Length: 2\r\n\r\n", other},
		{"an odd host", line + "Host: x/y\r\nContent-Length: 2\r\n\r\n", other},
		{"no length", line + "Host: x\r\n\r\n", other},
		{"two lengths", usualHead + "Content-Length: 2\r\n\r\n", other},
		{"a length with a sign", line + "Host: x\r\nContent-Length: +2\r\n\r\n", other},
		{"lengths in a list", line + "Host: x\r\nContent-Length: 2, 2\r\n\r\n", other},
		{"a length of more than a buffer", line + "Host: x\r\nContent-Length: 70000\r\n\r\n", other},
		{"an empty length", line + "Host: x\r\nContent-Length:\r\n\r\n", other},
		{"chunks", line + "Host: x\r\nTransfer-Encoding: chunked\r\n\r\n", other},
		{"chunks and a length", usualHead + "transfer-encoding: chunked\r\n\r\n", other},
		{"an expectation", usualHead + "Expect: 100-continue\r\n\r\n", other},
		{"the last of its connection", usualHead + "Connection: close\r\n\r\n", other},
		{"another protocol", usualHead + "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", other},
		{"an upgrade alone", usualHead + "Upgrade: h2c\r\n\r\n", other},
		{"a trailer", usualHead + "Trailer: A\r\n\r\n", other},
		{"TE", usualHead + "TE: trailers\r\n\r\n", other},
		{"a packed body", usualHead + "Content-Encoding: gzip\r\n\r\n", other},
		{"another type", line + "Host: x\r\nContent-Type: text/csv\r\nContent-Length: 2\r\n\r\n", other},
		{"two types, one of them another", usualHead + "Content-Type: text/csv\r\n\r\n", other},
	} {
		head, length, what := plainHead([]byte(test.sent))
		wantHead := strings.Index(test.sent, "\r\n\r\n") + 4
		if what != test.want || what == plain && (head != wantHead || length != 2) {
			t.Errorf("%s: body of %d at %d, %d; want %d at %d", test.because, length, head, what, test.want, wantHead)
		}
		if test.want == other {
			continue
		}
		for n := range wantHead { // as it comes in
			if head, _, what := plainHead([]byte(test.sent[:n])); head != 0 || what != plain {
				t.Fatalf("%s: after %d bytes: %d, %d", test.because, n, head, what)
			}
		}
	}
}

// FuzzPlainHead checks that what is taken for plain is to net/http the same
// request, with the same body.
func FuzzPlainHead(f *testing.F) {
	f.Add([]byte(usualHead + "\r\n{}"))
	f.Add([]byte(usualHead + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"))
	f.Add([]byte("POST /predict HTTP/1.1\r\nHost: [::1]:80\r\ncontent-length:00003\r\nA:\t b\t\r\n\r\n123rest"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		head, length, what := plainHead(sent)
		if what != plain || head == 0 {
			return
		}
		in := bufio.NewReaderSize(bytes.NewReader(sent), len(sent)+16)
		r, err := http.ReadRequest(in)
		if err != nil {
			t.Fatalf("net/http: %v", err)
		}
		if r.Method != http.MethodPost || r.URL.String() != "/predict" || r.ContentLength != int64(length) || len(r.TransferEncoding) > 0 ||
			r.Close || r.Host == "" || !isJSON(r.Header.Get("Content-Type")) ||
			len(r.Trailer) > 0 || r.Header.Get("Expect") != "" || r.Header.Get("Upgrade") != "" || r.Header.Get("Content-Encoding") != "" {
			t.Fatalf("net/http: %+v", r)
		}
		rest := sent[head:]
		body, err := io.ReadAll(r.Body)
		if want := rest[:min(length, len(rest))]; !bytes.Equal(body, want) || (err == nil) != (len(rest) >= length) {
			t.Fatalf("net/http reads the body %q, %v; want %q", body, err, want)
		}
	})
}

// A connection goes over to net/http in the middle of what was sent at once, and
// every request is answered in its turn, with the same headers.
func TestPlainAndOthersOnAConnection(t *testing.T) {
	s, _ := serving(t, 1)
	address := listen(t, s, func(*http.Server) {})
	ask := func(line, header, body string) string {
		return fmt.Sprintf("%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n%s", line, len(body), header, body)
	}
	const predict = "POST /predict"
	requests := []struct {
		sent   string
		status int
	}{
		{ask(predict, "", `{"size":1}`), 200},
		{ask(predict, "", `{"sise":1}`), 422},
		{ask(predict, "", `[`), 400},
		{ask(predict, "", ""), 400},
		{ask(predict, "", "["+strings.Repeat("{},", 2000)+"{}]"), 200},
		{ask("GET /readyz", "", ""), 200}, // from here on net/http's
		{ask(predict, "", `{"size":1}`), 200},
		{ask(predict, "Content-Type: text/csv\r\n", "1"), 415},
		{ask(predict, "", "["+strings.Repeat("{},", 20000)+"{}]"), 200},
	}
	for from := range requests { // each as the first of its connection
		c := connect(t, address)
		var all strings.Builder
		for _, r := range requests[from:] {
			all.WriteString(r.sent)
		}
		go io.WriteString(c, all.String())
		in := bufio.NewReader(c)
		for i, r := range requests[from:] {
			res, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatalf("from %d, request %d: %v", from, i, err)
			}
			text, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != r.status {
				t.Errorf("from %d, request %d: %s, %v: %.100s", from, i, res.Status, err, text)
			}
			if at, err := http.ParseTime(res.Header.Get("Date")); err != nil || time.Since(at).Abs() > 10*time.Second {
				t.Errorf("from %d, request %d: Date is %q", from, i, res.Header.Get("Date"))
			}
			want := "application/json"
			if r.status != 200 {
				want = "application/problem+json"
			}
			if got := res.Header.Get("Content-Type"); got != want && !strings.HasPrefix(r.sent, "GET") {
				t.Errorf("from %d, request %d: Content-Type is %q, want %q", from, i, got, want)
			}
		}
		c.Close()
	}
}

// Clients whose requests come in pieces, as Python's do, are served, plainly or not.
func TestRequestsInPieces(t *testing.T) {
	s, _ := serving(t, 1)
	c := connect(t, listen(t, s, func(*http.Server) {}))
	in := bufio.NewReader(c)
	sent := usualHead + "\r\n{}"
	for n := 1; n < len(sent); n += 7 {
		for _, piece := range []string{sent[:n], sent[n:]} {
			io.WriteString(c, piece)
			time.Sleep(time.Millisecond)
		}
		res, err := http.ReadResponse(in, nil)
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("parted after %d bytes: %v, %v", n, res, err)
		}
		io.Copy(io.Discard, res.Body)
	}
}

// Who sends a byte now and then is given over to net/http, whose limits hold.
func TestDrippingClient(t *testing.T) {
	s, _ := serving(t, 1)
	c := connect(t, listen(t, s, func(srv *http.Server) { srv.ReadHeaderTimeout = 200 * time.Millisecond }))
	start := time.Now()
	io.WriteString(c, "POST /predict HTTP/1.1\r\nHost: x\r\nA: ")
	for {
		time.Sleep(20 * time.Millisecond)
		if _, err := io.WriteString(c, "b"); err != nil {
			break
		}
		if time.Since(start) > 10*time.Second {
			t.Fatal("the connection is still open")
		}
	}
}

// Connections without a request are closed when the server stops or when they
// have been silent for too long.
func TestSilentConnections(t *testing.T) {
	s, _ := serving(t, 1)
	address := listen(t, s, func(srv *http.Server) {
		srv.ReadHeaderTimeout, srv.IdleTimeout = 100*time.Millisecond, 200*time.Millisecond
	})
	never := connect(t, address)
	once := connect(t, address)
	io.WriteString(once, usualHead+"\r\n{}")
	in := bufio.NewReader(once)
	if res, err := http.ReadResponse(in, nil); err != nil {
		t.Fatal(err)
	} else {
		io.Copy(io.Discard, res.Body)
	}
	for name, r := range map[string]io.Reader{"never a request": never, "one request": in} {
		if _, err := r.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%s: %v, want the end", name, err)
		}
	}
	stopped, stop, wait := run(t, s)
	idle := connect(t, stopped)
	io.WriteString(idle, usualHead+"\r\n{}")
	in = bufio.NewReader(idle)
	if res, err := http.ReadResponse(in, nil); err != nil {
		t.Fatal(err)
	} else {
		io.Copy(io.Discard, res.Body)
	}
	start := time.Now()
	stop()
	if err := wait(); err != nil || time.Since(start) > 5*time.Second {
		t.Errorf("stopped after %v: %v", time.Since(start), err)
	}
	if _, err := in.ReadByte(); err != io.EOF {
		t.Errorf("an idle connection of a server that stopped: %v", err)
	}
}
