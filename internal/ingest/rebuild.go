package ingest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"mlops/internal/dataset"
)

// Clean is rebuilt from raw when the spec means something else by its columns.
// The tables that are there move to a schema of their own, new ones are made, and
// the batches of raw are cleaned as ever: killed at any moment, the next run goes
// on. Once the run is accepted, rows get the splits that they had and the old
// tables go; a run that loses too many rows, or a spec that is put back, brings
// the old tables back as they were.

// before is the schema of tables that are being rebuilt.
const before = "_mlops_before"

// clean are the names of a data set's tables in clean.
func (t tables) clean() []string {
	return []string{t.rows, t.batches, t.rejected, t.replaced, t.split, t.meaning}
}

// rebuilding reports whether clean is being rebuilt.
func rebuilding(ctx context.Context, conn *pgx.Conn, t tables) (bool, error) {
	return exists(ctx, conn, before+"."+t.rows)
}

// storedMeanings returns what a table of meanings says; nil where there is none.
func storedMeanings(ctx context.Context, conn *pgx.Conn, table string) ([]meaning, error) {
	if ok, err := exists(ctx, conn, table); err != nil || !ok {
		return nil, err
	}
	rows, err := conn.Query(ctx, fmt.Sprintf("SELECT name, header, means FROM %s ORDER BY place", table))
	if err != nil {
		return nil, fmt.Errorf("reading what the columns of clean mean: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (meaning, error) {
		var m meaning
		return m, r.Scan(&m.name, &m.header, &m.means)
	})
	if err != nil {
		return nil, fmt.Errorf("reading what the columns of clean mean: %w", err)
	}
	return all, nil
}

// storeMeanings writes down what clean is made by, in place of what is written there
// of tables that somebody has dropped.
func storeMeanings(ctx context.Context, tx pgx.Tx, t tables, all []meaning) error {
	if _, err := tx.Exec(ctx, "DROP TABLE IF EXISTS "+t.meaning); err != nil {
		return fmt.Errorf("replacing table %s: %w", t.meaning, err)
	}
	if _, err := tx.Exec(ctx, fmt.Sprintf("CREATE TABLE %s (place integer NOT NULL, name text NOT NULL, header text NOT NULL, means text NOT NULL)", t.meaning)); err != nil {
		return fmt.Errorf("creating table %s: %w", t.meaning, err)
	}
	for i, m := range all {
		if _, err := tx.Exec(ctx, fmt.Sprintf("INSERT INTO %s VALUES ($1, $2, $3, $4)", t.meaning), i, m.name, m.header, m.means); err != nil {
			return fmt.Errorf("writing down what the columns of clean mean: %w", err)
		}
	}
	return nil
}

// rebuild begins to rebuild clean, or puts the old tables back where they are
// what the spec wants again.
func rebuild(ctx context.Context, tx pgx.Tx, spec *dataset.Spec, want []meaning, create func() error) error {
	t := tablesOf(spec)
	begun, err := rebuilding(ctx, tx.Conn(), t)
	if err != nil {
		return err
	}
	if begun {
		was, err := storedMeanings(ctx, tx.Conn(), before+"."+t.meaning)
		if err != nil {
			return err
		}
		if slices.Equal(was, want) {
			return putBack(ctx, tx, t)
		}
		if err := dropTables(ctx, tx, t.clean()); err != nil {
			return err
		}
	} else if err := move(ctx, tx, t.clean(), "", before); err != nil {
		return err
	}
	if err := create(); err != nil {
		return err
	}
	// How the rows are split stays decided; a key or group may have a new name.
	was, err := storedMeanings(ctx, tx.Conn(), before+"."+t.meaning)
	if err != nil {
		return err
	}
	_, renamed := changes(was, want)
	old := *spec
	for now, was := range renamed {
		if ColumnName(old.Key) == now {
			old.Key = was
		}
		if ColumnName(old.Group) == now {
			old.Group = was
		}
		if ColumnName(old.Split.By) == now {
			old.Split.By = was
		}
	}
	if _, err := tx.Exec(ctx, fmt.Sprintf(`INSERT INTO %s (salt, by, train, validation, test, decided_at, validation_from, test_from)
		SELECT salt, CASE by WHEN $1 THEN $2 ELSE by END, train, validation, test, decided_at, %s FROM %s s`, t.split, storedBoundaries, before+"."+t.split),
		ruleOf(&old).by, ruleOf(spec).by); err != nil {
		return fmt.Errorf("keeping how %s is split: %w", spec.Name, err)
	}
	return nil
}

