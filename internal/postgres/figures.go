package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// figuresRead is what FiguresRole may read of MLflow's database. Rights on columns don't keep
// MLflow from changing its tables, as a view of them would.
var figuresRead = []struct{ table, columns string }{
	{"model_versions", "name, version, creation_time, run_id"},
	{"registered_model_aliases", "name, alias, version"},
	{"latest_metrics", "run_uuid, key, value, is_nan"},
}

// GrantFigures lets a role read the metrics of versions. The connection is one to MLflow's
// database, whose tables must be there, by a role that may grant.
func GrantFigures(ctx context.Context, conn *pgx.Conn, name string) error {
	role := pgx.Identifier{name}.Sanitize()
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "GRANT CONNECT ON DATABASE mlflow TO "+role); err != nil {
			return err
		}
		for _, r := range figuresRead {
			if _, err := tx.Exec(ctx, fmt.Sprintf("GRANT SELECT (%s) ON %s TO %s", r.columns, r.table, role)); err != nil {
				return err
			}
		}
		return nil
	})
}
