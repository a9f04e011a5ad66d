package bulk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"

	"mlops/internal/postgres"
)

// run is a row of scored.runs.
type run struct {
	id                              int
	source, identity, target, model string
	progress
	ended bool
}

// progress is how far a run is.
type progress struct {
	position                  string // of the input; empty: its beginning
	records, excluded, warned int64
	upload                    string   // of an object: the multipart upload
	etags                     []string // of its parts
}

// ledger is the table of the runs. Whoever writes it holds the target's lock.
type ledger struct {
	session *postgres.Session
	log     *slog.Logger
}

const create = `CREATE SCHEMA IF NOT EXISTS scored;
CREATE TABLE IF NOT EXISTS scored.runs (
	id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	source text NOT NULL, identity text NOT NULL, target text NOT NULL, model text NOT NULL,
	records bigint NOT NULL DEFAULT 0, excluded bigint NOT NULL DEFAULT 0, warned bigint NOT NULL DEFAULT 0,
	position text NOT NULL DEFAULT '', upload text NOT NULL DEFAULT '', etags text[] NOT NULL DEFAULT '{}',
	started_at timestamptz NOT NULL DEFAULT now(), ended_at timestamptz
);
COMMENT ON TABLE scored.runs IS 'tables that were scored: from where, by which version, how far; the rows of a run without ended_at are not complete'`

// Share makes the schema scored and gives it to the role that scores tables, for ReadRole
// to read; without these roles it changes nothing. conn is connected to the database
// clean by its owner, or by a role that may create roles. It may be repeated.
func Share(ctx context.Context, conn *pgx.Conn) error {
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		var roles int
		if err := tx.QueryRow(ctx, "SELECT count(*) FROM pg_roles WHERE rolname IN ($1, $2)", postgres.ScoreRole, postgres.ReadRole).Scan(&roles); err != nil || roles < 2 {
			return err
		}
		sql := []string{create, "ALTER SCHEMA scored OWNER TO " + postgres.ScoreRole, "GRANT USAGE ON SCHEMA scored TO " + postgres.ReadRole}
		for _, s := range sql {
			if _, err := tx.Exec(ctx, s); err != nil {
				return err
			}
		}
		tables, err := tx.Query(ctx, "SELECT tablename FROM pg_tables WHERE schemaname = 'scored'")
		if err != nil {
			return err
		}
		names, err := pgx.CollectRows(tables, pgx.RowTo[string])
		if err != nil {
			return err
		}
		for _, name := range names {
			for _, s := range []string{"ALTER TABLE %s OWNER TO " + postgres.ScoreRole, "GRANT SELECT ON %s TO " + postgres.ReadRole} {
				if _, err := tx.Exec(ctx, fmt.Sprintf(s, quote("scored", name))); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("sharing the schema scored: %w", err)
	}
	return nil
}

func (l *ledger) do(ctx context.Context, what string, work func(context.Context, pgx.Tx) error) error {
	return l.session.Do(ctx, what, func(ctx context.Context, conn *pgx.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return work(ctx, tx) })
	})
}

const runColumns = "id, source, identity, target, model, position, records, excluded, warned, upload, etags, ended_at IS NOT NULL"

func scanRun(row pgx.CollectableRow) (*run, error) {
	r := new(run)
	return r, row.Scan(&r.id, &r.source, &r.identity, &r.target, &r.model, &r.position, &r.records, &r.excluded, &r.warned, &r.upload, &r.etags, &r.ended)
}

// begin returns the run that continues, nil if there is none, and those of the same
// source and target that another version, or another content of the source, has left
// unfinished.
func (l *ledger) begin(ctx context.Context, want run) (same *run, stale []*run, err error) {
	err = l.do(ctx, "looking up the runs", func(ctx context.Context, tx pgx.Tx) error {
		same, stale = nil, nil
		var there bool
		if err := tx.QueryRow(ctx, "SELECT to_regclass('scored.runs') IS NOT NULL").Scan(&there); err != nil {
			return err
		}
		if !there {
			if _, err := tx.Exec(ctx, create); err != nil {
				return err
			}
		}
		rows, err := tx.Query(ctx, "SELECT "+runColumns+" FROM scored.runs WHERE target = $1 AND (source = $2 OR identity = $3) ORDER BY id", want.target, want.source, want.identity)
		if err != nil {
			return err
		}
		all, err := pgx.CollectRows(rows, scanRun)
		if err != nil {
			return err
		}
		for _, r := range all {
			switch {
			case r.identity == want.identity && r.model == want.model:
				same = r
			case !r.ended:
				stale = append(stale, r)
			}
		}
		return nil
	})
	return same, stale, err
}

// add notes a new run.
func (l *ledger) add(ctx context.Context, r run) (*run, error) {
	err := l.do(ctx, "noting a run", func(ctx context.Context, tx pgx.Tx) error {
		// An earlier try may have added it, before its connection was lost.
		err := tx.QueryRow(ctx, "SELECT id FROM scored.runs WHERE target = $1 AND identity = $2 AND model = $3", r.target, r.identity, r.model).Scan(&r.id)
		if errors.Is(err, pgx.ErrNoRows) {
			err = tx.QueryRow(ctx, "INSERT INTO scored.runs (source, identity, target, model) VALUES ($1, $2, $3, $4) RETURNING id", r.source, r.identity, r.target, r.model).Scan(&r.id)
		}
		return err
	})
	return &r, err
}

func (l *ledger) remove(ctx context.Context, r *run) error {
	return l.do(ctx, "removing a run", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM scored.runs WHERE id = $1", r.id)
		return err
	})
}

// note moves a run to p together with what work writes; it does nothing if an earlier
// try has done so.
func (l *ledger) note(ctx context.Context, r *run, p progress, work func(context.Context, pgx.Tx) error) error {
	if p.etags == nil {
		p.etags = []string{}
	}
	err := l.do(ctx, "writing scored records", func(ctx context.Context, tx pgx.Tx) error {
		var position string
		if err := tx.QueryRow(ctx, "SELECT position FROM scored.runs WHERE id = $1 FOR UPDATE", r.id).Scan(&position); err != nil {
			return err
		}
		if position == p.position && position != r.position {
			return nil
		}
		if position != r.position {
			return fmt.Errorf("run %d is at %s, and not at %s: does another program write it?", r.id, position, r.position)
		}
		if work != nil {
			if err := work(ctx, tx); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, "UPDATE scored.runs SET position = $2, records = $3, excluded = $4, warned = $5, upload = $6, etags = $7, ended_at = NULL WHERE id = $1",
			r.id, p.position, p.records, p.excluded, p.warned, p.upload, p.etags)
		return err
	})
	if err == nil {
		r.progress, r.ended = p, false
	}
	return err
}

func (l *ledger) end(ctx context.Context, r *run) error {
	err := l.do(ctx, "ending a run", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE scored.runs SET ended_at = coalesce(ended_at, now()) WHERE id = $1", r.id)
		return err
	})
	r.ended = err == nil
	return err
}
