package tlsproxy

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"mlops/internal/certificate"
	"mlops/internal/postgres"
)

var quiet = slog.New(slog.DiscardHandler)

// backend returns the test server's settings, or skips.
func backend(t *testing.T) *pgx.ConnConfig {
	t.Helper()
	url := os.Getenv("MLOPS_TEST_POSTGRES")
	if url == "" {
		t.Skip("SKIPPED, NOT PASSED: MLOPS_TEST_POSTGRES names no server")
	}
	c, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// authority writes a certificate for a host, with its key beside it, and the certificate of
// who signed it.
func authority(t *testing.T, host string) (cert, ca string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	newKey := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	caKey, leafKey := newKey(), newKey()
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, &caKey.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{host}, NotBefore: root.NotBefore, NotAfter: root.NotAfter}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, &leafKey.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	write("tls.key", "PRIVATE KEY", keyDER)
	return write("tls.crt", "CERTIFICATE", leafDER), write("ca.crt", "CERTIFICATE", rootDER)
}

// certified is the configuration of a server with that certificate.
func certified(t *testing.T, cert string) *tls.Config {
	t.Helper()
	config, err := certificate.Server(filepath.Dir(cert))
	if err != nil {
		t.Fatal(err)
	}
	config.NextProtos = nil
	return config
}

// front serves TLS before a server, and returns its port.
func front(t *testing.T, server *pgx.ConnConfig, cert string) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	run(t, func(ctx context.Context) error {
		return ServePostgres(ctx, l, certified(t, cert), func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(server.Host, strconv.Itoa(int(server.Port))))
		}, quiet)
	})
	return l.Addr().(*net.TCPAddr).Port
}

