package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"mlops/internal/retry"
)

// Session is a connection that is replaced if it is lost. Its lock, if it has
// one, is taken with each connection, so work never runs without it.
type Session struct {
	cfg      Config
	database string
	lock     string
	logger   *slog.Logger
	conn     *pgx.Conn
}

// NewSession returns a session with a database, which isn't connected yet. lock
// names the advisory lock that it holds; empty: none.
func NewSession(cfg Config, database, lock string, logger *slog.Logger) *Session {
	return &Session{cfg: cfg.Defaults(), database: database, lock: lock, logger: logger}
}

// diskFull is Postgres' code for a volume without room.
const diskFull = "53100"

// Conn returns the connection, and connects and locks first if necessary.
func (s *Session) Conn(ctx context.Context) (*pgx.Conn, error) {
	if s.conn != nil && !s.conn.IsClosed() {
		return s.conn, nil
	}
	conn, err := Connect(ctx, s.cfg, s.database, s.logger)
	if err != nil {
		return nil, err
	}
	if s.lock != "" {
		if err := Lock(ctx, conn, s.lock, s.cfg.LockWait, s.logger); err != nil {
			closeConn(conn)
			return nil, err
		}
	}
	s.conn = conn
	return conn, nil
}

// Do runs work, and repeats it on a new connection if the connection was lost or
// the server aborted it, up to the Config's Tries. work must be a complete
// transaction that itself finds out what an earlier try has committed, since that
// is unknown after a connection is lost during COMMIT.
func (s *Session) Do(ctx context.Context, what string, work func(ctx context.Context, conn *pgx.Conn) error) error {
	policy := retry.Policy{
		Tries: s.cfg.Tries, Wait: 200 * time.Millisecond,
		Log: s.logger.With("what", what, "of", s.cfg.Tries), Level: slog.LevelWarn, Message: "trying again",
	}
	err := retry.Do(ctx, policy, func(ctx context.Context) error {
		err := s.do(ctx, work)
		if !transient(err) {
			return retry.Permanent(err)
		}
		s.Close()
		return err
	})
	var exhausted *retry.ExhaustedError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exhausted):
		return fmt.Errorf("%s (tried %d times): %w", what, exhausted.Tries, exhausted.Err)
	case Code(err) == diskFull:
		return fmt.Errorf("%s: Postgres' volume is full, see \"A full volume\" in docs/operating.md: %w", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

func (s *Session) do(ctx context.Context, work func(ctx context.Context, conn *pgx.Conn) error) error {
	conn, err := s.Conn(ctx)
	if err != nil {
		return err
	}
	return work(ctx, conn)
}

// Close closes the connection and releases the lock.
func (s *Session) Close() {
	if s.conn != nil {
		closeConn(s.conn)
		s.conn = nil
	}
}

// closeConn closes a connection, and doesn't wait long for the server.
func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	conn.Close(ctx)
}
