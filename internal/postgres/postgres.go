// Package postgres connects the steps to Postgres. It waits, within bounds, for a
// server that is starting or unreachable, keeps runs of the same step apart with
// an advisory lock, and repeats a unit of work if the connection is lost during
// it.
package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"mlops/internal/retry"
)

// Config names the server and bounds how long to wait for it.
type Config struct {
	// ConnString is a libpq connection string or URL. Its database is ignored:
	// every connection names its own.
	ConnString string

	Raw   string // database of the records as they arrived; empty: "raw"
	Clean string // database of the cleaned records; empty: "clean"

	Patience time.Duration // how long to wait for a server that can't be reached; 0: 60 s
	LockWait time.Duration // how long to wait for another run; 0: 10 min
	Tries    int           // of a unit of work that the server aborted; 0: 5
}

// Defaults returns the Config with defaults for everything left out.
func (c Config) Defaults() Config {
	if c.Raw == "" {
		c.Raw = "raw"
	}
	if c.Clean == "" {
		c.Clean = "clean"
	}
	if c.Patience == 0 {
		c.Patience = time.Minute
	}
	if c.LockWait == 0 {
		c.LockWait = 10 * time.Minute
	}
	if c.Tries == 0 {
		c.Tries = 5
	}
	return c
}

// ConnString returns a connection string with the values of libpq's environment
// variables PGHOST, PGPORT, PGUSER and PGPASSWORD. Empty ones are left out.
func ConnString(host, port, user, password string) string {
	quote := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	var b strings.Builder
	for _, p := range [][2]string{{"host", host}, {"port", port}, {"user", user}, {"password", password}} {
		if p[1] != "" {
			fmt.Fprintf(&b, "%s='%s' ", p[0], quote.Replace(p[1]))
		}
	}
	return strings.TrimSpace(b.String())
}

// Unreachable is the error of Connect once its patience has run out.
type Unreachable struct {
	Server   string // host:port/database
	Patience time.Duration
	Err      error
}

func (e *Unreachable) Error() string {
	return fmt.Sprintf("Postgres at %s could not be reached for %s: %v", e.Server, e.Patience, e.Err)
}
func (e *Unreachable) Unwrap() error { return e.Err }

// Connect connects to a database of the server and waits while the server is
// missing or starting. Any other error (a wrong password, no such database)
// returns at once.
func Connect(ctx context.Context, cfg Config, database string, logger *slog.Logger) (*pgx.Conn, error) {
	cfg = cfg.Defaults()
	pc, err := pgx.ParseConfig(cfg.ConnString)
	if err != nil {
		// pgx's own error may quote the connection string, password and all.
		return nil, errors.New("connecting to Postgres: the connection string can't be read")
	}
	pc.Database = database
	pc.RuntimeParams["application_name"] = "mlops"
	if pc.ConnectTimeout == 0 {
		pc.ConnectTimeout = 10 * time.Second
	}
	// Without keepalives a server that disappears silently would block a read forever.
	dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 6}}
	pc.DialFunc = dialer.DialContext
	server := fmt.Sprintf("%s:%d/%s", pc.Host, pc.Port, database)

	var conn *pgx.Conn
	policy := retry.Policy{
		Patience: cfg.Patience, Wait: 100 * time.Millisecond,
		Log: logger.With("server", server), Level: slog.LevelWarn, Message: "waiting for Postgres",
	}
	err = retry.Do(ctx, policy, func(ctx context.Context) (err error) {
		conn, err = connect(ctx, pc)
		if distrusts(err) {
			return retry.Permanent(fmt.Errorf("connecting to Postgres at %s with TLS as PGSSLMODE asks for, and authorities as PGSSLROOTCERT names them: %w", server, Cause(err)))
		}
		if err != nil && !transient(err) {
			return retry.Permanent(fmt.Errorf("connecting to Postgres at %s: %w", server, Cause(err)))
		}
		return Cause(err)
	})
	var exhausted *retry.ExhaustedError
	switch {
	case err == nil:
		return conn, nil
	case errors.As(err, &exhausted):
		return nil, &Unreachable{server, cfg.Patience, exhausted.Err}
	}
	return nil, err
}

func connect(ctx context.Context, pc *pgx.ConnConfig) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, pc)
	if err != nil {
		return nil, err
	}
	// The server then notices within seconds that a client was killed during a
	// long statement, and releases its lock.
	if _, err := conn.Exec(ctx, "SET client_connection_check_interval = '2s'"); err != nil {
		conn.Close(ctx)
		return nil, err
	}
	if e := conn.PgConn().ParameterStatus("server_encoding"); e != "UTF8" {
		conn.Close(ctx)
		return nil, fmt.Errorf("the database's encoding is %s, want UTF8", e)
	}
	return conn, nil
}

// Cause reduces pgx's long report of all attempts to the last error.
func Cause(err error) error {
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		return pe
	}
	var oe *net.OpError
	if errors.As(err, &oe) {
		return oe
	}
	return err
}

// Code returns the SQLSTATE of a server's error, or "".
func Code(err error) string {
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		return pe.Code
	}
	return ""
}

// UniqueViolation is the SQLSTATE of a row that breaks a unique index.
const UniqueViolation = "23505"

// UndefinedFunction is the SQLSTATE of a call of a function that isn't there.
const UndefinedFunction = "42883"

// transient reports whether the same work may succeed if it is repeated: the
// connection was lost or refused, the server was starting or stopping, or it
// aborted the transaction in favor of another. SQLSTATEs are from Postgres'
// Appendix A.
func transient(err error) bool {
	var gone *Unreachable
	if err == nil || errors.As(err, &gone) || errors.Is(err, context.Canceled) {
		return false
	}
	if code := Code(err); code != "" {
		switch code {
		case "40001", "40P01", // serialization failure, deadlock
			"25P03",                            // idle in a transaction for too long
			"53300",                            // too many connections
			"55P03",                            // lock not available
			"57P01", "57P02", "57P03", "57P05": // stopping, crashed, starting, idle too long
			return true
		}
		return strings.HasPrefix(code, "08") // connection exceptions
	}
	if distrusts(err) {
		return false
	}
	var ne net.Error
	var oe *net.OpError
	return errors.As(err, &oe) || errors.As(err, &ne) || pgconn.SafeToRetry(err) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// distrusts reports whether a server's TLS is not what sslmode demands.
func distrusts(err error) bool {
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError // as sslmode=verify-ca finds it
	var invalid x509.CertificateInvalidError
	return errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &invalid) ||
		err != nil && strings.Contains(err.Error(), "server refused TLS connection") // pgx has no type for it
}
