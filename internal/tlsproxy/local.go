package tlsproxy

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Local returns env changed so that Postgres' own programs, built without TLS, reach the
// server that libpq's variables name: where its TLS is required, over a bridge that
// listens on a socket of this machine until the context ends. The server's certificate
// is verified as PGSSLMODE says.
func Local(ctx context.Context, env []string, log *slog.Logger) ([]string, error) {
	server, err := pgconn.ParseConfig("") // of libpq's variables alone
	if err != nil {
		return nil, fmt.Errorf("the connection to Postgres: %w", err)
	}
	if server.TLSConfig == nil || slices.ContainsFunc(server.Fallbacks, func(f *pgconn.FallbackConfig) bool { return f.TLSConfig == nil }) {
		return env, nil // a client without TLS may connect
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
