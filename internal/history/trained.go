package history

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// insufficientPrivilege is Postgres' code of an error.
const insufficientPrivilege = "42501"

// ErrNotAllowed says that this role was not given the table.
var ErrNotAllowed = errors.New("this step's role in Postgres may not use " + trained)

// trained has the digests of the files of each trained version, as training wrote them.
// Training may add to it and not change it; whoever can write into MLflow only can do
// neither.
const trained = "registry.trained"

const createTrained = `
CREATE TABLE IF NOT EXISTS registry.trained (
	run_id text PRIMARY KEY,
	model text NOT NULL,
	at timestamptz NOT NULL DEFAULT now(),
	files jsonb NOT NULL
);
COMMENT ON TABLE registry.trained IS 'SHA-256 of the files of each trained version, by its run in MLflow'`

// NoteTrained notes the SHA-256, in hex, of each file of a version before the version
// exists. A run's files can be noted once. The error is ErrNotAllowed if this role was
// not given the table.
func (l *Log) NoteTrained(ctx context.Context, model, runID string, files map[string]string) error {
	err := l.do(ctx, "noting the files of a version", func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, "INSERT INTO "+trained+" (run_id, model, files) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", runID, model, files)
		if err != nil || tag.RowsAffected() == 1 {
			return err
		}
		var same bool // after a COMMIT whose answer was lost
		if err := tx.QueryRow(ctx, "SELECT files = $2 FROM "+trained+" WHERE run_id = $1", runID, files).Scan(&same); err != nil || same {
			return err
		}
		return fmt.Errorf("other files of run %s are noted already", runID)
	})
	return allowed(err)
}

// allowed returns err, or one that wraps ErrNotAllowed too if that is why.
func allowed(err error) error {
	if code := (*pgconn.PgError)(nil); errors.As(err, &code) && code.Code == insufficientPrivilege {
		return fmt.Errorf("%w: %w", ErrNotAllowed, err)
	}
	return err
}

// Trained returns what NoteTrained noted of a run, nil if nothing, and since when versions
// of the model have been noted, the zero time if none has. The error is ErrNotAllowed if
// this role was not given the table.
func (l *Log) Trained(ctx context.Context, model, runID string) (files map[string]string, since time.Time, err error) {
	err = l.session.Do(ctx, "reading which files training wrote", func(ctx context.Context, conn *pgx.Conn) error {
		var there bool
		if err := conn.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", trained).Scan(&there); err != nil || !there {
			return err
		}
		var first *time.Time
		if err := conn.QueryRow(ctx, "SELECT min(at) FROM "+trained+" WHERE model = $1", model).Scan(&first); err != nil || first == nil {
			return err
		}
		since = *first
		err := conn.QueryRow(ctx, "SELECT files FROM "+trained+" WHERE run_id = $1 AND model = $2", runID, model).Scan(&files)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	return files, since, allowed(err)
}
