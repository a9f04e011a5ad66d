package plainhttp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// byPlain reports whether a response is written for a plain request: net/http's
// can be flushed.
func byPlain(w http.ResponseWriter) bool {
	_, flusher := w.(http.Flusher)
	return !flusher
}

// serve serves a handler on both ways and returns the address.
func serve(t *testing.T, h http.Handler, change func(*http.Server)) (string, *Server) {
	t.Helper()
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: time.Minute, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
	if change != nil {
		change(srv)
	}
	s := New(srv, http.MethodPost, "/predict", slog.New(slog.DiscardHandler))
	l := listen(t)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; err != http.ErrServerClosed {
			t.Errorf("Serve returned %v, want %v", err, http.ErrServerClosed)
		}
		s.running.Wait()
	})
	return l.Addr().String(), s
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
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

// answer reads a response, with its body.
func answer(t *testing.T, in *bufio.Reader) (*http.Response, string) {
	t.Helper()
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// Middleware around the handler runs once per request, whichever way it came.
func TestMiddleware(t *testing.T) {
	t.Parallel()
	type key struct{}
	var calls, plains atomic.Int64
	inner := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Context().Value(key{}).(string))
	})
	address, _ := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if byPlain(w) {
			plains.Add(1)
		}
		if r.Header.Get("Authorization") != "Bearer secret" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		id := r.Header.Get("X-Request-Id")
		w.Header().Set("X-Request-Id", id)
		inner.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), key{}, id)))
	}), nil)
	c := connect(t, address)
	in := bufio.NewReader(c)
	for i, path := range []string{"/predict", "/predict", "/predict?", "/predict"} {
		for _, secret := range []string{"secret", "guess"} {
			fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nauthorization: Bearer %s\r\nX-Request-Id: id-%d\r\nContent-Length: 0\r\n\r\n", path, secret, i)
			res, body := answer(t, in)
			id := fmt.Sprintf("id-%d", i)
			if secret == "secret" && (res.StatusCode != 200 || res.Header.Get("X-Request-Id") != id || body != id) || secret != "secret" && res.StatusCode != 401 {
				t.Errorf("%s with %s: %s, %v, %q", path, secret, res.Status, res.Header, body)
			}
		}
	}
	if calls.Load() != 8 || plains.Load() != 4 {
		t.Errorf("%d calls, %d of them plain; want 8 and 4", calls.Load(), plains.Load())
	}
}

// What a handler does to its request is gone by the next one.
func TestRequestsAreNew(t *testing.T) {
	t.Parallel()
	address, _ := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Plain", fmt.Sprint(byPlain(w)))
		if r.Header.Get("First") != "" {
			r.Header["A"][0] = "changed"
			r.Header.Set("Added", "x")
			r.URL.Path, r.Host, r.Method = "/changed", "changed", "CHANGED"
			r.SetPathValue("a", "b")
			w.Header().Set("Set-By", "first")
			return
		}
		fmt.Fprintf(w, "%v %s %s %s %q", r.Header["A"], r.URL.Path, r.Host, r.Method, r.Header.Get("Added")+r.PathValue("a"))
	}), nil)
	c := connect(t, address)
	in := bufio.NewReader(c)
	for _, first := range []string{"First: x\r\n", ""} {
		io.WriteString(c, predictLine+"Host: x\r\nA: b\r\nContent-Length: 0\r\n"+first+"\r\n")
		res, body := answer(t, in)
		if res.Header.Get("X-Plain") != "true" {
			t.Fatal("not a plain request")
		}
		if want := `[b] /predict x POST ""`; first == "" && (body != want || res.Header.Get("Set-By") != "") {
			t.Errorf("the second request is %s with headers %v, want %s", body, res.Header, want)
		}
	}
}

// A plain request's context is its connection's.
func TestContext(t *testing.T) {
	t.Parallel()
	type key struct{}
	contexts := make(chan context.Context, 3)
	address, s := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { contexts <- r.Context() }), func(h *http.Server) {
		h.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, key{}, c.RemoteAddr().String())
		}
	})
	c := connect(t, address)
	in := bufio.NewReader(c)
	ask := func(path string) context.Context {
		io.WriteString(c, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
		answer(t, in)
		return <-contexts
	}
	first, second := ask("/predict"), ask("/predict")
	if first.Err() != nil || first != second {
		t.Errorf("between requests: %v; one context: %v", first.Err(), first == second)
	}
	if first.Value(key{}) != c.LocalAddr().String() || first.Value(http.ServerContextKey) != s.http || first.Value(http.LocalAddrContextKey).(net.Addr).String() != address {
		t.Errorf("the context lacks a value: %v", first)
	}
	c.Close()
	select {
	case <-first.Done():
	case <-time.After(10 * time.Second):
		t.Error("the connection has ended, its context has not")
	}
	c = connect(t, address)
	in = bufio.NewReader(c)
	first = ask("/predict")
	ask("/predict?") // net/http's, with a context of its own
	select {
	case <-first.Done():
	case <-time.After(10 * time.Second):
		t.Error("the connection is net/http's, the context has not ended")
	}
}

