package signature

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

func pair(t *testing.T) (*Signer, []byte) {
	t.Helper()
	private, public, err := Generate()
	if err != nil {
		t.Fatal(err)
	}
	s, err := ReadSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return s, public
}

func TestVerify(t *testing.T) {
	signer, public := pair(t)
	stranger, _ := pair(t)
	names := []string{"model.ubj", "serving.json"}
	files := func(model, serving string) fstest.MapFS {
		return fstest.MapFS{"model.ubj": {Data: []byte(model)}, "serving.json": {Data: []byte(serving)}, "plots.png": {Data: []byte("anything")}}
	}
	of := func(model string, version int, fsys fstest.MapFS) Subject {
		t.Helper()
		s, err := Of(model, version, fsys, names)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	signed := of("readmission", 7, files("trees", "threshold"))
	signature := signer.Sign(signed)
	trusted, err := ReadTrusted(public)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name      string
		subject   Subject
		signature string
		want      error
	}{
		{"what was signed", signed, signature, nil},
		{"another file besides", of("readmission", 7, fstest.MapFS{"model.ubj": {Data: []byte("trees")}, "serving.json": {Data: []byte("threshold")}}), signature, nil},
		{"a changed file", of("readmission", 7, files("other trees", "threshold")), signature, ErrChanged},
		{"two files' contents exchanged", of("readmission", 7, files("threshold", "trees")), signature, ErrChanged},
		{"another version", of("readmission", 8, files("trees", "threshold")), signature, ErrChanged},
		{"another model", of("penguins", 7, files("trees", "threshold")), signature, ErrChanged},
		{"no signature", signed, "", ErrUnsigned},
		{"a stranger's signature", signed, stranger.Sign(signed), ErrForeign},
		{"a stranger's under the trusted key's id", signed, strings.Join([]string{"ed25519", strings.Split(signature, ":")[1], strings.Split(stranger.Sign(signed), ":")[2]}, ":"), ErrChanged},
		{"not base64", signed, strings.TrimSuffix(signature, "=") + "!", ErrChanged},
		{"another scheme", signed, "none::", ErrChanged},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := trusted.Verify(tt.subject, tt.signature); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// Helm can't take the public key out of a private one, but can make a certificate of it.
func TestCertificate(t *testing.T) {
	signer, _ := pair(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.key.Public(), signer.key)
	if err != nil {
		t.Fatal(err)
	}
	trusted, err := ReadTrusted(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	if err != nil {
		t.Fatal(err)
	}
	subject := Subject{Model: "m", Version: 1}
	if err := trusted.Verify(subject, signer.Sign(subject)); err != nil {
		t.Error(err)
	}
}

// Rotation: both keys are trusted for a while, then only the new one.
func TestRotation(t *testing.T) {
	old, oldPublic := pair(t)
	next, nextPublic := pair(t)
	subject, err := Of("m", 1, fstest.MapFS{"a": {Data: []byte("x")}}, []string{"a"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		keys []byte
		old  error
		next error
	}{
		{"before", oldPublic, nil, ErrForeign},
		{"meanwhile", slices.Concat(oldPublic, []byte("a comment\n"), nextPublic), nil, nil},
		{"afterwards", nextPublic, ErrForeign, nil},
	} {
		trusted, err := ReadTrusted(tt.keys)
		if err != nil {
			t.Fatal(err)
		}
		if err := trusted.Verify(subject, old.Sign(subject)); !errors.Is(err, tt.old) {
			t.Errorf("%s: the old key's signature: %v, want %v", tt.name, err, tt.old)
		}
		if err := trusted.Verify(subject, next.Sign(subject)); !errors.Is(err, tt.next) {
			t.Errorf("%s: the new key's signature: %v, want %v", tt.name, err, tt.next)
		}
	}
}

func TestWrongKeys(t *testing.T) {
	for name, text := range map[string]string{"nothing": "", "no PEM": "key", "a public key": func() string { _, p := pair(t); return string(p) }()} {
		if _, err := ReadSigner([]byte(text)); err == nil {
			t.Errorf("%s is taken for a signing key", name)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nothing":             "",
		"another kind of key": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		"a broken key":        string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})),
	} {
		if _, err := ReadTrusted([]byte(text)); err == nil {
			t.Errorf("%s is taken for trusted keys", name)
		}
	}
}
