package bulk

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"mlops/internal/postgres"
	"mlops/internal/program"
)

// table is a target in the schema scored of the database clean.
type table struct {
	name   string
	names  []string // its columns but _run
	ledger *ledger
}

func (t *table) grows() bool { return true }

// isText says which columns of predictions are no numbers.
func isText(name string) bool {
	return slices.Contains([]string{"label", "excluded", "warnings"}, strings.TrimPrefix(name, "predicted_"))
}

// predictions returns how many of the last names are predictions.
func predictions(names []string) int {
	for i := len(names) - 1; i > 0; i-- {
		if n := strings.TrimPrefix(names[i], "predicted_"); n == "label" || n == "value" {
			return len(names) - i
		}
	}
	return 0
}

func (t *table) begin(ctx context.Context, _ *run, names []string) (bool, error) {
	if names == nil {
		return false, nil
	}
	t.names = names
	first := len(names) - predictions(names)
	var ddl strings.Builder
	fmt.Fprintf(&ddl, "CREATE TABLE %s (_run integer NOT NULL", quote("scored", t.name))
	for i, name := range names {
		kind := "text"
		if i >= first && !isText(name) {
			kind = "double precision"
		}
		fmt.Fprintf(&ddl, ", %s %s", quote(name), kind)
	}
	fmt.Fprintf(&ddl, ", PRIMARY KEY (_run, %s))", recordColumn)
	return false, t.ledger.do(ctx, "preparing the table scored."+t.name, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum", quote("scored", t.name))
		if err != nil {
			return err
		}
		have, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		if len(have) == 0 {
			if _, err := tx.Exec(ctx, ddl.String()); err != nil {
				return err
			}
			// Without the role, whoever has made it reads it.
			_, err := tx.Exec(ctx, fmt.Sprintf(`DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = '%s') THEN GRANT SELECT ON %s TO %s; END IF; END $$`,
				postgres.ReadRole, quote("scored", t.name), postgres.ReadRole))
			return err
		}
		want := append([]string{"_run"}, names...)
		if !slices.Equal(have, want) {
			return program.Inputf("the table scored.%s has other columns (%s) than this run (%s): give the target another name, or drop the table",
				t.name, differing(have, want), differing(want, have))
		}
		return nil
	})
}

// differing are the names that other doesn't have, at most three.
func differing(names, other []string) string {
	var list []string
	for _, n := range names {
		if !slices.Contains(other, n) {
			list = append(list, strconv.Quote(n))
		}
	}
	switch {
	case len(list) == 0:
		return "none of its own, or in another order"
	case len(list) > 3:
		return strings.Join(list[:3], ", ") + fmt.Sprintf(" and %d more", len(list)-3)
	}
	return strings.Join(list, ", ")
}

func (t *table) put(ctx context.Context, r *run, rows [][]string, p progress) error {
	first := len(t.names) - predictions(t.names)
	return t.ledger.note(ctx, r, p, func(ctx context.Context, tx pgx.Tx) error {
		values := make([]any, len(t.names)+1)
		values[0] = r.id
		_, err := tx.CopyFrom(ctx, pgx.Identifier{"scored", t.name}, append([]string{"_run"}, t.names...), pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
			for j, text := range rows[i] {
				switch {
				case text == "" && j > 0:
					values[j+1] = nil
				case j >= first && !isText(t.names[j]):
					f, err := strconv.ParseFloat(text, 64)
					if err != nil {
						return nil, fmt.Errorf("the server's %s: %w", t.names[j], err)
					}
					values[j+1] = f
				default:
					values[j+1] = text
				}
			}
			return values, nil
		}))
		return err
	})
}

func (t *table) end(ctx context.Context, r *run) error { return t.ledger.end(ctx, r) }

func (t *table) kept(ctx context.Context, _ *run) (there bool, err error) {
	err = t.ledger.do(ctx, "looking for the table scored."+t.name, func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", quote("scored", t.name)).Scan(&there)
	})
	return there, err
}

func (t *table) takeBack(ctx context.Context, r *run) error {
	there, err := t.kept(ctx, r)
	if err != nil || !there {
		return err
	}
	return t.ledger.do(ctx, "taking a run back", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, fmt.Sprintf("DELETE FROM %s WHERE _run = $1", quote("scored", t.name)), r.id)
		return err
	})
}
