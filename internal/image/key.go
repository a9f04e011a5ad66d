package image

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"golang.org/x/crypto/nacl/secretbox"
	"golang.org/x/crypto/scrypt"
)

// cosignKey is what `cosign generate-key-pair` writes into the PEM block of a private key.
type cosignKey struct {
	KDF struct {
		Name   string `json:"name"`
		Params struct{ N, R, P int }
		Salt   []byte `json:"salt"`
	} `json:"kdf"`
	Cipher struct {
		Name  string `json:"name"`
		Nonce []byte `json:"nonce"`
	} `json:"cipher"`
	Ciphertext []byte `json:"ciphertext"`
}

// ReadKey reads a private key for Sign: one that cosign generated, which the password
// opens, or an ECDSA key in PEM (PKCS #8 or SEC 1).
func ReadKey(text []byte, password string) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("reading the signing key: it is not in PEM")
	}
	der := block.Bytes
	switch block.Type {
	case "ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY":
		var err error
		if der, err = openKey(block.Bytes, password); err != nil {
			return nil, fmt.Errorf("reading the signing key: %w", err)
		}
	case "EC PRIVATE KEY":
		key, err := x509.ParseECPrivateKey(der)
		if err != nil {
			return nil, fmt.Errorf("reading the signing key: %w", err)
		}
		return key, nil
	case "PRIVATE KEY":
	default:
		return nil, fmt.Errorf("reading the signing key: a PEM block %q, want a private key of cosign or ECDSA", block.Type)
	}
	any, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("reading the signing key: %w", err)
	}
	key, ok := any.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("reading the signing key: it is a %T, want ECDSA", any)
	}
	return key, nil
}

// maxScrypt bounds the memory that opening a key takes: 128·N·r bytes.
const maxScrypt = 1 << 30

func openKey(text []byte, password string) ([]byte, error) {
	var k cosignKey
	if err := json.Unmarshal(text, &k); err != nil {
		return nil, err
	}
	p := k.KDF.Params
	if k.KDF.Name != "scrypt" || k.Cipher.Name != "nacl/secretbox" || len(k.Cipher.Nonce) != 24 || p.N < 1 || p.R < 1 || p.N > maxScrypt/128/p.R {
		return nil, fmt.Errorf("it is encrypted with %s and %s, want scrypt and nacl/secretbox", k.KDF.Name, k.Cipher.Name)
	}
	derived, err := scrypt.Key([]byte(password), k.KDF.Salt, p.N, p.R, p.P, 32)
	if err != nil {
		return nil, err
	}
	der, ok := secretbox.Open(nil, k.Ciphertext, (*[24]byte)(k.Cipher.Nonce), (*[32]byte)(derived))
	if !ok {
		return nil, errors.New("the password does not open it; set COSIGN_PASSWORD")
	}
	return der, nil
}
