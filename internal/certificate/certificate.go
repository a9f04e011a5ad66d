// Package certificate configures TLS between the parts of a release: servers have their
// certificate in a folder, clients trust an authority.
package certificate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// handshake bounds the beginning of a client's connection.
const handshake = 10 * time.Second

// Server is the configuration of a server whose certificate and key are tls.crt and
// tls.key, in PEM, in a folder. They are read for each connection, so that new ones need
// no restart. It fails if there is no such pair yet.
func Server(folder string) (*tls.Config, error) {
	cert, key := filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key")
	if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
		return nil, fmt.Errorf("the server's certificate: %w", err)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			// The kubelet may replace both files between our reads of them.
			var pair tls.Certificate
			var err error
			for range 3 {
				if pair, err = tls.LoadX509KeyPair(cert, key); err == nil {
					break
				}
			}
			return &pair, err
		},
	}, nil
}

// Client returns a transport to a server that is reached at another address than its
// name, through a forwarded port for example: it verifies that the server has a
// certificate for the name, signed by one of the authorities in PEM.
func Client(authorities []byte, name string) (*http.Transport, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authorities) {
		return nil, errors.New("the authorities' certificates: none in PEM")
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, ServerName: name}
	return t, nil
}

// Dialer makes the TLS connections of an http.Transport. It trusts the authorities of the
// system and those in a file, in PEM, which is read for each connection, so that another
// authority needs no restart.
func Dialer(file string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			return nil, fmt.Errorf("the system's authorities: %w", err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("the authorities' certificates: %w", err)
		}
		pool.AppendCertsFromPEM(text)
		ctx, cancel := context.WithTimeout(ctx, handshake)
		defer cancel()
		d := tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, ServerName: host}}
		return d.DialContext(ctx, network, address)
	}
}
