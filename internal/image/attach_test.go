package image

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/crypto/nacl/secretbox"
	"golang.org/x/crypto/scrypt"
)

// pushedImage pushes an image to a registry of this process.
func pushedImage(t *testing.T, options ...registry.Option) (ref, digest string) {
	t.Helper()
	server := httptest.NewServer(registry.New(append(options, registry.Logger(log.New(io.Discard, "", 0)))...))
	t.Cleanup(server.Close)
	ref = strings.TrimPrefix(server.URL, "http://") + "/ours/ui:1.0"
	digest, err := Push(t.Context(), ref, map[string]v1.Image{"amd64": empty.Image})
	if err != nil {
		t.Fatal(err)
	}
	return ref, digest
}

// content reads the only layer of an image.
func content(t *testing.T, img v1.Image) string {
	t.Helper()
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	r, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAttach(t *testing.T) {
	t.Parallel()
	const mediaType, document = "application/spdx+json", `{"spdxVersion":"SPDX-2.3"}`
	for _, supported := range []bool{true, false} {
		ref, digest := pushedImage(t, registry.WithReferrersSupport(supported))
		for range 2 { // again: still one
			if err := Attach(t.Context(), ref, digest, mediaType, []byte(document)); err != nil {
				t.Fatal(err)
			}
		}
		r, err := name.NewDigest(strings.TrimSuffix(ref, ":1.0") + "@" + digest)
		if err != nil {
			t.Fatal(err)
		}
		index, err := remote.Referrers(r)
		if err != nil {
			t.Fatal(err)
		}
		m, err := index.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Manifests) != 1 || m.Manifests[0].ArtifactType != mediaType {
			t.Fatalf("referrers API %v: %+v, want one of %s", supported, m.Manifests, mediaType)
		}
		img, err := remote.Image(r.Context().Digest(m.Manifests[0].Digest.String()))
		if err != nil {
			t.Fatal(err)
		}
		if got := content(t, img); got != document {
			t.Errorf("attached: %s", got)
		}
	}
	ref, _ := pushedImage(t)
	if err := Attach(t.Context(), ref, "sha256:"+strings.Repeat("0", 64), mediaType, nil); err == nil {
		t.Error("something is attached to an image that isn't there")
	}
}

func newKey(t *testing.T) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, der
}

// Checked as cosign's specification of signatures says.
func TestSign(t *testing.T) {
	t.Parallel()
	ref, digest := pushedImage(t)
	key, _ := newKey(t)
	if err := Sign(t.Context(), ref, digest, key); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(strings.TrimSuffix(ref, "1.0") + "sha256-" + strings.TrimPrefix(digest, "sha256:") + ".sig")
	if err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(tag)
	if err != nil {
		t.Fatal(err)
	}
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	payload := content(t, img)
	layer := m.Layers[0]
	sum := sha256.Sum256([]byte(payload))
	signature, err := base64.StdEncoding.DecodeString(layer.Annotations["dev.cosignproject.cosign/signature"])
	if err != nil || !ecdsa.VerifyASN1(&key.PublicKey, sum[:], signature) {
		t.Errorf("the signature does not verify: %v", err)
	}
	other, _ := newKey(t)
	if ecdsa.VerifyASN1(&other.PublicKey, sum[:], signature) {
		t.Error("the signature verifies with another key")
	}
	if layer.MediaType != "application/vnd.dev.cosign.simplesigning.v1+json" || layer.Digest.Hex != fmt.Sprintf("%x", sum) {
		t.Errorf("layer %+v", layer)
	}
	want := fmt.Sprintf(`{"critical":{"identity":{"docker-reference":%q},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`, strings.TrimSuffix(ref, ":1.0"), digest)
	if payload != want {
		t.Errorf("payload %s, want %s", payload, want)
	}
}

// encrypted is a key as cosign encrypts it.
func encrypted(t *testing.T, der []byte, password string) []byte {
	t.Helper()
	salt, nonce := make([]byte, 32), [24]byte{1}
	derived, err := scrypt.Key([]byte(password), salt, 1<<10, 8, 1, 32)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{
		"kdf":        map[string]any{"name": "scrypt", "params": map[string]int{"N": 1 << 10, "r": 8, "p": 1}, "salt": salt},
		"cipher":     map[string]any{"name": "nacl/secretbox", "nonce": nonce[:]},
		"ciphertext": secretbox.Seal(nil, der, &nonce, (*[32]byte)(derived)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED SIGSTORE PRIVATE KEY", Bytes: text})
}

func TestReadKey(t *testing.T) {
	t.Parallel()
	key, der := newKey(t)
	ec, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		why  string
		text []byte
		want string // of the error; empty: the key
	}{
		{"cosign's", encrypted(t, der, "secret"), ""},
		{"PKCS #8", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), ""},
		{"SEC 1", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: ec}), ""},
		{"another password", encrypted(t, der, "other"), "COSIGN_PASSWORD"},
		{"no PEM", []byte("x"), "not in PEM"},
		{"a public key", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), `"PUBLIC KEY"`},
		{"broken", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der[:20]}), "signing key"},
	} {
		got, err := ReadKey(tt.text, "secret")
		switch {
		case tt.want == "" && (err != nil || !got.Equal(key)):
			t.Errorf("%s: %v", tt.why, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: %v, want %q", tt.why, err, tt.want)
		}
	}
}