// move moves those of the tables that are there from one schema to another; ""
// is the one that tables are made in.
func move(ctx context.Context, tx pgx.Tx, names []string, from, to string) error {
	if to == "" {
		if err := tx.QueryRow(ctx, "SELECT current_schema()").Scan(&to); err != nil {
			return fmt.Errorf("moving tables: %w", err)
		}
		to = quote(to)
	} else if _, err := tx.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+to); err != nil {
		return fmt.Errorf("moving tables: %w", err)
	}
	if from != "" {
		from += "."
	}
	for _, n := range names {
		if _, err := tx.Exec(ctx, fmt.Sprintf("ALTER TABLE IF EXISTS %s%s SET SCHEMA %s", from, n, to)); err != nil {
			return fmt.Errorf("moving table %s: %w", n, err)
		}
	}
	return nil
}

func dropTables(ctx context.Context, tx pgx.Tx, names []string) error {
	if _, err := tx.Exec(ctx, "DROP TABLE IF EXISTS "+strings.Join(names, ", ")); err != nil {
		return fmt.Errorf("dropping tables: %w", err)
	}
	return nil
}

// putBack brings the tables back that were to be rebuilt.
func putBack(ctx context.Context, tx pgx.Tx, t tables) error {
	if err := dropTables(ctx, tx, t.clean()); err != nil {
		return err
	}
	return move(ctx, tx, t.clean(), before, "")
}

// finishRebuild ends a rebuild that is accepted: rows get the splits that they had. With
// a group they follow from it alone, and in a split by time from one column, which may
// be read otherwise now.
func finishRebuild(ctx context.Context, tx pgx.Tx, spec *dataset.Spec) error {
	t := tablesOf(spec)
	if spec.Group == "" && !spec.ByTime() {
		if _, err := tx.Exec(ctx, fmt.Sprintf("UPDATE %s n SET split = o.split FROM %s.%s o WHERE o._batch = n._batch AND o._line = n._line AND o.split IS NOT NULL", t.rows, before, t.rows)); err != nil {
			return fmt.Errorf("keeping the splits of %s: %w", spec.Name, err)
		}
	}
	names := t.clean()
	for i := range names {
		names[i] = before + "." + names[i]
	}
	if err := dropEarlier(ctx, tx, spec); err != nil {
		return err
	}
	if err := dropTables(ctx, tx, names); err != nil {
		return err
	}
	if err := fitEarlier(ctx, tx, spec); err != nil {
		return err
	}
	return grant(ctx, tx, cleanGrants(spec))
}

// undo ends a rebuild that lost too many rows. It returns the first batch of raw
// that clean did not have before, which goes too; 0 where there is none.
func undo(ctx context.Context, conn *pgx.Conn, t tables) (first int32, err error) {
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, fmt.Sprintf("SELECT coalesce(min(batch), 0) FROM %s WHERE batch NOT IN (SELECT batch FROM %s.%s)", t.batches, before, t.batches)).Scan(&first); err != nil {
			return fmt.Errorf("reading the ledger of clean: %w", err)
		}
		return putBack(ctx, tx, t)
	})
	return first, err
}

// tellRebuild adds to the report why clean is rebuilt, and how many rows were
// there before.
func (p *processor) tellRebuild(ctx context.Context, conn *pgx.Conn, r *Report) error {
	begun, err := rebuilding(ctx, conn, p.t)
	if err != nil || !begun {
		return err
	}
	was, err := storedMeanings(ctx, conn, before+"."+p.t.meaning)
	if err != nil {
		return err
	}
	is, err := storedMeanings(ctx, conn, p.t.meaning)
	if err != nil {
		return err
	}
	if r.Changed, _ = changes(was, is); was == nil {
		r.Changed = []string{"an earlier release made it, which did not write down what the columns meant"}
	}
	if err := conn.QueryRow(ctx, fmt.Sprintf("SELECT coalesce(sum(rows + replaced), 0) FROM %s WHERE batch IN (SELECT batch FROM %s.%s)", p.t.batches, before, p.t.batches)).Scan(&r.Rebuilt); err != nil {
		return fmt.Errorf("reading the ledger of clean: %w", err)
	}
	return nil
}