// A connection is handed over to net/http in the middle of what was sent at once,
// and every request is answered in its turn.
func TestHandover(t *testing.T) {
	t.Parallel()
	address, _ := serve(t, http.HandlerFunc(echo), nil)
	ask := func(line, header, body string) string {
		return fmt.Sprintf("%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n%s", line, len(body), header, body)
	}
	requests := []struct {
		sent  string
		plain bool // unless the connection is net/http's already
	}{
		{ask("POST /predict", "", `{"size":1}`), true},
		{ask("POST /predict", "", ""), true},
		{ask("POST /predict", "A: b\r\n", strings.Repeat("x", 7000)), true},
		{ask("GET /readyz", "", ""), false},
		{ask("POST /predict", "", `{"size":1}`), true},
		{ask("POST /predict", "", strings.Repeat("x", 60000)), false},
	}
	for from := range requests { // each as the first of its connection
		c := connect(t, address)
		var all strings.Builder
		for _, r := range requests[from:] {
			all.WriteString(r.sent)
		}
		go io.WriteString(c, all.String())
		in := bufio.NewReader(c)
		wantPlain := true
		for i, r := range requests[from:] {
			res, body := answer(t, in)
			wantPlain = wantPlain && r.plain
			var got seen
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatal(err)
			}
			_, want, _ := strings.Cut(r.sent, "\r\n\r\n")
			if got.Body != want || res.Header.Get("X-Plain") != fmt.Sprint(wantPlain) {
				t.Errorf("from %d, request %d: body %.20q, plain %s; want %.20q, %v", from, i, got.Body, res.Header.Get("X-Plain"), want, wantPlain)
			}
		}
	}
}

// Requests may be sent before the responses to earlier ones have arrived.
func TestPipelining(t *testing.T) {
	t.Parallel()
	address, _ := serve(t, http.HandlerFunc(echo), nil)
	c := connect(t, address)
	const count = 1000
	go func() {
		var all bytes.Buffer
		for i := range count {
			body := strings.Repeat("x", i%7)
			fmt.Fprintf(&all, "POST /predict HTTP/1.1\r\nHost: x\r\nN: %d\r\nContent-Length: %d\r\n\r\n%s", i, len(body), body)
		}
		c.Write(all.Bytes())
	}()
	in := bufio.NewReader(c)
	for i := range count {
		_, body := answer(t, in)
		var got seen
		if err := json.Unmarshal([]byte(body), &got); err != nil || got.Header.Get("N") != fmt.Sprint(i) || len(got.Body) != i%7 {
			t.Fatalf("response %d is of %s, %v", i, body, err)
		}
	}
}

// Requests that arrive in pieces, as Python's clients send them, are served.
func TestRequestsInPieces(t *testing.T) {
	t.Parallel()
	address, _ := serve(t, http.HandlerFunc(echo), nil)
	c := connect(t, address)
	in := bufio.NewReader(c)
	sent := usualHead + "\r\n{}"
	for n := 1; n < len(sent); n += 7 {
		for _, piece := range []string{sent[:n], sent[n:]} {
			io.WriteString(c, piece)
			time.Sleep(time.Millisecond)
		}
		if res, _ := answer(t, in); res.StatusCode != 200 {
			t.Fatalf("split after %d bytes: %s", n, res.Status)
		}
	}
}

// A client that sends a byte now and then is left to net/http, whose limits hold.
func TestDrippingClient(t *testing.T) {
	t.Parallel()
	address, _ := serve(t, http.HandlerFunc(echo), func(h *http.Server) { h.ReadHeaderTimeout = 200 * time.Millisecond })
	c := connect(t, address)
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

// Connections without a request are closed after their time.
func TestSilentConnections(t *testing.T) {
	t.Parallel()
	address, _ := serve(t, http.HandlerFunc(echo), func(h *http.Server) {
		h.ReadHeaderTimeout, h.IdleTimeout = 100*time.Millisecond, 200*time.Millisecond
	})
	never, once := connect(t, address), connect(t, address)
	io.WriteString(once, usualHead+"\r\n{}")
	in := bufio.NewReader(once)
	answer(t, in)
	for name, r := range map[string]io.Reader{"never a request": never, "one request": in} {
		if _, err := r.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%s: %v, want the end", name, err)
		}
	}
}