func run(t *testing.T, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A client of each sslmode meets the server's TLS as libpq's documentation says.
func TestModes(t *testing.T) {
	t.Parallel()
	server := backend(t)
	cert, ca := authority(t, "localhost")
	_, stranger := authority(t, "localhost")
	port := front(t, server, cert)
	for _, test := range []struct{ name, host, options, refused string }{
		{"no TLS", "localhost", "sslmode=disable", "TLS connections only"},
		{"TLS if there is", "localhost", "sslmode=prefer", ""},
		{"TLS", "localhost", "sslmode=require", ""},
		{"the right authority", "localhost", "sslmode=verify-full sslrootcert=" + ca, ""},
		{"another authority", "localhost", "sslmode=verify-full sslrootcert=" + stranger, "certificate"},
		{"another host", "127.0.0.1", "sslmode=verify-full sslrootcert=" + ca, "certificate"},
		{"another host, which does not matter", "127.0.0.1", "sslmode=verify-ca sslrootcert=" + ca, ""},
	} {
		cfg := postgres.Config{ConnString: postgres.ConnString(test.host, strconv.Itoa(port), server.User, server.Password) + " " + test.options,
			Patience: 20 * time.Second}
		began := time.Now()
		conn, err := postgres.Connect(context.Background(), cfg, "postgres", quiet)
		switch {
		case test.refused == "" && err != nil:
			t.Errorf("%s: %v", test.name, err)
		case test.refused != "" && (err == nil || !strings.Contains(err.Error(), test.refused)):
			t.Errorf("%s: error %v, want one about %q", test.name, err, test.refused)
		case test.refused != "" && time.Since(began) > 10*time.Second:
			t.Errorf("%s: tried again for %s, though no other try can help", test.name, time.Since(began))
		}
		if conn != nil {
			var n int // longer than any buffer on the way
			if err := conn.QueryRow(context.Background(), "SELECT length(repeat('x', 5000000) || $1)", strings.Repeat("y", 3_000_000)).Scan(&n); err != nil || n != 8_000_000 {
				t.Errorf("%s: %d, %v", test.name, n, err)
			}
			conn.Close(context.Background())
		}
	}
}

// A client that can't do TLS reaches such a server over a socket of its own.
func TestBridge(t *testing.T) {
	server := backend(t)
	cert, ca := authority(t, "localhost")
	port := front(t, server, cert)
	psql, err := exec.LookPath("psql")
	var env []string
	for _, v := range [][2]string{{"PGHOST", "localhost"}, {"PGPORT", strconv.Itoa(port)}, {"PGUSER", server.User}, {"PGPASSWORD", server.Password},
		{"PGSSLMODE", "verify-full"}, {"PGSSLROOTCERT", ca}} {
		t.Setenv(v[0], v[1])
		env = append(env, v[0]+"="+v[1])
	}
	bridged, err2 := Local(t.Context(), env, quiet)
	if err2 != nil {
		t.Fatal(err2)
	}
	host := ""
	for _, line := range bridged {
		if v, ok := strings.CutPrefix(line, "PGHOST="); ok {
			host = v
		}
	}
	if err == nil { // a real one, without TLS
		cmd := exec.Command(psql, "-d", "postgres", "-qAtXc", "SELECT 6 * 7")
		cmd.Env = bridged
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != "42\n" {
			t.Errorf("psql: %v: %s", err, out)
		}
	}
	conn, err := pgx.Connect(context.Background(), postgres.ConnString(host, strconv.Itoa(port), server.User, server.Password)+" dbname=postgres sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var n int
	if err := conn.QueryRow(context.Background(), "SELECT 6 * 7").Scan(&n); err != nil || n != 42 {
		t.Errorf("%d, %v", n, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, err := conn.Exec(ctx, "SELECT pg_sleep(60)"); err == nil {
		t.Error("a cancelled statement ended without an error")
	}
}

func TestLocalWithoutTLS(t *testing.T) {
	t.Setenv("PGHOST", "db")
	t.Setenv("PGSSLROOTCERT", "")
	env := []string{"PGHOST=db", "PGSSLMODE=?"}
	for _, mode := range []string{"", "disable", "allow", "prefer"} {
		t.Setenv("PGSSLMODE", mode)
		got, err := Local(t.Context(), env, quiet)
		if err != nil || strings.Join(got, " ") != strings.Join(env, " ") {
			t.Errorf("%s: %v, %v: want it unchanged, since a client without TLS may connect", mode, got, err)
		}
	}
}

// What is not Postgres' protocol, or stops half-way, ends.
func TestStrangers(t *testing.T) {
	t.Parallel()
	cert, _ := authority(t, "localhost")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	run(t, func(ctx context.Context) error {
		return ServePostgres(ctx, l, certified(t, cert), func(context.Context) (net.Conn, error) {
			t.Error("a stranger reached the server")
			return nil, io.EOF
		}, quiet)
	})
	for _, text := range []string{"GET / HTTP/1.1\r\n\r\n", "\x00\x00\x00\x08\x04\xd2\x16\x2fnot TLS", "\x00\x00\x00\x04\x00\x03\x00\x00", "\xff\xff\xff\xff\x00\x00\x00\x00"} {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(5 * time.Second))
		io.WriteString(c, text)
		if _, err := io.Copy(io.Discard, c); err != nil && os.IsTimeout(err) {
			t.Errorf("%q: still open", text)
		}
		c.Close()
	}
	// No TLS.
	_, err = tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err == nil {
		t.Error("TLS began without being asked for")
	}
}

// MLflow's image has a bridge of its own, in Python, for the dump before a migration.
func TestBridgeOfMLflow(t *testing.T) {
	t.Parallel()
	server, venv := backend(t), os.Getenv("MLOPS_VENV")
	if venv == "" {
		t.Skip("SKIPPED, NOT PASSED: MLOPS_VENV is not set; make test sets it")
	}
	cert, ca := authority(t, "localhost")
	_, stranger := authority(t, "localhost")
	port := front(t, server, cert)
	const script = `
import sys, tempfile
sys.path.insert(0, "../../images/mlflow")
import psycopg2, server
with tempfile.TemporaryDirectory() as folder:
    host = server.bridge("localhost", int(sys.argv[1]), folder)
    with psycopg2.connect(host=host, port=sys.argv[1], user=sys.argv[2], password=sys.argv[3], dbname="postgres", sslmode="disable") as c:
        with c.cursor() as q:
            q.execute("SELECT length(repeat('x', 5000000))")
            print(q.fetchone()[0])
`
	for roots, want := range map[string]string{ca: "5000000\n", stranger: "certificate verify failed"} {
		cmd := exec.Command(filepath.Join(venv, "bin", "python"), "-c", script, strconv.Itoa(port), server.User, server.Password)
		cmd.Env = append(os.Environ(), "PGSSLMODE=verify-full", "PGSSLROOTCERT="+roots, "MLFLOW_DISABLE_TELEMETRY=true", "DO_NOT_TRACK=true", "GIT_PYTHON_REFRESH=quiet")
		if out, err := cmd.CombinedOutput(); !strings.Contains(string(out), want) || (err == nil) != (roots == ca) {
			t.Errorf("%v: %s, want %q", err, out, want)
		}
	}
}
