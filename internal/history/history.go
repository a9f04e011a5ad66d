// Package history remembers what was in production: each promotion, refusal,
// rollback and pin of a registered model, in a table of the database clean; and, in
// another, which files training wrote.
package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"mlops/internal/api"
	"mlops/internal/postgres"
)

// Kind is what happened.
type Kind string

const (
	Promoted   Kind = "promoted"    // the gate put a version into production
	Kept       Kind = "kept"        // the gate compared, and left production as it was
	Refused    Kind = "refused"     // no candidate may be in production
	RolledBack Kind = "rolled back" // somebody put an earlier version back
	Adopted    Kind = "adopted"     // somebody put a notebook's version into production
	Pinned     Kind = "pinned"      // somebody stopped automatic promotion
	Unpinned   Kind = "unpinned"    // and somebody allowed it again

	Moved Kind = "moved by hand" // somebody moved the alias past the platform

	Removed Kind = "versions removed" // retention removed versions that were never in production

	Challenged   Kind = "challenger chosen"  // somebody chose the version to compare with
	Unchallenged Kind = "challenger dropped" // and left that to the gate again
)

// Event is a line of the history.
type Event struct {
	At    time.Time
	Model string
	Kind  Kind
	By    string // a workflow or a person
	From  int    // number of the version in production before; 0: none
	To    int    // and afterwards
	Why   string // as a sentence
	// Figures are what the gate compared, nil where nothing was.
	Figures *Figures
}

// Wire is the event as the API has it.
func (e *Event) Wire() api.Event {
	return api.Event{At: e.At.UTC(), Kind: string(e.Kind), By: e.By, From: e.From, To: e.To, Why: e.Why, Figures: e.Figures}
}

// Figures are what From and To scored on the same rows; Rival is the best candidate that
// is neither.
type (
	Figures = api.Figures
	Rival   = api.Rival
)

// Log is the history of all models in one database.
type Log struct {
	session *postgres.Session
}

// New returns the history that is kept in the session's database.
func New(session *postgres.Session) *Log { return &Log{session} }

// table has a line per event. A line that isn't settled says what is about to
// happen: whether it did is found out by the next run, if this one is killed.
const table = "registry.history"

const create = `
CREATE SCHEMA IF NOT EXISTS registry;
CREATE TABLE IF NOT EXISTS registry.history (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	at timestamptz NOT NULL DEFAULT now(),
	model text NOT NULL,
	event text NOT NULL,
	by text NOT NULL,
	from_version integer NOT NULL,
	to_version integer NOT NULL,
	why text NOT NULL,
	figures jsonb,
	settled boolean NOT NULL
);
CREATE INDEX IF NOT EXISTS history_of_model ON registry.history (model, id);
COMMENT ON TABLE registry.history IS 'what was in production of each registered model, and why: promotions, refusals, rollbacks, pins'`

// Share makes the tables and gives them to the gate's role: the history for ReadRole to
// read, the files of trained versions for TrainRole to add to; without these roles it changes nothing. conn is connected to the database
// clean by its owner, or by a role that may create roles. It may be repeated.
func Share(ctx context.Context, conn *pgx.Conn) error {
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		var roles int
		if err := tx.QueryRow(ctx, "SELECT count(*) FROM pg_roles WHERE rolname IN ($1, $2, $3)", postgres.PromoteRole, postgres.TrainRole, postgres.ReadRole).Scan(&roles); err != nil || roles < 3 {
			return err
		}
		sql := []string{create, createTrained, "GRANT USAGE ON SCHEMA registry TO " + postgres.ReadRole, "GRANT SELECT ON registry.history TO " + postgres.ReadRole,
			// In this order: a table's new owner has to be one that may create tables in its schema.
			"ALTER SCHEMA registry OWNER TO " + postgres.PromoteRole, "ALTER TABLE registry.history OWNER TO " + postgres.PromoteRole,
			"GRANT USAGE ON SCHEMA registry TO " + postgres.TrainRole, "GRANT SELECT, INSERT ON registry.trained TO " + postgres.TrainRole,
			"ALTER TABLE registry.trained OWNER TO " + postgres.PromoteRole}
		for _, s := range sql {
			if _, err := tx.Exec(ctx, s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("sharing %s: %w", table, err)
	}
	return nil
}

// Announce notes an event that is about to move the alias production. Settle
// follows once it has moved.
func (l *Log) Announce(ctx context.Context, e Event) error {
	return l.do(ctx, "announcing an event in the history", func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "DELETE FROM "+table+" WHERE model = $1 AND NOT settled", e.Model); err != nil {
			return err
		}
		return insert(ctx, tx, e, false)
	})
}

// Settle keeps what was announced where it happened, which is where its version
// is in production now, and drops it where it didn't. It returns the event that it
// kept, nil where there was none.
func (l *Log) Settle(ctx context.Context, model string, production int) (settled *Event, err error) {
	err = l.do(ctx, "settling the history", func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, "UPDATE "+table+" SET settled = true WHERE model = $1 AND NOT settled AND to_version = $2 RETURNING "+columns, model, production)
		if err != nil {
			return err
		}
		e, err := pgx.CollectOneRow(rows, scan)
		switch {
		case err == nil:
			settled = &e
		case !errors.Is(err, pgx.ErrNoRows):
			return err
		}
		_, err = tx.Exec(ctx, "DELETE FROM "+table+" WHERE model = $1 AND NOT settled", model)
		return err
	})
	return settled, err
}

