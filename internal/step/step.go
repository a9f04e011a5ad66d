// Package step is what the step programs share: where they find the spec, Postgres
// and MLflow, where they leave output parameters, and the cleaned rows under the
// lock of the one that reads them.
package step

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"

	"github.com/google/renameio/v2"
	"github.com/jackc/pgx/v5"

	"mlops/internal/dataset"
	"mlops/internal/history"
	"mlops/internal/ingest"
	"mlops/internal/mlflow"
	"mlops/internal/postgres"
	"mlops/internal/program"
)

// Spec reads the data set's YAML that MLOPS_SPEC names.
func Spec() (*dataset.Spec, error) {
	path, err := program.Env("MLOPS_SPEC")
	if err != nil {
		return nil, err
	}
	spec, err := dataset.Read(path)
	return spec, program.Input(err)
}

// Postgres returns the server that libpq's own variables name.
func Postgres() postgres.Config {
	return postgres.Config{ConnString: postgres.ConnString(program.EnvOr("PGHOST", ""), program.EnvOr("PGPORT", ""), program.EnvOr("PGUSER", ""), program.EnvOr("PGPASSWORD", ""))}
}

// MLflow returns a client of the server that MLFLOW_TRACKING_URI names, with the login
// that MLflow's own clients read too: MLFLOW_TRACKING_USERNAME and
// MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN.
func MLflow(options mlflow.Options) (*mlflow.Client, error) {
	tracking, err := program.Env("MLFLOW_TRACKING_URI")
	if err != nil {
		return nil, err
	}
	options.Username, options.Password, options.Token = program.EnvOr("MLFLOW_TRACKING_USERNAME", ""), program.EnvOr("MLFLOW_TRACKING_PASSWORD", ""), program.EnvOr("MLFLOW_TRACKING_TOKEN", "")
	client, err := mlflow.New(tracking, options)
	return client, program.Input(err)
}

// Output writes an output parameter atomically to the folder that MLOPS_OUTPUTS
// names.
func Output(name, value string) error {
	file := filepath.Join(outputs(), name)
	if err := renameio.WriteFile(file, []byte(value), 0o644, renameio.WithTempDir(filepath.Dir(file))); err != nil {
		return fmt.Errorf("writing output parameter %s: %w", name, err)
	}
	return nil
}

// outputs is the folder of the output parameters.
func outputs() string { return program.EnvOr("MLOPS_OUTPUTS", "/mlops/outputs") }

// Clean is a data set's cleaned rows, read under a lock.
type Clean struct {
	session *postgres.Session
	spec    *dataset.Spec
	log     *slog.Logger
}

// OpenClean returns the cleaned rows of a data set. A second program with the
// same lock waits, and stops with a clear word when it has waited too long; the
// lock ends with Close or with the process.
func OpenClean(spec *dataset.Spec, lock string, log *slog.Logger) *Clean {
	cfg := Postgres().Defaults()
	return &Clean{session: postgres.NewSession(cfg, cfg.Clean, lock, log), spec: spec, log: log}
}

// History returns the history of the registered models, in the database clean. The
// caller closes the session.
func History(log *slog.Logger) (*history.Log, *postgres.Session) {
	cfg := Postgres().Defaults()
	session := postgres.NewSession(cfg, cfg.Clean, "", log)
	return history.New(session), session
}

// History returns the history of the registered models over the connection of the rows.
func (c *Clean) History() *history.Log { return history.New(c.session) }

// By names who does this, as MLOPS_BY says: a workflow, or somebody.
func By() string { return program.EnvOr("MLOPS_BY", "unknown") }

// Digest names the cleaned and split rows as they are now.
func (c *Clean) Digest(ctx context.Context) (digest string, err error) {
	err = c.session.Do(ctx, "reading the data's digest", func(ctx context.Context, conn *pgx.Conn) error {
		digest, err = ingest.DataDigest(ctx, conn, c.spec)
		return err
	})
	return digest, err
}

// Arrivals returns when each row came, in the order of Rows.
func (c *Clean) Arrivals(ctx context.Context) (arrivals []ingest.Arrival, err error) {
	err = c.session.Do(ctx, "reading when the rows came", func(ctx context.Context, conn *pgx.Conn) error {
		arrivals, err = ingest.Arrivals(ctx, conn, c.spec)
		return err
	})
	return arrivals, err
}

// Displaced returns what is odd about the order of the rows; see ingest.Displaced. It
// is empty if no feature looks at earlier rows.
func (c *Clean) Displaced(ctx context.Context) (d ingest.Displaced, err error) {
	if !c.spec.LooksBack() {
		return d, nil
	}
	err = c.session.Do(ctx, "looking for late rows", func(ctx context.Context, conn *pgx.Conn) error {
		d, err = ingest.FindDisplaced(ctx, conn, c.spec)
		return err
	})
	return d, err
}

// Ledger returns what became of the rows in the data steps; see ingest.Ledger.
func (c *Clean) Ledger(ctx context.Context) (reports []ingest.Report, err error) {
	cfg := Postgres().Defaults()
	err = c.session.Do(ctx, "reading what became of the rows", func(ctx context.Context, conn *pgx.Conn) error {
		raw, err := postgres.Connect(ctx, cfg, cfg.Raw, c.log)
		if err != nil {
			return err
		}
		defer raw.Close(context.WithoutCancel(ctx))
		reports, err = ingest.Ledger(ctx, raw, conn, c.spec)
		return err
	})
	return reports, err
}

// Rows reads the rows of all splits; see ingest.Rows.
func (c *Clean) Rows(ctx context.Context, row func(split string, fields [][]byte) error) error {
	conn, err := c.session.Conn(ctx)
	if err != nil {
		return err
	}
	return ingest.Rows(ctx, conn, c.spec, ingest.Selection{}, row)
}

// Close frees the lock.
func (c *Clean) Close() { c.session.Close() }

// Report ends a data step: it logs its report in one line and leaves it as the
// output parameter "report", the rows read as "rows" and those rejected as "rejected", also where the step stops
// because too many rows were rejected. Any other error says it all by itself.
func Report(log *slog.Logger, r ingest.Report, err error) error {
	err = Ingest(err)
	var lost *ingest.LossError
	if err != nil && !errors.As(err, &lost) {
		return err
	}
	log.Info(r.Step+" ended", "report", r)
	if _, missing := os.Stat(outputs()); missing != nil && program.EnvOr("MLOPS_OUTPUTS", "") == "" {
		return err // started by hand, outside a workflow: the log has it
	}
	text, bad := json.Marshal(r)
	if bad == nil {
		bad = Output("report", string(text))
	}
	if bad == nil {
		bad = Output("rows", strconv.FormatInt(r.Read, 10))
	}
	if bad == nil {
		bad = Output("rejected", strconv.FormatInt(r.Rejected, 10))
	}
	if err == nil {
		err = bad
	}
	return err
}

// Ingest marks an error of a data step as one that another try can't fix, where
// it is one.
func Ingest(err error) error {
	if ingest.ExitCode(err) == program.BadInput {
		return program.Input(err)
	}
	return err
}

// FrugalMemory sets the collector for a program through whose few buffers rows
// stream: little garbage is let pile up, since nothing else lives.
func FrugalMemory() {
	debug.SetGCPercent(50)
	debug.SetMemoryLimit(64 << 20)
}
