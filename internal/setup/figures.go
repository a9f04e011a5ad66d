package setup

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"mlops/internal/postgres"
)

// figuresRead is what the role of Grafana may read of MLflow's database. Rights on columns
// don't keep MLflow from changing its tables, as a view of them would.
var figuresRead = []struct{ table, columns string }{
	{"model_versions", "name, version, creation_time, run_id"},
	{"registered_model_aliases", "name, alias, version"},
	{"latest_metrics", "run_uuid, key, value, is_nan"},
}

// figures grants these rights once MLflow has made its tables.
func figures(ctx context.Context, c Config) error {
	cfg := c.Postgres
	cfg.Patience = c.Patience
	session := postgres.NewSession(cfg, "mlflow", "", c.Log)
	defer session.Close()
	role := pgx.Identifier{c.Figures}.Sanitize()
	err := waitFor(ctx, c.Log, c.Patience, "MLflow's tables", func(ctx context.Context) error {
		conn, err := session.Conn(ctx)
		if err != nil {
			return err
		}
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
	})
	if err != nil {
		return fmt.Errorf("letting %s read metrics of versions: %w", c.Figures, err)
	}
	return nil
}
