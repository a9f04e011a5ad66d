package plainhttp

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// loop is a connection whose client sends the same requests again and again.
type loop struct {
	net.Conn
	sent [][]byte
	n    int
	left int
}

func (l *loop) Read(p []byte) (int, error) {
	if l.left == 0 {
		return 0, io.EOF
	}
	l.left--
	l.n++
	return copy(p, l.sent[l.n%len(l.sent)]), nil
}
func (l *loop) Write(p []byte) (int, error)      { return len(p), nil }
func (l *loop) Close() error                     { return nil }
func (l *loop) SetReadDeadline(time.Time) error  { return nil }
func (l *loop) SetWriteDeadline(time.Time) error { return nil }
func (l *loop) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (l *loop) RemoteAddr() net.Addr             { return &net.TCPAddr{} }

// BenchmarkRequest is what a plain request costs beside its handler and the
// system's calls, without and with a Limiter.
func BenchmarkRequest(b *testing.B) {
	b.Run("alone", func(b *testing.B) { benchmarkRequest(b, func(c net.Conn) net.Conn { return c }) })
	b.Run("limited", func(b *testing.B) {
		benchmarkRequest(b, func(c net.Conn) net.Conn { return &limited{Conn: c, limiter: Limit(nil, 1), place: -1} })
	})
}

func benchmarkRequest(b *testing.B, wrap func(net.Conn) net.Conn) {
	text := []byte(`{"predictions":[{"label":0,"probability":0.25}]}`)
	s := New(&http.Server{IdleTimeout: time.Minute, WriteTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = []string{"application/json"}
		w.Write(text)
	})}, http.MethodPost, "/predict", slog.New(slog.DiscardHandler))
	var sent [][]byte
	for i := range 10 {
		body := strings.Repeat("x", 900+i)
		sent = append(sent, fmt.Appendf(nil, "POST /predict HTTP/1.1\r\nHost: x\r\nUser-Agent: mlops-loadtest\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	}
	b.ReportAllocs()
	c := s.open(b.Context(), wrap(&loop{sent: sent, left: b.N}))
	c.run()
}
