package setup

import (
	"context"
	"fmt"

	"mlops/internal/postgres"
)

// figures grants these rights once MLflow has made its tables.
func figures(ctx context.Context, c Config) error {
	cfg := c.Postgres
	cfg.Patience = c.Patience
	session := postgres.NewSession(cfg, "mlflow", "", c.Log)
	defer session.Close()
	err := waitFor(ctx, c.Log, c.Patience, "MLflow's tables", func(ctx context.Context) error {
		conn, err := session.Conn(ctx)
		if err != nil {
			return err
		}
		return postgres.GrantFigures(ctx, conn, c.Figures)
	})
	if err != nil {
		return fmt.Errorf("letting %s read metrics of versions: %w", c.Figures, err)
	}
	return nil
}
