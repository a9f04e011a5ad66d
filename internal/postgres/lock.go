package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"mlops/internal/retry"
)

// Busy is the error of Lock if another run held the lock for too long.
type Busy struct {
	Name   string
	Holder string // the session that has it, in words
	Waited time.Duration
}

func (e *Busy) Error() string {
	return fmt.Sprintf("%s: another run is active (%s) and did not end within %s; nothing was done", e.Name, e.Holder, e.Waited)
}

// lockKey returns the name's key among a database's 2^64 advisory locks.
func lockKey(name string) int64 {
	h := sha256.Sum256([]byte("mlops lock " + name))
	return int64(binary.BigEndian.Uint64(h[:]))
}

// TryLock takes the advisory lock of that name for the lifetime of the
// connection, or reports false if another session has it.
func TryLock(ctx context.Context, conn *pgx.Conn, name string) (bool, error) {
	var ok bool
	if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", lockKey(name)).Scan(&ok); err != nil {
		return false, fmt.Errorf("locking %s: %w", name, err)
	}
	return ok, nil
}

// Lock is like TryLock but waits for the other run, logs that it does, and gives
// up with *Busy after wait.
func Lock(ctx context.Context, conn *pgx.Conn, name string, wait time.Duration, logger *slog.Logger) error {
	const (
		pollEvery = 200 * time.Millisecond
		logEvery  = 10 * time.Second
	)
	began := time.Now()
	var logged time.Time
	for {
		ok, err := TryLock(ctx, conn, name)
		if err != nil || ok {
			return err
		}
		waited := time.Since(began)
		if waited < wait && time.Since(logged) < logEvery {
			if !retry.Sleep(ctx, min(pollEvery, wait-waited)) {
				return ctx.Err()
			}
			continue
		}
		by, err := holder(ctx, conn, name)
		if err != nil {
			return err
		}
		if waited >= wait {
			return &Busy{name, by, wait}
		}
		logged = time.Now()
		logger.Info("waiting for another run", "lock", name, "holder", by, "waited", waited.Round(time.Second).String(), "at_most", wait.String())
	}
}

// holder describes the session that has the lock. pg_locks shows a bigint lock as
// two halves, with objsubid 1.
func holder(ctx context.Context, conn *pgx.Conn, name string) (string, error) {
	key := uint64(lockKey(name))
	var pid int32
	var role string
	var addr *string // of another role's session only some roles see this
	var since *time.Time
	err := conn.QueryRow(ctx, `SELECT a.pid, coalesce(a.usename, 'a role that is gone'), coalesce(host(a.client_addr), CASE WHEN a.backend_start IS NOT NULL THEN 'local' END), a.backend_start
		FROM pg_locks l JOIN pg_stat_activity a USING (pid)
		WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
		  AND l.classid::bigint = $1 AND l.objid::bigint = $2
		  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
		int64(key>>32), int64(uint32(key))).Scan(&pid, &role, &addr, &since)
	if errors.Is(err, pgx.ErrNoRows) {
		return "just ended", nil
	}
	if err != nil {
		return "", fmt.Errorf("finding the holder of lock %s: %w", name, err)
	}
	if addr == nil || since == nil {
		return fmt.Sprintf("Postgres session %d of %s", pid, role), nil
	}
	return fmt.Sprintf("Postgres session %d of %s from %s, since %s", pid, role, *addr, since.UTC().Format(time.RFC3339)), nil
}
