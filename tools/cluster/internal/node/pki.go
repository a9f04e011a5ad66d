package node

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	leafLife  = 365 * 24 * time.Hour
	rootLife  = 10 * leafLife
	renewLeaf = 60 * 24 * time.Hour  // before it expires
	renewRoot = 400 * 24 * time.Hour // before it expires, so that no leaf outlives it
)

// pki is a folder of certificates and keys, which are created if they are missing
// and renewed before they expire.
type pki struct {
	dir string
	now time.Time
}

// identity is the content of a certificate.
type identity struct {
	name   string // of its files
	ca     string // name of the signing authority's files
	cn     string
	groups []string
	server bool     // it also identifies a server
	hosts  []string // names and addresses
}

// pair is a certificate with its key.
type pair struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte // of the certificate
	keyP []byte // PEM of the key
}

func (p *pki) path(name string) string { return filepath.Join(p.dir, name) }

// authority returns the authority of that name, created if necessary.
func (p *pki) authority(name string) (*pair, error) {
	have, err := p.read(name)
	if err != nil {
		return nil, err
	}
	if have != nil && p.now.Before(have.cert.NotAfter.Add(-renewRoot)) {
		return have, nil
	}
	return p.write(name, &x509.Certificate{
		Subject:               pkix.Name{CommonName: "mlops-" + name},
		NotAfter:              p.now.Add(rootLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}, nil)
}

// leaf returns the certificate of that identity, created if necessary.
func (p *pki) leaf(id identity) (*pair, error) {
	ca, err := p.authority(id.ca)
	if err != nil {
		return nil, err
	}
	want := &x509.Certificate{
		Subject:     pkix.Name{CommonName: id.cn, Organization: id.groups},
		NotAfter:    p.now.Add(leafLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if id.server {
		want.ExtKeyUsage = append(want.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, h := range id.hosts {
		if ip := net.ParseIP(h); ip != nil {
			want.IPAddresses = append(want.IPAddresses, ip)
		} else {
			want.DNSNames = append(want.DNSNames, h)
		}
	}
	have, err := p.read(id.name)
	if err != nil {
		return nil, err
	}
	if have != nil && have.cert.CheckSignatureFrom(ca.cert) == nil && p.now.Before(have.cert.NotAfter.Add(-renewLeaf)) && same(have.cert, want) {
		return have, nil
	}
	return p.write(id.name, want, ca)
}

// same reports whether two certificates describe the same owner.
func same(a, b *x509.Certificate) bool {
	return a.Subject.String() == b.Subject.String() && slices.Equal(a.DNSNames, b.DNSNames) && slices.Equal(a.ExtKeyUsage, b.ExtKeyUsage) &&
		slices.EqualFunc(a.IPAddresses, b.IPAddresses, net.IP.Equal)
}

// read returns nil if a file is missing or broken; the pair is then created again.
func (p *pki) read(name string) (*pair, error) {
	cert, err1 := os.ReadFile(p.path(name + ".crt"))
	key, err2 := os.ReadFile(p.path(name + ".key"))
	if err := errors.Join(err1, err2); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("reading certificate: %w", err)
	}
	c, _ := pem.Decode(cert)
	k, _ := pem.Decode(key)
	if c == nil || k == nil {
		return nil, nil
	}
	pc, err1 := x509.ParseCertificate(c.Bytes)
	pk, err2 := x509.ParseECPrivateKey(k.Bytes)
	if err1 != nil || err2 != nil || !pk.PublicKey.Equal(pc.PublicKey) {
		return nil, nil
	}
	return &pair{pc, pk, cert, key}, nil
}

// write generates a key, signs the certificate (with itself if ca is nil) and
// writes both, the key first: half a pair counts as none.
func (p *pki) write(name string, t *x509.Certificate, ca *pair) (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating a key: %w", err)
	}
	if t.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return nil, fmt.Errorf("creating a certificate: %w", err)
	}
	t.NotBefore = p.now.Add(-time.Hour) // clocks of suspended machines may be wrong
	parent, signer := t, key
	if ca != nil {
		parent, signer = ca.cert, ca.key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, key.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("creating a certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("creating a certificate: %w", err)
	}
	derKey, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("generating a key: %w", err)
	}
	made := &pair{cert, key,
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: derKey})}
	if err := writeFile(p.path(name+".key"), made.keyP); err != nil {
		return nil, err
	}
	return made, writeFile(p.path(name+".crt"), made.pem)
}

// key creates the key that signs the tokens of service accounts. It never changes,
// since every token in the cluster depends on it.
func (p *pki) key(name string) error {
	if _, err := os.Stat(p.path(name + ".key")); err == nil {
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("generating a key: %w", err)
	}
	private, err1 := x509.MarshalECPrivateKey(key)
	public, err2 := x509.MarshalPKIXPublicKey(key.Public())
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("generating a key: %w", err)
	}
	if err := writeFile(p.path(name+".pub"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})); err != nil {
		return err
	}
	return writeFile(p.path(name+".key"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}))
}

// writeFile writes a file atomically, readable by the owner only, unless it has
// that content already. (The main module has a library for this; adding it to
// go.mod would change the digest that names the built Kubernetes.)
func writeFile(path string, text []byte) error {
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, text) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(text)
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