// Shutdown closes idle connections, and waits for the requests being served.
func TestShutdown(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/predict", "/predict?"} {
		hold, held := make(chan struct{}), make(chan struct{}, 1)
		address, s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Wait") != "" {
				held <- struct{}{}
				<-hold
			}
			echo(w, r)
		}), nil)
		idle, busy := connect(t, address), connect(t, address)
		io.WriteString(idle, usualHead+"\r\n{}")
		inIdle := bufio.NewReader(idle)
		answer(t, inIdle)
		io.WriteString(busy, "POST "+path+" HTTP/1.1\r\nHost: x\r\nWait: x\r\nContent-Length: 2\r\n\r\n{}")
		<-held
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(t.Context()) }()
		if _, err := inIdle.ReadByte(); err != io.EOF {
			t.Errorf("%s: idle connection: %v, want the end", path, err)
		}
		select {
		case err := <-done:
			t.Errorf("%s: Shutdown has not waited: %v", path, err)
		case <-time.After(50 * time.Millisecond):
		}
		if c, err := net.Dial("tcp", address); err == nil {
			t.Errorf("%s: still accepts connections", path)
			c.Close()
		}
		close(hold)
		if res, _ := answer(t, bufio.NewReader(busy)); res.StatusCode != 200 || !res.Close && path == "/predict" {
			t.Errorf("%s: %s, closes: %v", path, res.Status, res.Close)
		}
		if err := <-done; err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// Shutdown gives up waiting when its context ends.
func TestShutdownGivesUp(t *testing.T) {
	t.Parallel()
	hold, held := make(chan struct{}), make(chan struct{})
	address, s := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(held); <-hold }), nil)
	defer close(hold)
	c := connect(t, address)
	io.WriteString(c, usualHead+"\r\n{}")
	<-held
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	s.Shutdown(ctx)
	if time.Since(start) > 5*time.Second {
		t.Errorf("Shutdown took %v", time.Since(start))
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection got a response")
	}
}

// A handler that panics takes its own connection down and nothing else.
func TestPanic(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	srv := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Panic") {
		case "abort":
			panic(http.ErrAbortHandler)
		case "bug":
			panic("a bug")
		}
	})}
	s := New(srv, http.MethodPost, "/predict", slog.New(slog.NewTextHandler(&log, nil)))
	l := listen(t)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	for _, kind := range []string{"abort", "bug", "none"} {
		c := connect(t, l.Addr().String())
		io.WriteString(c, predictLine+"Host: x\r\nPanic: "+kind+"\r\nContent-Length: 0\r\n\r\n")
		_, err := http.ReadResponse(bufio.NewReader(c), nil)
		if (err == nil) != (kind == "none") {
			t.Errorf("%s: %v", kind, err)
		}
		c.Close()
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-done; err != http.ErrServerClosed {
		t.Error(err)
	}
	if text := log.String(); strings.Count(text, "a handler panicked") != 1 || !strings.Contains(text, "a bug") || !strings.Contains(text, "server_test.go") {
		t.Errorf("the log does not say what happened and where, once:\n%s", text)
	}
}

// A response that is sent in chunks leaves the connection as it should be: open for the
// next request, or closed if the handler wants that, and closed if the client is gone.
func TestLongResponses(t *testing.T) {
	t.Parallel()
	const pieces, small, large = 64, maxWhole / 4, 8 * maxWhole
	failed := make(chan error, 1)
	address, _ := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "last" {
			w.Header().Set("Connection", "close")
		}
		size := small
		if r.URL.RawQuery != "last" && r.URL.RawQuery != "" {
			size = large
		}
		var err error
		for i := range pieces {
			if _, err = w.Write(bytes.Repeat([]byte{'a' + byte(i)}, size)); err != nil {
				break
			}
		}
		if r.URL.RawQuery == "gone" {
			failed <- err
		}
	}), nil)
	c := connect(t, address)
	read := bufio.NewReader(c)
	for _, query := range []string{"", "?large", "", "?last"} {
		io.WriteString(c, "POST /predict"+query+" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
		res, body := answer(t, read)
		size := small
		if query == "?large" {
			size = large
		}
		whole := len(body) == pieces*size
		for i := 0; whole && i < pieces; i++ {
			whole = body[i*size] == 'a'+byte(i) && body[(i+1)*size-1] == 'a'+byte(i)
		}
		if !whole || res.Close != (query == "?last") {
			t.Errorf("%q: %d bytes, the connection ends: %v", query, len(body), res.Close)
		}
	}
	if n, err := read.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after the last response: %d bytes, %v", n, err)
	}
	c = connect(t, address)
	io.WriteString(c, "POST /predict?gone HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
	io.ReadFull(c, make([]byte, maxWhole))
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
	if err := <-failed; err == nil {
		t.Error("a handler goes on writing to a client that is gone")
	}
}

// What clients do not read takes little memory besides the handlers' own.
func TestUnreadResponses(t *testing.T) {
	const clients = 50
	long := make([]byte, 8<<20) // more than the system takes off the server's hands
	var begun atomic.Int32
	address, _ := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		begun.Add(1)
		w.Write(long)
	}), nil)
	inUse := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := inUse()
	for range clients {
		io.WriteString(connect(t, address), "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
	}
	for end := time.Now().Add(30 * time.Second); begun.Load() < clients; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d of %d requests have begun", begun.Load(), clients)
		}
	}
	time.Sleep(200 * time.Millisecond) // until they are writing
	if each := (inUse() - before) / clients; each > 4*(maxWhole+maxRequest) {
		t.Errorf("an unread response takes %d bytes besides the handler's", each)
	}
}
