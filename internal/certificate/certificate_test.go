package certificate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// writePair writes a new key and a certificate for it, which is its own authority.
func writePair(t *testing.T, folder string, number int64, names ...string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(number), NotAfter: time.Now().Add(time.Hour), DNSNames: names}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: cert}, "tls.key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// The kubelet replaces a Secret's files at once, by renaming a link to their folder: no
// connection fails because that happened between the reads of certificate and key.
func TestRenewedMeanwhile(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	swap := func(to string) {
		link := filepath.Join(folder, "..data_tmp")
		if err := os.Symlink(to, link); err != nil {
			t.Error(err)
		}
		if err := os.Rename(link, filepath.Join(folder, "..data")); err != nil {
			t.Error(err)
		}
	}
	for i := range 2 {
		writePair(t, filepath.Join(folder, fmt.Sprintf("..%d", i)), int64(i))
	}
	swap("..0")
	for _, name := range []string{"tls.crt", "tls.key"} {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	config, err := Server(folder)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 100 {
			time.Sleep(20 * time.Millisecond)
			swap(fmt.Sprintf("..%d", (i+1)%2))
		}
	}()
	loads, failed, seen := 0, 0, map[string]bool{}
	for open := true; open; {
		select {
		case <-done:
			open = false
		default:
		}
		pair, err := config.GetCertificate(nil)
		loads++
		if err != nil {
			failed++
			t.Log(err)
			continue
		}
		seen[pair.Leaf.SerialNumber.String()] = true
	}
	if failed > 0 || len(seen) != 2 {
		t.Errorf("%d of %d connections found no pair; certificates seen: %v", failed, loads, seen)
	}
	if err := os.WriteFile(filepath.Join(folder, "..0", "tls.key"), []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	swap("..0")
	if _, err := config.GetCertificate(nil); err == nil {
		t.Error("a key that stays broken is no error")
	}
}

// A client goes on without a failed request while first its server's authority is replaced,
// by way of a file with both, and then the server's certificate; and it does verify.
func TestAuthorityReplaced(t *testing.T) {
	t.Parallel()
	folders := []string{t.TempDir(), t.TempDir()}
	served := t.TempDir()
	authorities := filepath.Join(t.TempDir(), "ca.crt")
	var certs [2][]byte
	for i, folder := range folders {
		writePair(t, folder, int64(i), "localhost")
		var err error
		if certs[i], err = os.ReadFile(filepath.Join(folder, "tls.crt")); err != nil {
			t.Fatal(err)
		}
	}
	put := func(path string, text []byte) { // as the kubelet does: at once
		t.Helper()
		if err := os.WriteFile(path+"_tmp", text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+"_tmp", path); err != nil {
			t.Fatal(err)
		}
	}
	link := func(folder string) {
		t.Helper()
		next := filepath.Join(served, "next")
		if err := os.Symlink(folder, next); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(served, "now")); err != nil {
			t.Fatal(err)
		}
	}
	put(authorities, certs[0])
	link(folders[0])
	config, err := Server(filepath.Join(served, "now"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	server.TLS = config
	server.Listener = tls.NewListener(server.Listener, config)
	server.Start()
	defer server.Close()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DialTLSContext: Dialer(authorities), DisableKeepAlives: true}, Timeout: 10 * time.Second}
	// ask makes requests and returns the serial number of the last one's certificate.
	ask := func() string {
		t.Helper()
		var serial string
		for range 20 {
			resp, err := client.Get("https://localhost:" + port)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			serial = resp.TLS.PeerCertificates[0].SerialNumber.String()
		}
		return serial
	}
	ask()
	put(authorities, slices.Concat(certs[0], certs[1]))
	ask()
	link(folders[1])
	if serial := ask(); serial != "1" {
		t.Errorf("certificate %s, want the new one", serial)
	}
	put(authorities, certs[1])
	ask()
	for _, tt := range []struct {
		host      string
		authority []byte
		want      string
	}{{"127.0.0.1", certs[1], "127.0.0.1"}, {"localhost", certs[0], "unknown authority"}} {
		put(authorities, tt.authority)
		if resp, err := client.Get("https://" + tt.host + ":" + port); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s, which must not be trusted: %v, %v; want %q", tt.host, resp, err, tt.want)
		}
	}
}