// Add notes an event that moved nothing, unless the newest line says the same: a
// schedule that finds the same data again, or a second try, adds none.
func (l *Log) Add(ctx context.Context, e Event) error {
	return l.do(ctx, "adding to the history", func(ctx context.Context, tx pgx.Tx) error {
		var same bool
		err := tx.QueryRow(ctx, "SELECT (event, from_version, to_version, why) = ($2, $3, $4, $5) FROM "+table+" WHERE model = $1 ORDER BY id DESC LIMIT 1",
			e.Model, string(e.Kind), e.From, e.To, e.Why).Scan(&same)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) || same {
			return err
		}
		return insert(ctx, tx, e, true)
	})
}

// Found notes that a version is in production, where the history says that another
// is: somebody moved the alias past the platform.
func (l *Log) Found(ctx context.Context, model string, production int, by string) error {
	last, err := l.List(ctx, model, 1)
	if err != nil || len(last) == 0 || last[0].To == production {
		return err
	}
	return l.Add(ctx, Event{Model: model, Kind: Moved, By: "unknown", From: last[0].To, To: production,
		Why: "the alias production was moved in MLflow, as " + by + " found"})
}

// List returns the newest events of a model; see List.
func (l *Log) List(ctx context.Context, model string, limit int) (events []Event, err error) {
	err = l.session.Do(ctx, "reading the history", func(ctx context.Context, conn *pgx.Conn) error {
		events, err = List(ctx, conn, model, limit)
		return err
	})
	return events, err
}

// List returns the newest events of a model in a database, the newest first, at
// most limit of them (0: all). A database without a history has none.
func List(ctx context.Context, conn *pgx.Conn, model string, limit int) ([]Event, error) {
	var there bool
	if err := conn.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", table).Scan(&there); err != nil || !there {
		return nil, err
	}
	rows, err := conn.Query(ctx, "SELECT "+columns+" FROM "+table+
		" WHERE model = $1 AND settled ORDER BY id DESC LIMIT nullif($2, 0)", model, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scan)
}

// Recent returns the newest events of a model, at most limit of them, for programs that
// can't read the table.
func (l *Log) Recent(ctx context.Context, model string, limit int) (recent api.Events, err error) {
	err = l.session.Do(ctx, "reading the history", func(ctx context.Context, conn *pgx.Conn) error {
		list, err := List(ctx, conn, model, limit)
		if err != nil || len(list) == 0 {
			return err
		}
		recent = api.Events{Model: model, Written: time.Now().UTC().Truncate(time.Millisecond)}
		for i := range list {
			recent.Events = append(recent.Events, list[i].Wire())
		}
		return conn.QueryRow(ctx, "SELECT count(*) FROM "+table+" WHERE model = $1 AND settled", model).Scan(&recent.Total)
	})
	return recent, err
}

// InProduction returns the versions of a model that any event says were in production.
func (l *Log) InProduction(ctx context.Context, model string) (map[int]bool, error) {
	was := map[int]bool{}
	err := l.do(ctx, "reading the history", func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, "SELECT from_version FROM "+table+" WHERE model = $1 UNION SELECT to_version FROM "+table+" WHERE model = $1", model)
		if err != nil {
			return err
		}
		numbers, err := pgx.CollectRows(rows, pgx.RowTo[int])
		for _, n := range numbers {
			was[n] = true
		}
		return err
	})
	return was, err
}

// columns are those that scan reads.
const columns = "at, model, event, by, from_version, to_version, why, figures"

func scan(row pgx.CollectableRow) (e Event, err error) {
	err = row.Scan(&e.At, &e.Model, &e.Kind, &e.By, &e.From, &e.To, &e.Why, &e.Figures)
	return e, err
}

func insert(ctx context.Context, tx pgx.Tx, e Event, settled bool) error {
	var figures any
	if e.Figures != nil {
		text, err := json.Marshal(e.Figures)
		if err != nil {
			return fmt.Errorf("encoding figures: %w", err)
		}
		figures = string(text)
	}
	_, err := tx.Exec(ctx, "INSERT INTO "+table+" (model, event, by, from_version, to_version, why, figures, settled) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		e.Model, string(e.Kind), e.By, e.From, e.To, e.Why, figures, settled)
	return err
}

// do runs work in a transaction, after making the tables where one is missing.
func (l *Log) do(ctx context.Context, what string, work func(ctx context.Context, tx pgx.Tx) error) error {
	return l.session.Do(ctx, what, func(ctx context.Context, conn *pgx.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			var there bool
			if err := tx.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL AND to_regclass($2) IS NOT NULL", table, trained).Scan(&there); err != nil {
				return err
			}
			if !there {
				// Two that create it at once would fail in spite of IF NOT EXISTS.
				if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtext($1))", table); err != nil {
					return err
				}
				if _, err := tx.Exec(ctx, create+";"+createTrained); err != nil {
					return fmt.Errorf("creating %s: %w", table, err)
				}
			}
			return work(ctx, tx)
		})
	})
}
