package certificate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// writePair writes a new key and a certificate for it.
func writePair(t *testing.T, folder string, number int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(number), NotAfter: time.Now().Add(time.Hour)}
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
