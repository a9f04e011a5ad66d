package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
)

// Session is a connection that is made anew when it was lost. Where it has a
// lock, the lock is as old as the connection: work never runs without it.
type Session struct {
	cfg      Config
	database string
	lock     string
	logger   *slog.Logger
	conn     *pgx.Conn
}

// NewSession returns a session with a database; nothing is connected yet. lock
// names the advisory lock that it holds; empty: none.
func NewSession(cfg Config, database, lock string, logger *slog.Logger) *Session {
	return &Session{cfg: cfg.Defaults(), database: database, lock: lock, logger: logger}
}

// Conn returns the connection, made and locked first where that is needed.
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

// Do runs work, and runs it again on a new connection when it was lost or the
// server broke it off, up to the Config's Tries. work must be a whole
// transaction that finds out by itself what an earlier run of it has committed:
// a connection lost during COMMIT leaves that open.
func (s *Session) Do(ctx context.Context, what string, work func(ctx context.Context, conn *pgx.Conn) error) error {
	wait := 200 * time.Millisecond
	for try := 1; ; try++ {
		err := s.do(ctx, work)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", what, context.Cause(ctx))
		}
		if !Transient(err) {
			return fmt.Errorf("%s: %w", what, err)
		}
		if try >= s.cfg.Tries {
			return fmt.Errorf("%s, %d times tried: %w", what, try, err)
		}
		s.logger.Warn("trying again", "what", what, "try", try, "of", s.cfg.Tries, "error", err.Error())
		s.Close()
		if err := sleep(ctx, wait); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		wait = min(2*wait, 5*time.Second)
	}
}

func (s *Session) do(ctx context.Context, work func(ctx context.Context, conn *pgx.Conn) error) error {
	conn, err := s.Conn(ctx)
	if err != nil {
		return err
	}
	return work(ctx, conn)
}

// Close ends the connection and frees the lock.
func (s *Session) Close() {
	if s.conn != nil {
		closeConn(s.conn)
		s.conn = nil
	}
}

// closeConn says goodbye to the server, but not for long.
func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	conn.Close(ctx)
}
