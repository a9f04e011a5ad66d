package mlflow

import (
	"context"
	"encoding/json"
	"fmt"
)

// Input is a table that a run has read.
type Input struct {
	Name    string
	Digest  string // at most 36 characters
	Source  string // its address; may be empty
	Context string // what for, such as "training"
	Profile map[string]int64
}

// LogInput notes what a run has read; MLflow's page shows it with the run. It is
// idempotent and retried.
func (c *Client) LogInput(ctx context.Context, runID string, in Input) error {
	source, err := json.Marshal(map[string]string{"url": in.Source})
	if err != nil {
		return fmt.Errorf("logging the input of run %s: %w", runID, err)
	}
	profile, err := json.Marshal(in.Profile)
	if err != nil {
		return fmt.Errorf("logging the input of run %s: %w", runID, err)
	}
	type tag struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	}
	return c.post(ctx, "runs/log-inputs", map[string]any{
		"run_id": runID,
		"datasets": []any{map[string]any{
			"tags":    []tag{{"mlflow.data.context", in.Context}},
			"dataset": map[string]string{"name": in.Name, "digest": in.Digest, "source_type": "http", "source": string(source), "profile": string(profile)},
		}},
	}, nil)
}
