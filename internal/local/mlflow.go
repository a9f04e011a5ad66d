package local

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"syscall"
	"time"

	"mlops/internal/prepare"
	"mlops/internal/probe"
)

// MLflow starts the tracking server, or finds it running. It uses the database
// mlflow and stores artifacts, through its own proxy, in the state's folder.
//
// One worker (with a thread per request) and no job runner is ready in half the
// time and takes a fifth of the memory of the default; see
// docs/decisions/0005-local-services.md.
func (s *State) MLflow(ctx context.Context, log *slog.Logger, v *prepare.Venv, p *Postgres) (*Record, error) {
	// The bytecode was written during installation. MLflow must not write into an
	// environment that other states share.
	env := []string{
		"PATH=" + v.Bin() + ":/usr/local/bin:/usr/bin:/bin",
		"PYTHONDONTWRITEBYTECODE=1",
		"PGPASSWORD=" + p.secrets.MLflow, // libpq's variable keeps it out of ps and of MLflow's log
		"MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false",
		"MLFLOW_ENABLE_AI_GATEWAY=false",
		"MLFLOW_DISABLE_TELEMETRY=true",
		"DO_NOT_TRACK=true",
	}
	return s.Up(ctx, log, &Service{
		Name: "mlflow", Base: 5000, Version: v.Dir,
		Command: func(port int) []string {
			return []string{v.Python(), "-m", "mlflow", "server",
				"--host", "127.0.0.1", "--port", strconv.Itoa(port), "--workers", "1",
				// By default MLflow also takes any name that begins like a private address, so a
				// web page at 10.evil.example that resolves to this machine could read it.
				"--allowed-hosts", "localhost,localhost:*,127.0.0.1,127.0.0.1:*",
				// psycopg2 by name: SQLAlchemy 2.1 takes plain postgresql:// for psycopg 3.
				"--backend-store-uri", fmt.Sprintf("postgresql+psycopg2://mlflow@127.0.0.1:%d/mlflow", p.Port),
				"--serve-artifacts", "--artifacts-destination", s.Path("artifacts"),
				"--default-artifact-root", "mlflow-artifacts:/"}
		},
		Env:  func(int) []string { return env },
		Stop: syscall.SIGTERM, Grace: 10 * time.Second, Limit: 3 * time.Minute,
		Ready: func(ctx context.Context, port int) error {
			return probe.HTTP(ctx, fmt.Sprintf("http://127.0.0.1:%d/health", port))
		},
	})
}

// Program starts one of our own servers as a service of that name, or finds it
// running. path is its binary; a changed binary restarts it. health is a path
// that responds with 200 as soon as the process serves requests.
func (s *State) Program(ctx context.Context, log *slog.Logger, name, path string, base int, health string, env func(port int) []string) (*Record, error) {
	digest, err := FileDigest(path)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	return s.Up(ctx, log, &Service{
		Name: name, Base: base, Version: digest,
		Command: func(int) []string { return []string{path} },
		Env: func(port int) []string {
			return append(env(port), "MLOPS_LISTEN=127.0.0.1:"+strconv.Itoa(port))
		},
		Stop: syscall.SIGTERM, Grace: 10 * time.Second, Limit: 30 * time.Second,
		Ready: func(ctx context.Context, port int) error {
			return probe.HTTP(ctx, fmt.Sprintf("http://127.0.0.1:%d%s", port, health))
		},
	})
}
