package serve

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"mlops/internal/api"
	"mlops/internal/model"
)

// listen serves with the timeouts that Run has, but for those given, and returns
// the address.
func listen(t *testing.T, s *Server, change func(*http.Server)) string {
	t.Helper()
	srv := s.httpServer()
	change(srv)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := s.wire(srv)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-done })
	return l.Addr().String()
}

func connect(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// What a client may send that is not the HTTP we take, byte by byte, and the
// status that it gets. Those without a problem's type are answered by net/http,
// before a handler sees them.
func TestWire(t *testing.T) {
	const head = "POST /predict HTTP/1.1\r\nHost: x\r\n"
	for _, test := range []struct {
		reason, sent string
		status       int // 0: the connection is closed without an answer
		kind         string
	}{
		{"a request", head + "Content-Length: 2\r\n\r\n{}", 200, ""},
		{"in chunks", head + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", 200, ""},
		{"in chunks with a trailer", head + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: y\r\n\r\n", 200, ""},
		{"HTTP/1.0", "POST /predict HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}", 200, ""},
		{"line ends without CR", "POST /predict HTTP/1.1\nHost: x\nContent-Length: 2\n\n{}", 200, ""},
		{"the path as a whole URL", "POST http://x/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 200, ""},
		{"the path in percents", "POST /%70redict HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 200, ""},
		{"a query", "POST /predict?a=b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 200, ""},

		{"no body", head + "\r\n", 400, api.InvalidJSON},
		{"a length shorter than the record", head + "Content-Length: 1\r\n\r\n{}", 400, api.InvalidJSON},
		{"a longer one, then no more", head + "Content-Length: 3\r\n\r\n{}", 400, api.IncompleteBody},
		{"a chunk shorter than it says", head + "Transfer-Encoding: chunked\r\n\r\n9\r\n{}", 400, api.IncompleteBody},
		{"chunks without an end", head + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", 400, api.IncompleteBody},
		{"a chunk of no length", head + "Transfer-Encoding: chunked\r\n\r\nx\r\n{}\r\n0\r\n\r\n", 400, api.IncompleteBody},
		{"a chunk of a negative length", head + "Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n", 400, api.IncompleteBody},
		{"a chunk longer than any", head + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}", 400, api.IncompleteBody},
		{"a length of 1 EiB", head + "Content-Length: 1152921504606846976\r\n\r\n{}", 413, api.TooLarge},
		{"another method", "BREW /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 405, api.MethodNotAllowed},
		{"OPTIONS of everything", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 200, ""}, // net/http's own answer
		{"CONNECT", "CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n", 404, api.NotFound},

		{"a length that is none", head + "Content-Length: two\r\n\r\n{}", 400, ""},
		{"a negative length", head + "Content-Length: -2\r\n\r\n{}", 400, ""},
		{"a length with a plus", head + "Content-Length: +2\r\n\r\n{}", 400, ""},
		{"a length past int64", head + "Content-Length: 99999999999999999999\r\n\r\n{}", 400, ""},
		{"two lengths that differ", head + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400, ""},
		{"another encoding of the transfer", head + "Transfer-Encoding: gzip\r\n\r\n{}", 501, ""},
		{"chunks in chunks", head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501, ""},
		{"an expectation we can't meet", head + "Expect: tea\r\nContent-Length: 2\r\n\r\n{}", 417, ""},
		{"no host", "POST /predict HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 400, ""},
		{"two hosts", head + "Host: y\r\nContent-Length: 2\r\n\r\n{}", 400, ""},
		{"a space in a header's name", head + "A b: c\r\nContent-Length: 2\r\n\r\n{}", 400, ""},
		{"NUL in a header", head + "A: \x00\r\nContent-Length: 2\r\n\r\n{}", 400, ""},
		{"a header without a colon", head + "A\r\nContent-Length: 2\r\n\r\n{}", 400, ""},
		{"a version to come", "POST /predict HTTP/9.9\r\nHost: x\r\n\r\n", 505, ""},
		{"a request line of one word", "hello\r\n\r\n", 400, ""},
		{"a path that is none", "POST predict HTTP/1.1\r\nHost: x\r\n\r\n", 400, ""},
		{"a bad escape in the path", "GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400, ""},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, ""},
		{"one header of 1 MiB", head + "A: " + strings.Repeat("b", 1<<20) + "\r\n\r\n", 431, ""},
		{"many headers", head + strings.Repeat("A: b\r\n", 1<<16) + "\r\n", 431, ""},
		{"a path of 1 MiB", "GET /" + strings.Repeat("a", 1<<20) + " HTTP/1.1\r\nHost: x\r\n\r\n", 431, ""},
		{"nothing at all", "", 0, ""},
		{"half a request line", "POST /pre", 400, ""},
	} {
		for _, only := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, net/http only %v", test.reason, only), func(t *testing.T) {
				s, _ := serving(t, 1)
				s.options.NetHTTPOnly = only
				c := connect(t, listen(t, s, func(*http.Server) {}))
				// A server that has heard enough need not listen to the rest.
				go func() {
					io.WriteString(c, test.sent)
					c.(*net.TCPConn).CloseWrite()
				}()
				res, err := http.ReadResponse(bufio.NewReader(c), nil)
				if test.status == 0 {
					if err == nil {
						t.Errorf("answered with %s", res.Status)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(res.Body)
				if err != nil {
					t.Fatal(err)
				}
				isProblem := res.Header.Get("Content-Type") == "application/problem+json"
				if res.StatusCode != test.status || isProblem != (test.kind != "") || !strings.Contains(string(text), test.kind) {
					t.Errorf("got %s, %.200s; want %d, %q", res.Status, text, test.status, test.kind)
				}
				eventually(t, "all given back", func() bool { return s.memory.used.Load() == 0 && s.small.busy() == 0 })
			})
		}
	}
}

// Requests may be sent before the answers to those before them have come: each
// is answered, in their order, and a bad one in the middle does no harm.
func TestPipelining(t *testing.T) {
	s, _ := serving(t, 1)
	c := connect(t, listen(t, s, func(*http.Server) {}))
	bodies := []struct {
		body   string
		status int
	}{{`{"size":1}`, 200}, {`{"sise":1}`, 422}, {`[`, 400}, {`[{},{}]`, 200}}
	const rounds = 200
	go func() {
		var all strings.Builder
		for range rounds {
			for _, b := range bodies {
				fmt.Fprintf(&all, "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(b.body), b.body)
			}
		}
		io.WriteString(c, all.String())
	}()
	in := bufio.NewReader(c)
	for i := range rounds {
		for _, b := range bodies {
			res, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatalf("round %d, %s: %v", i, b.body, err)
			}
			if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != b.status {
				t.Fatalf("round %d, %s: %s, %v", i, b.body, res.Status, err)
			}
		}
	}
}

// Clients that send slowly, or never read, keep their own connection for a bounded
// time and hold no other up.
func TestSlowClients(t *testing.T) {
	r := newShelf(t)
	r.put(t, "1", bundle(t, 1))
	s := New(Options{Model: "tiny", Cache: t.TempDir(), Registry: r, Limits: Limits{Concurrency: 1, Queue: 1}})
	poll(t, s)
	address := listen(t, s, func(srv *http.Server) {
		srv.ReadHeaderTimeout, srv.ReadTimeout, srv.WriteTimeout = time.Second, time.Second, 3*time.Second
	})
	const each = 50
	var slow []net.Conn
	for range each {
		header := connect(t, address)
		io.WriteString(header, "POST /predict HTTP/1.1\r\nHost: x\r\nA: ")
		body := connect(t, address)
		io.WriteString(body, "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n{") // more than comes in its time
		chunks := connect(t, address)
		io.WriteString(chunks, "POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")
		slow = append(slow, header, body, chunks)
	}
	// One byte of a chunked body at a time, forever.
	over := make(chan struct{})
	defer close(over)
	for _, c := range slow {
		go func() {
			for {
				select {
				case <-over:
					return
				case <-time.After(50 * time.Millisecond):
					if _, err := io.WriteString(c, "1\r\n \r\n"); err != nil {
						return
					}
				}
			}
		}()
	}
	// A client that sends a lot and never reads the response.
	deaf := connect(t, address)
	deaf.(*net.TCPConn).SetReadBuffer(4 << 10)
	many := "[" + strings.Repeat("{},", 1<<20) + "{}]"
	fmt.Fprintf(deaf, "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(many), many)
	for i := range 20 { // meanwhile
		if status, text := read(t, dial(t, address, 2, "{}")); status != 200 {
			t.Fatalf("request %d beside slow ones: status %d: %s", i, status, text)
		}
	}
	// All of them are gone in the end, and what they held is given back.
	for i, c := range slow {
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err == nil && res.StatusCode != 408 && res.StatusCode != 400 {
			t.Errorf("slow client %d: %s", i, res.Status)
		}
	}
	eventually(t, "all given back", func() bool {
		return s.memory.used.Load() == 0 && s.small.busy() == 0 && s.large.busy() == 0
	})
	if status, _ := read(t, dial(t, address, 2, "{}")); status != 200 {
		t.Errorf("afterwards: status %d", status)
	}
}

// A body in chunks that never ends is read up to the limit and no further.
func TestEndlessChunks(t *testing.T) {
	s, _ := serving(t, 1)
	c := connect(t, listen(t, s, func(*http.Server) {}))
	piece := "100000\r\n" + strings.Repeat(" ", 1<<20) + "\r\n"
	sent := make(chan int, 1)
	go func() {
		io.WriteString(c, "POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
		n := 0
		for ; n < 1000; n++ {
			if _, err := io.WriteString(c, piece); err != nil {
				break
			}
		}
		sent <- n
	}()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != http.StatusRequestEntityTooLarge || !res.Close {
		t.Errorf("%v, %v; want a 413 that closes the connection", res, err)
	}
	c.Close()
	if n := <-sent; n > 64 {
		t.Errorf("%d MiB were taken", n)
	}
}

// A handler that panics costs its own request and nothing else.
func TestPanic(t *testing.T) {
	s, _ := serving(t, 1)
	var log strings.Builder
	s.log = textLog(&log)
	usual := s.score
	s.score = func(x *exchange, m *model.Model) (int, error) {
		if strings.Contains(string(x.body), "77") {
			panic("a tree fell")
		}
		return usual(x, m)
	}
	c := connect(t, listen(t, s, func(*http.Server) {}))
	in := bufio.NewReader(c)
	for i := range 3 * int(s.small.total) { // on one connection, more often than there are slots
		body, want := `{"kind":"77"}`, 500
		if i%2 == 1 {
			body, want = `{"kind":"1"}`, 200
		}
		fmt.Fprintf(c, "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		text, _ := io.ReadAll(res.Body)
		if res.StatusCode != want || want == 500 && (res.Header.Get("Content-Type") != "application/problem+json" || strings.Contains(string(text), "tree")) {
			t.Fatalf("request %d: %s: %s", i, res.Status, text)
		}
	}
	panics := fmt.Sprint((3*s.small.total + 1) / 2)
	for name, want := range map[string]string{
		"mlops_panics_total": panics,
		`mlops_requests_total{code="500",handler="predict"}`:      panics,
		`mlops_problems_total{handler="predict",type="internal"}`: panics,
		`mlops_predict_scoring_requests{size="small"}`:            "0",
		"mlops_predict_body_memory_bytes":                         "0",
	} {
		if got := metric(t, s, name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if !strings.Contains(log.String(), "a tree fell") || !strings.Contains(log.String(), "wire_test.go") {
		t.Errorf("the log does not say what happened and where: %.500s", log.String())
	}
	// A response that has begun can't be replaced: the client sees that it is incomplete.
	half := s.guard("half", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "half")
		panic("too late")
	})
	func() {
		defer func() {
			if p := recover(); p != http.ErrAbortHandler {
				t.Errorf("an answer that had begun: panic %v", p)
			}
		}()
		half(&sink{header: http.Header{}}, nil)
	}()
}

// A connection is handed over to net/http in the middle of what was sent at once, and
// every request is answered in its turn, with the same headers.
func TestMixedConnection(t *testing.T) {
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
		{ask(predict, "Content-Type: text/plain\r\n", "1"), 415},
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
