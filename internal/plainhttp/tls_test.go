package plainhttp

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// Over TLS, plain requests and all others are served as without, on one connection too,
// and whoever connects without a word loses the connection to one more client.
func TestTLS(t *testing.T) {
	t.Parallel()
	donor := httptest.NewTLSServer(nil) // for its certificate
	defer donor.Close()
	for _, netHTTPOnly := range []bool{false, true} {
		inner := listen(t)
		l := Limit(inner, 2).Secure(&tls.Config{Certificates: donor.TLS.Certificates})
		var plain int
		h := &http.Server{ReadHeaderTimeout: time.Minute, IdleTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if byPlain(w) {
				plain++
			}
			body, _ := io.ReadAll(r.Body)
			w.Write(body)
		})}
		var s interface {
			Serve(net.Listener) error
			Close() error
		} = h
		if netHTTPOnly {
			l.Attach(h)
		} else {
			s = New(h, http.MethodPost, "/predict", slog.New(slog.DiscardHandler))
		}
		done := make(chan error, 1)
		go func() { done <- s.Serve(l) }()

		silent := []net.Conn{dial(t, inner.Addr().String()), dial(t, inner.Addr().String())}
		for l.Open() < 2 {
			time.Sleep(time.Millisecond)
		}
		c := tls.Client(dial(t, inner.Addr().String()), &tls.Config{InsecureSkipVerify: true})
		defer c.Close()
		in := bufio.NewReader(c)
		for i, path := range []string{"/predict", "/predict", "/other", "/predict"} {
			want := strings.Repeat("x", 2000*(1+i))
			if _, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", path, len(want), want); err != nil {
				t.Fatal(err)
			}
			if _, got := answer(t, in); got != want {
				t.Errorf("%s: %d bytes, want %d", path, len(got), len(want))
			}
		}
		if want := map[bool]int{false: 2, true: 0}[netHTTPOnly]; plain != want {
			t.Errorf("net/http only %t: %d plain requests, want %d", netHTTPOnly, plain, want)
		}
		if _, err := silent[0].Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("net/http only %t: the oldest silent connection: %v, want it closed", netHTTPOnly, err)
		}
		if l.Closed() != 1 {
			t.Errorf("net/http only %t: %d connections were closed for others, want 1", netHTTPOnly, l.Closed())
		}
		resp, err := http.Get("http://" + inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("net/http only %t: without TLS: %s", netHTTPOnly, resp.Status)
		}
		s.Close()
		<-done
	}
}
