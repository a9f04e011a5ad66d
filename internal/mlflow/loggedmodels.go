package mlflow

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

// NewLoggedModel is what LogModel needs.
type NewLoggedModel struct {
	ExperimentID string
	Name         string
	Type         string // for people, such as "classifier"
	RunID        string // that made it
	Params, Tags map[string]string
}

// LogModel makes an entry for a model on MLflow's page Models, as an output of its run.
// The entry has an artifact folder of its own, which nothing requires to be used. It is
// shown as pending until EndLoggedModel. Like CreateRun it is retried only if the
// server could not be reached at all.
func (c *Client) LogModel(ctx context.Context, n NewLoggedModel) (id string, err error) {
	in := map[string]any{
		"experiment_id": n.ExperimentID, "name": n.Name, "model_type": n.Type, "source_run_id": n.RunID,
		"params": fromMap(n.Params), "tags": fromMap(n.Tags),
	}
	var out struct {
		Model struct {
			Info struct {
				ID string `json:"model_id"`
			} `json:"info"`
		} `json:"model"`
	}
	if err := c.do(ctx, request{method: http.MethodPost, path: api + "logged-models", in: in, once: true, read: decoder(&out)}); err != nil {
		return "", err
	}
	id = out.Model.Info.ID
	err = c.do(ctx, request{method: http.MethodPost, path: api + "runs/outputs", once: true, in: map[string]any{
		"run_id": n.RunID, "models": []any{map[string]any{"model_id": id, "step": 0}},
	}})
	return id, err
}

// Statuses of logged models, by MLflow's numbers.
const (
	loggedModelReady  = 2
	loggedModelFailed = 3
)

// EndLoggedModel notes that a model is complete, or that it never will be.
func (c *Client) EndLoggedModel(ctx context.Context, id string, complete bool) error {
	status := loggedModelFailed
	if complete {
		status = loggedModelReady
	}
	return c.do(ctx, request{method: http.MethodPatch, path: api + "logged-models/" + url.PathEscape(id), in: map[string]any{"model_id": id, "status": status}})
}

// LinkVersion has the page of a logged model lead to a version of a registered model, and
// describe it in Markdown.
func (c *Client) LinkVersion(ctx context.Context, id, name string, number int, description string) error {
	type version struct {
		Name    string `json:"name"`
		Version int    `json:"version"`
	}
	text, err := json.Marshal([]version{{name, number}})
	if err != nil {
		return fmt.Errorf("linking the logged model %s: %w", id, err)
	}
	return c.do(ctx, request{method: http.MethodPatch, path: api + "logged-models/" + url.PathEscape(id) + "/tags", in: map[string]any{
		"model_id": id, "tags": fromMap(map[string]string{"mlflow.modelVersions": string(text), "mlflow.note.content": description}),
	}})
}

// DeleteLoggedModel removes a model from the page. It is no error if that has been done.
func (c *Client) DeleteLoggedModel(ctx context.Context, id string) error {
	return c.do(ctx, request{method: http.MethodDelete, path: api + "logged-models/" + url.PathEscape(id)})
}
