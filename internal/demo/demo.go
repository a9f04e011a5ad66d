// Package demo runs the whole platform on this machine without Kubernetes: real
// services, the pipeline of workflows/ to its end, a served model. It also stops
// them, shows them, checks what they serve, and gives tests and benchmarks a
// platform of their own.
package demo

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"mlops/internal/local"
	"mlops/internal/prepare"
	"mlops/internal/program"
)

// Config says where the demo's parts are.
type Config struct {
	Root      string // the project's folder
	Spec      string // path of the data set's YAML
	Dataset   string // path or URL of its table; empty: origin.Places looks for it
	Synthetic bool   // made-up rows, in a data set of their own
	Bin       string // folder of the programs, compiled already; empty: Up compiles them
	Purge     string // for Down: "" keeps the data, "1" deletes it, "all" the caches too
	Pythons   []string
	State     *local.State
	Environ   []string
}

// grace is how long a step has to end when the demo is stopped.
const grace = 10 * time.Second

func openVenv(ctx context.Context, c *Config, log *slog.Logger) (*prepare.Venv, error) {
	py, err := prepare.FindPython(ctx, c.Pythons)
	if err != nil {
		return nil, program.Input(err)
	}
	return c.State.Venv(ctx, log, py, filepath.Join(c.Root, "python", "requirements.txt"))
}

func portOf(r *local.Record) string { return fmt.Sprintf("port %d", r.Port) }

func localhost(r *local.Record) string { return fmt.Sprintf("http://localhost:%d", r.Port) }
