package tlsproxy

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mlops/internal/certificate"
)

// get asks over a new connection, trusting the authorities in a file.
func get(t *testing.T, ca, name, address string) (string, error) {
	t.Helper()
	text, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := certificate.Client(text, name)
	if err != nil {
		t.Fatal(err)
	}
	transport.DisableKeepAlives = true
	resp, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Get("https://" + address + "/a?b=c")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// A server without TLS is reached with it, by clients that trust its authority, also once
// its certificate has been replaced.
func TestServe(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1<<20)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host+r.RequestURI+long) }))
	defer server.Close()
	cert, ca := authority(t, "mlops-mlflow")
	_, stranger := authority(t, "mlops-mlflow")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config, err := certificate.Server(filepath.Dir(cert))
	if err != nil {
		t.Fatal(err)
	}
	run(t, func(ctx context.Context) error {
		return Serve(ctx, l, config, func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(server.URL, "http://"))
		}, quiet)
	})
	address := l.Addr().String()
	if got, err := get(t, ca, "mlops-mlflow", address); err != nil || got != address+"/a?b=c"+long {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	for what, f := range map[string]func() (string, error){
		"another authority": func() (string, error) { return get(t, stranger, "mlops-mlflow", address) },
		"another name":      func() (string, error) { return get(t, ca, "mlops-minio", address) },
	} {
		if _, err := f(); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: error %v, want one about the certificate", what, err)
		}
	}
	resp, err := http.Get("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), "use https") {
		t.Errorf("without TLS: %s: %s", resp.Status, body)
	}

	renewed, renewedCA := authority(t, "mlops-mlflow")
	for _, name := range []string{"tls.crt", "tls.key"} {
		if err := os.Rename(filepath.Join(filepath.Dir(renewed), name), filepath.Join(filepath.Dir(cert), name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := get(t, renewedCA, "mlops-mlflow", address); err != nil {
		t.Errorf("after its certificate was replaced: %v", err)
	}
}

// A request that is being answered when the context ends gets its answer.
func TestServeEnds(t *testing.T) {
	t.Parallel()
	begun, finish := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-finish
		io.WriteString(w, "done")
	}))
	defer server.Close()
	cert, ca := authority(t, "x")
	config, err := certificate.Server(filepath.Dir(cert))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, l, config, func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(server.URL, "http://"))
		}, quiet)
	}()
	got := make(chan string, 1)
	go func() {
		text, err := get(t, ca, "x", l.Addr().String())
		if err != nil {
			text = err.Error()
		}
		got <- text
	}()
	<-begun
	stop()
	for range 500 { // no new connections
		if c, err := net.Dial("tcp", l.Addr().String()); err != nil {
			break
		} else {
			c.Close()
		}
		time.Sleep(time.Millisecond)
	}
	close(finish)
	if text := <-got; text != "done" {
		t.Errorf("the response is %q", text)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Whoever opens all connections that there may be, and sends nothing or half a request,
// keeps nobody out.
func TestServeOthersMeanwhile(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "here") }))
	defer server.Close()
	cert, ca := authority(t, "x")
	config, err := certificate.Server(filepath.Dir(cert))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	run(t, func(ctx context.Context) error {
		return Serve(ctx, l, config, func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(server.URL, "http://"))
		}, quiet)
	})
	for i := range maxConnections + 50 {
		c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if i%2 == 0 {
			io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\n")
		}
	}
	for range 20 {
		began := time.Now()
		if got, err := get(t, ca, "x", l.Addr().String()); err != nil || got != "here" {
			t.Fatalf("%q, %v", got, err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("a response took %v", took)
		}
	}
}
