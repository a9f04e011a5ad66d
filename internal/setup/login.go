package setup

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"mlops/internal/mlflow"
	"mlops/internal/retry"
)

// MLflowUser is a user of MLflow that may read everything.
type MLflowUser struct {
	Name, Password string
	Write          bool // also change and delete experiments and models
}

// logins makes MLflow's users.
func logins(ctx context.Context, c Config) error {
	for _, u := range c.MLflowUsers {
		err := waitFor(ctx, c.Log, c.Patience, "MLflow", func(ctx context.Context) error {
			err := c.MLflow.EnsureUser(ctx, u.Name, u.Password)
			if err == nil && u.Write {
				err = c.MLflow.GrantAll(ctx, u.Name)
			}
			var e *mlflow.Error
			if errors.As(err, &e) && (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden) {
				return retry.Permanent(fmt.Errorf("MLflow refuses the administrator's password. It keeps the one it was first started with; put that into the Secret again: %w", err))
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("making MLflow's user %s: %w", u.Name, err)
		}
	}
	c.Log.Info("MLflow's users are ready", "users", len(c.MLflowUsers))
	return nil
}
