package ingest

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/jackc/pgx/v5"

	"mlops/internal/dataset"
	"mlops/internal/earlier"
)

// fitEarlier makes the view of a data set's earlier rows, and the index that finds a
// group's, or drops the view where no feature looks at them. While clean is made anew
// the view goes on showing the rows that were there.
func fitEarlier(ctx context.Context, tx pgx.Tx, spec *dataset.Spec) error {
	t, view := tablesOf(spec), quote(earlier.View(spec.Name))
	var rebuilding bool
	var table uint32
	var is string
	if err := tx.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL, coalesce(to_regclass($2)::oid, 0), coalesce(obj_description(to_regclass($3), 'pg_class'), '')",
		before+"."+t.rows, t.rows, view).Scan(&rebuilding, &table, &is); err != nil {
		return fmt.Errorf("looking at the view of earlier rows: %w", err)
	}
	if rebuilding {
		return nil
	}
	if !spec.LooksBack() {
		return dropEarlier(ctx, tx, spec)
	}
	sql := earlier.ViewSQL(spec, t.rows, t.batches)
	// A table that was made anew has another number.
	want := fmt.Sprintf("rows that a server looks back at, %x", sha256.Sum256(fmt.Appendf(nil, "%d %s", table, sql)))
	if is == want {
		return nil
	}
	if err := dropEarlier(ctx, tx, spec); err != nil {
		return err
	}
	for _, ddl := range []string{
		fmt.Sprintf("CREATE INDEX IF NOT EXISTS %s ON %s (%s, %s)", ours(spec, "group"), t.rows, quoteColumn(spec.Group), quoteColumn(spec.Order)),
		fmt.Sprintf("CREATE VIEW %s AS %s", view, sql),
		fmt.Sprintf("COMMENT ON VIEW %s IS %s", view, quoteText(want)),
	} {
		if _, err := tx.Exec(ctx, ddl); err != nil {
			return fmt.Errorf("making the view of earlier rows: %w", err)
		}
	}
	return nil
}

// dropEarlier drops the view, before its tables go.
func dropEarlier(ctx context.Context, tx pgx.Tx, spec *dataset.Spec) error {
	if _, err := tx.Exec(ctx, "DROP VIEW IF EXISTS "+quote(earlier.View(spec.Name))); err != nil {
		return fmt.Errorf("dropping the view of earlier rows: %w", err)
	}
	return nil
}
