package mlflow

import (
	"context"
	"errors"
	"net/http"
)

// The calls of MLflow's basic-auth app. Only an administrator may make them.
const usersAPI = "users/"

// EnsureUser creates a user, or gives an existing one this password.
func (c *Client) EnsureUser(ctx context.Context, name, password string) error {
	login := map[string]string{"username": name, "password": password}
	err := c.post(ctx, usersAPI+"create", login, nil)
	if errors.Is(err, ErrExists) {
		err = c.do(ctx, request{method: http.MethodPatch, path: api + usersAPI + "update-password", in: login})
	}
	return err
}

// GrantAll lets a user change and delete every experiment and registered model,
// including those that others have made or will make.
func (c *Client) GrantAll(ctx context.Context, name string) error {
	for _, kind := range []string{"experiment", "registered_model"} {
		grant := map[string]string{"username": name, "resource_type": kind, "resource_id": "*", "permission": "MANAGE"}
		err := c.do(ctx, request{method: http.MethodPost, path: "api/3.0/mlflow/" + usersAPI + "permissions/grant", in: grant})
		if err != nil && !errors.Is(err, ErrExists) {
			return err
		}
	}
	return nil
}
