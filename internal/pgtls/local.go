package pgtls

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Certificate is the configuration of a server that has its certificate and key in two
// files, in PEM. They are read for each connection, so that new ones need no restart.
func Certificate(cert, key string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(cert, key)
		return &pair, err
	}}
}

// Local returns an environment in which Postgres' own programs, built without TLS, reach
// the server that libpq's variables name in env: where its TLS is required, over a bridge
// that listens on a socket of this machine until the context ends. The server's
// certificate is verified as PGSSLMODE says. getenv reads env.
func Local(ctx context.Context, env []string, getenv func(string) string, log *slog.Logger) ([]string, error) {
	switch getenv("PGSSLMODE") {
	case "", "disable", "allow", "prefer":
		if getenv("PGSSLROOTCERT") != "system" {
			return env, nil
		}
	}
	var text strings.Builder // libpq's format
	for _, p := range [][2]string{{"host", "PGHOST"}, {"port", "PGPORT"}, {"sslmode", "PGSSLMODE"}, {"sslrootcert", "PGSSLROOTCERT"}} {
		if v := getenv(p[1]); v != "" {
			fmt.Fprintf(&text, "%s='%s' ", p[0], strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(v))
		}
	}
	server, err := pgconn.ParseConfig(text.String() + "user=nobody")
	if err != nil {
		return nil, fmt.Errorf("the connection to Postgres: %w", err)
	}
	dir, err := os.MkdirTemp("", "pg") // short: a socket's path has at most 107 bytes
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { os.RemoveAll(dir) })
	port := strconv.Itoa(int(server.Port))
	l, err := net.Listen("unix", filepath.Join(dir, ".s.PGSQL."+port))
	if err != nil {
		return nil, err
	}
	go func() {
		err := Bridge(ctx, l, func(ctx context.Context) (net.Conn, error) {
			return Dial(ctx, net.JoinHostPort(server.Host, port), server.TLSConfig)
		}, log)
		if err != nil {
			log.Error("the bridge to Postgres has ended", "error", err)
		}
	}()
	var local []string
	for _, line := range env {
		switch name, _, _ := strings.Cut(line, "="); name {
		case "PGHOST", "PGPORT", "PGSSLMODE", "PGSSLROOTCERT":
		default:
			local = append(local, line)
		}
	}
	return append(local, "PGHOST="+dir, "PGPORT="+port, "PGSSLMODE=disable"), nil
}
