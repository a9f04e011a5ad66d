package loadtest

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// good is an answer to one record.
const good = `{"model":{"name":"tiny","version":"7","run_id":"r"},"predictions":[{"label":0,"probability":0.25}]}`

// newClient returns a client for a server and the number of connections it opened.
func newClient(t *testing.T, target string, timeout time.Duration) (*client, *request, *int) {
	t.Helper()
	cfg, err := Config{Target: target, Bodies: []Body{{[]byte(`{"size":1}`), 1}}, Timeout: timeout}.defaults()
	if err != nil {
		t.Fatal(err)
	}
	p, err := cfg.prepare()
	if err != nil {
		t.Fatal(err)
	}
	opened := new(int)
	c := &client{endpoint: p.endpoint, opened: func() { *opened++ }}
	t.Cleanup(c.close)
	return c, &p.requests[0], opened
}

// listen starts a server of which each connection is handled by handle, and
// counts the requests that arrive.
func listen(t *testing.T, handle func(c net.Conn, next func() bool)) (target string, arrived *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	arrived = new(atomic.Int64)
	var all sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			all.Go(func() {
				defer c.Close()
				in := bufio.NewReader(c)
				handle(c, func() bool {
					r, err := http.ReadRequest(in)
					if err != nil {
						return false
					}
					if _, err := io.Copy(io.Discard, r.Body); err != nil {
						return false
					}
					arrived.Add(1)
					return true
				})
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return "http://" + l.Addr().String(), arrived
}

func answer(status, header, body string) string {
	return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s", status, len(body), header, body)
}

// kind returns the kind of a failure, "" where there is none.
func kind(t *testing.T, err error) string {
	t.Helper()
	var f *failure
	if err != nil && !errors.As(err, &f) {
		t.Fatalf("error %v is not a *failure", err)
	}
	if f == nil {
		return ""
	}
	return f.kind
}

// What servers answer, and what it counts as. A second request shows whether the
// connection was kept.
func TestAnswers(t *testing.T) {
	for _, test := range []struct {
		reason, answer string
		kind, text     string
		kept           bool
	}{
		{"a prediction", answer("200 OK", "", good), "", "", true},
		{"in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(good), good), "", "", true},
		{"after a word that it may go on", "HTTP/1.1 100 Continue\r\n\r\n" + answer("200 OK", "", good), "", "", true},
		{"the last on this connection", answer("200 OK", "Connection: close\r\n", good), "", "", false},
		{"an unsolicited response behind it", answer("200 OK", "", good) + answer("408 Request Timeout", "", ""), "", "", false},
		{"a problem", answer("503 Service Unavailable", "", `{"title":"No model","detail":"no version yet"}`), "status 5xx", "503 Service Unavailable: no version yet", true},
		{"a redirect is not followed", answer("302 Found", "Location: /elsewhere\r\n", ""), "status 3xx", "302 Found: ", true},
		{"no JSON", answer("200 OK", "", "ok"), WrongAnswer, "invalid character", true},
		{"no version", answer("200 OK", "", `{"predictions":[{"label":0,"probability":0.25}]}`), WrongAnswer, "no model version", true},
		{"no prediction", answer("200 OK", "", `{"model":{"version":"7"},"predictions":[]}`), WrongAnswer, "0 predictions for 1 record", true},
		{"no probability", answer("200 OK", "", `{"model":{"version":"7"},"predictions":[{"label":0}]}`), WrongAnswer, "without a label or a probability", true},
		{"a probability that is none", answer("200 OK", "", `{"model":{"version":"7"},"predictions":[{"label":0,"probability":1.5}]}`), WrongAnswer, "a probability of 1.5", true},
		{"a record that the cohort leaves out", answer("200 OK", "", `{"model":{"version":"7"},"predictions":[{"excluded":"died"}]}`), "", "", true},
		{"neither a score nor a reason for none", answer("200 OK", "", `{"model":{"version":"7"},"predictions":[{"excluded":""}]}`), WrongAnswer, "no reason why it is excluded", true},
		{"not HTTP", "SSH-2.0\r\n\r\n", Broken, "malformed HTTP", false},
		{"half an answer", answer("200 OK", "", good)[:60], Broken, "", false},
		{"nothing", "", Broken, "closed the connection before it responded", false},
	} {
		t.Run(test.reason, func(t *testing.T) {
			target, _ := listen(t, func(c net.Conn, next func() bool) {
				for next() {
					io.WriteString(c, test.answer)
					if test.kind == Broken {
						return
					}
				}
			})
			c, r, opened := newClient(t, target, 10*time.Second)
			for range 2 {
				version, err := c.send(r)
				if got := kind(t, err); got != test.kind || (err != nil && !strings.Contains(err.Error(), test.text)) {
					t.Fatalf("%v, want %q with %q", err, test.kind, test.text)
				}
				if err == nil && version != "7" {
					t.Errorf("version %q, want 7", version)
				}
			}
			if want := map[bool]int{true: 1, false: 2}[test.kept]; *opened != want {
				t.Errorf("%d connections for two requests, want %d", *opened, want)
			}
		})
	}
}

func TestManyPredictions(t *testing.T) {
	body := strings.Replace(good, `[{"label":0,"probability":0.25}]`, `[{"label":0,"probability":0},{"label":1,"probability":1}]`, 1)
	if version, err := check([]byte(body), 2); err != nil || version != "7" {
		t.Errorf("version %q, error %v", version, err)
	}
	if _, err := check([]byte(body), 3); err == nil {
		t.Error("2 predictions pass for 3 records")
	}
}

// A connection that was closed while nothing was on its way costs another
// connection and no request.
func TestClosedBetweenRequests(t *testing.T) {
	closed := make(chan struct{}, 2)
	target, arrived := listen(t, func(c net.Conn, next func() bool) {
		if next() {
			io.WriteString(c, answer("200 OK", "", good))
		}
		c.Close()
		closed <- struct{}{}
	})
	c, r, opened := newClient(t, target, 10*time.Second)
	for range 2 {
		if _, err := c.send(r); err != nil {
			t.Fatal(err)
		}
		<-closed
		for c.usable() { // until the news is here
			time.Sleep(time.Millisecond)
		}
	}
	if *opened != 2 || arrived.Load() != 2 {
		t.Errorf("%d connections and %d requests, want 2 and 2", *opened, arrived.Load())
	}
}

// A request on a kept connection that the server then closes without an answer
// is a failure, and is not sent again.
func TestNothingIsSentTwice(t *testing.T) {
	target, arrived := listen(t, func(c net.Conn, next func() bool) {
		if next() {
			io.WriteString(c, answer("200 OK", "", good))
		}
		next()
	})
	c, r, opened := newClient(t, target, 10*time.Second)
	if _, err := c.send(r); err != nil {
		t.Fatal(err)
	}
	if _, err := c.send(r); kind(t, err) != Broken {
		t.Errorf("error %v, want a broken connection", err)
	}
	if *opened != 1 || arrived.Load() != 2 {
		t.Errorf("%d connections and %d requests, want 1 and 2", *opened, arrived.Load())
	}
}

func TestTimeout(t *testing.T) {
	for _, test := range []struct{ reason, answer string }{
		{"no answer", ""},
		{"half an answer", answer("200 OK", "", good)[:60]},
	} {
		target, _ := listen(t, func(c net.Conn, next func() bool) {
			next()
			io.WriteString(c, test.answer)
			next() // until the client has gone
		})
		c, r, _ := newClient(t, target, 50*time.Millisecond)
		if _, err := c.send(r); kind(t, err) != TimedOut {
			t.Errorf("%s: error %v, want a timeout", test.reason, err)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	c, r, opened := newClient(t, "http://"+l.Addr().String(), 10*time.Second)
	if _, err := c.send(r); kind(t, err) != NotConnected {
		t.Errorf("error %v, want no connection", err)
	}
	if *opened != 0 {
		t.Errorf("%d connections opened", *opened)
	}
}

func TestTLS(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/below/predict" || r.ProtoMajor != 1 || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			http.Error(w, fmt.Sprint(r.Method, r.URL.Path, r.Proto, r.Header), http.StatusBadRequest)
			return
		}
		io.WriteString(w, good)
	}))
	defer s.Close()
	c, r, opened := newClient(t, s.URL+"/below", 10*time.Second)
	if _, err := c.send(r); kind(t, err) != NotConnected {
		t.Errorf("error %v from a server whose certificate is not known, want no connection", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	c.tls = &tls.Config{ServerName: c.tls.ServerName, RootCAs: roots}
	for range 3 {
		if _, err := c.send(r); err != nil {
			t.Fatal(err)
		}
	}
	if *opened != 1 {
		t.Errorf("%d connections, want 1", *opened)
	}
}
