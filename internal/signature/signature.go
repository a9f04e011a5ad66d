// Package signature signs the files of a model version and checks signatures, so
// that a server loads only what promotion has seen.
//
// A signature is over a text that names the registered model, the version and the
// SHA-256 of each file. Its own text is "ed25519", the id of the public key and the
// signature in base64, joined by colons; it fits into a tag of the version.
package signature

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

var (
	// ErrUnsigned: there is no signature.
	ErrUnsigned = errors.New("the version is not signed")
	// ErrForeign: the signature is by a key that is not trusted.
	ErrForeign = errors.New("the version is signed by a key that is not trusted")
	// ErrChanged: a file, the model's name or the version is not what was signed.
	ErrChanged = errors.New("the version's files are not those that were signed")
)

// scheme begins every signature.
const scheme = "ed25519"

// Subject is what a signature is over.
type Subject struct {
	Model   string // registered model
	Version int
	Files   map[string]string // name to SHA-256 in hex

	// Challenger says that the signature lets the version be compared with the one in
	// production, and not be served.
	Challenger bool
}

// Of reads the files of a version.
func Of(model string, version int, files fs.FS, names []string) (Subject, error) {
	s := Subject{Model: model, Version: version, Files: map[string]string{}}
	for _, name := range names {
		f, err := files.Open(name)
		if err != nil {
			return Subject{}, fmt.Errorf("reading a model version's files: %w", err)
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		f.Close()
		if err != nil {
			return Subject{}, fmt.Errorf("reading a model version's files: %w", err)
		}
		s.Files[name] = hex.EncodeToString(h.Sum(nil))
	}
	return s, nil
}

// text is what is signed. Each part has its length in front, so that no two
// subjects have the same text.
func (s Subject) text() []byte {
	var b bytes.Buffer
	part := func(text string) { fmt.Fprintf(&b, "%d:%s\n", len(text), text) }
	if s.Challenger {
		part("mlops challenger version")
	} else {
		part("mlops model version")
	}
	part(s.Model)
	part(strconv.Itoa(s.Version))
	names := make([]string, 0, len(s.Files))
	for name := range s.Files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		part(name)
		part(s.Files[name])
	}
	return b.Bytes()
}

// id names a public key in a signature.
func id(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:8])
}

// Signer signs with one private key.
type Signer struct{ key ed25519.PrivateKey }

// ReadSigner reads a private key as PKCS #8 in PEM, as openssl and Helm write it.
func ReadSigner(text []byte) (*Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("reading the signing key: it is not PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading the signing key: %w", err)
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("reading the signing key: it is a %T, want ed25519", key)
	}
	return &Signer{key: private}, nil
}

// Trusted are the keys whose own signatures the signer recognizes.
func (s *Signer) Trusted() Trusted {
	return Trusted{s.key.Public().(ed25519.PublicKey)}
}

// Sign returns the signature of a subject.
func (s *Signer) Sign(subject Subject) string {
	public := s.key.Public().(ed25519.PublicKey)
	return scheme + ":" + id(public) + ":" + base64.StdEncoding.EncodeToString(ed25519.Sign(s.key, subject.text()))
}

// Trusted are the public keys that are accepted.
type Trusted []ed25519.PublicKey

// ReadTrusted reads PEM blocks of public keys or certificates, one after another.
func ReadTrusted(text []byte) (Trusted, error) {
	var keys Trusted
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		key, err := public(block)
		if err != nil {
			return nil, fmt.Errorf("reading trusted key %d: %w", len(keys)+1, err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("reading the trusted keys: there is none, so no version could be served")
	}
	return keys, nil
}

func public(block *pem.Block) (ed25519.PublicKey, error) {
	var key any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "CERTIFICATE":
		var c *x509.Certificate
		if c, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = c.PublicKey
		}
	default:
		return nil, fmt.Errorf("a %s, want a PUBLIC KEY or CERTIFICATE", block.Type)
	}
	if err != nil {
		return nil, err
	}
	ed, ok := key.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("it is a %T, want ed25519", key)
	}
	return ed, nil
}

// Verify checks that a trusted key has signed the subject.
func (t Trusted) Verify(subject Subject, signature string) error {
	if signature == "" {
		return ErrUnsigned
	}
	parts := strings.Split(signature, ":")
	if len(parts) != 3 || parts[0] != scheme {
		return fmt.Errorf("%w: %q is not a signature", ErrChanged, signature)
	}
	sum, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil {
		return fmt.Errorf("%w: the signature is not base64", ErrChanged)
	}
	at := slices.IndexFunc(t, func(k ed25519.PublicKey) bool { return id(k) == parts[1] })
	if at < 0 {
		return fmt.Errorf("%w: key %s", ErrForeign, parts[1])
	}
	if !ed25519.Verify(t[at], subject.text(), sum) {
		return ErrChanged
	}
	return nil
}

// Generate makes a pair of keys in PEM.
func Generate() (private, public []byte, err error) {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("making a signing key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("making a signing key: %w", err)
	}
	pubDER, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, nil, fmt.Errorf("making a signing key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pubDER}), nil
}
