package plainhttp

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// limitedServer serves on a Limiter of at most so many connections, with or without
// the reader of plain requests.
func limitedServer(t *testing.T, most int, netHTTPOnly bool, handler http.HandlerFunc) (*Limiter, string) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := Limit(inner, most)
	h := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute, IdleTimeout: time.Minute}
	done := make(chan error, 1)
	var s interface {
		Serve(net.Listener) error
		Close() error
	} = h
	if netHTTPOnly {
		l.Attach(h)
	} else {
		s = New(h, http.MethodPost, "/predict", slog.New(slog.DiscardHandler))
	}
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	return l, inner.Addr().String()
}

func repeat(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	return c
}

// ask sends a request over a connection and returns the response's body.
func ask(c net.Conn, method, path, body string) (string, error) {
	if _, err := fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", method, path, len(body), body); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", resp.StatusCode, text)
	}
	return string(text), err
}

// TestLimit holds 2,000 connections open, each in one of the ways of slow clients,
// against a server that allows 500. Others are answered all the while, both over new
// connections and over one that they keep, and the server's memory stays bounded.
func TestLimit(t *testing.T) {
	const most, many = 500, 2000
	begun := []string{
		"",                               // nothing at all
		"POST /predict HTTP/1.1\r\nHost", // half a head
		"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nab", // half a body
		"GET /other HTTP/1.1\r\nX: ",                                        // half a head for net/http
		"POST /other HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nab",
	}
	for _, netHTTPOnly := range []bool{false, true} {
		t.Run(fmt.Sprintf("netHTTPOnly=%v", netHTTPOnly), func(t *testing.T) {
			l, addr := limitedServer(t, most, netHTTPOnly, repeat)
			kept := dial(t, addr)
			answered := func() {
				t.Helper()
				for _, path := range []string{"/predict", "/other"} {
					c := dial(t, addr)
					if got, err := ask(c, "POST", path, "hello"); err != nil || got != "hello" {
						t.Fatalf("a new connection's %s: %q, %v", path, got, err)
					}
					c.Close()
				}
				if got, err := ask(kept, "POST", "/predict", "hello"); err != nil || got != "hello" {
					t.Fatalf("a connection that is kept: %q, %v", got, err)
				}
			}
			used := func() uint64 {
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				return m.HeapInuse + m.StackInuse
			}
			var at, end uint64
			slow := make([]net.Conn, 0, many)
			for i := range many {
				c := dial(t, addr)
				if _, err := io.WriteString(c, begun[i%len(begun)]); err != nil {
					t.Fatal(err)
				}
				slow = append(slow, c)
				if open := l.Open(); open > most {
					t.Fatalf("%d connections are open, want at most %d", open, most)
				}
				if i%50 == 0 {
					answered()
				}
				if i == most*6/5 {
					at = used()
				}
			}
			end = used()
			answered()
			if refused := l.Refused(); refused != 0 {
				t.Errorf("%d connections were refused, though none was being served", refused)
			}
			if closed := l.Closed(); closed < many-most {
				t.Errorf("%d connections were closed to make room, want at least %d", closed, many-most)
			}
			// The test's own ends of the connections take about 1 KiB each.
			if grown := int64(end) - int64(at); grown > 8<<20 {
				t.Errorf("memory grew by %d KiB after the server was full", grown>>10)
			}
			// The ones that trickle are the first to go, however fresh their last byte.
			gone := 0
			for _, c := range slow {
				c.SetReadDeadline(time.Now().Add(time.Millisecond))
				if _, err := c.Read(make([]byte, 1)); err != nil && !isTimeout(err) {
					gone++
				}
			}
			if gone < many-most {
				t.Errorf("%d of the slow connections were closed, want at least %d", gone, many-most)
			}
		})
	}
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}

// TestLimitTrickle: bytes of a request that never ends don't keep a connection.
func TestLimitTrickle(t *testing.T) {
	l, addr := limitedServer(t, 2, false, repeat)
	slow := dial(t, addr)
	io.WriteString(slow, "POST /predict HTTP/1.1\r\n")
	time.Sleep(20 * time.Millisecond)
	idle := dial(t, addr)
	if _, err := ask(idle, "POST", "/predict", "a"); err != nil {
		t.Fatal(err)
	}
	io.WriteString(slow, "X: y\r\n")
	if _, err := ask(dial(t, addr), "POST", "/predict", "b"); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(idle, "POST", "/predict", "c"); err != nil {
		t.Errorf("the connection that had a response since was closed: %v", err)
	}
	if l.Closed() != 1 {
		t.Errorf("%d connections were closed, want the slow one", l.Closed())
	}
}

// TestLimitRefuses: while requests are being served on all connections, a new one is
// refused, and none of them is lost.
func TestLimitRefuses(t *testing.T) {
	for _, netHTTPOnly := range []bool{false, true} {
		release, begun := make(chan struct{}), make(chan struct{}, 2)
		l, addr := limitedServer(t, 2, netHTTPOnly, func(w http.ResponseWriter, r *http.Request) {
			text, _ := io.ReadAll(r.Body)
			begun <- struct{}{}
			<-release
			w.Write(text)
		})
		results := make(chan error, 2)
		for range 2 {
			c := dial(t, addr)
			go func() {
				_, err := ask(c, "POST", "/predict", "x")
				results <- err
			}()
			<-begun
		}
		c := dial(t, addr)
		text, err := io.ReadAll(c)
		if err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 503 ") || !strings.HasSuffix(string(text), "\r\n\r\ntoo many open connections") {
			t.Errorf("netHTTPOnly=%v: the third connection got %q, %v", netHTTPOnly, text, err)
		}
		if l.Refused() != 1 || l.Closed() != 0 {
			t.Errorf("netHTTPOnly=%v: %d refused and %d closed, want 1 and 0", netHTTPOnly, l.Refused(), l.Closed())
		}
		close(release)
		for range 2 {
			if err := <-results; err != nil {
				t.Errorf("netHTTPOnly=%v: a request being served was lost: %v", netHTTPOnly, err)
			}
		}
		served := false
		for deadline := time.Now().Add(10 * time.Second); !served && time.Now().Before(deadline); {
			got, err := ask(dial(t, addr), "POST", "/predict", "y")
			served = err == nil && got == "y"
		}
		if !served {
			t.Errorf("netHTTPOnly=%v: nothing is served afterwards", netHTTPOnly)
		}
	}
}
