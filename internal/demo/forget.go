package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"

	"github.com/jackc/pgx/v5"

	"mlops/internal/dataset"
	"mlops/internal/host"
	"mlops/internal/ingest"
	"mlops/internal/mlflow"
	"mlops/internal/overview"
	"mlops/internal/postgres"
	"mlops/internal/program"
)

// Forget removes one data set's rows, ledgers and files from the demo, and leaves
// its models and what serves them. It says what will go and asks first, unless
// yes is set.
func Forget(ctx context.Context, c *Config, in io.Reader, out io.Writer, yes bool) error {
	spec, err := dataset.Read(c.Spec)
	if err != nil {
		return program.Input(err)
	}
	lock, err := host.TryLock(c.State.Path("lock"), "mlops forget")
	if err != nil {
		return err
	}
	defer lock.Unlock()
	record, err := c.State.Record("postgres")
	if err != nil {
		return err
	}
	if record == nil || !record.Alive() {
		return program.Inputf("Postgres is not running; make demo starts it")
	}
	secrets, err := c.State.Secrets()
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	pg := postgres.Config{ConnString: secrets.StepsURL(record.Port, "raw")}.Defaults()
	var conns [2]*pgx.Conn
	for i, database := range []string{pg.Raw, pg.Clean} {
		if conns[i], err = postgres.Connect(ctx, pg, database, log); err != nil {
			return err
		}
		defer conns[i].Close(context.WithoutCancel(ctx))
	}
	n, err := ingest.Count(ctx, conns[0], conns[1], spec)
	if err != nil {
		return err
	}
	removal := overview.Removal{
		Spec: spec, Place: c.State.Dir, Rows: n, Goes: []string{"the ledgers, and what the demo keeps of its table"},
		Stays: []string{fmt.Sprintf("Models of %s stay; the server and the page keep serving the one in production.", spec.Model)},
	}
	if ml, err := c.State.Record("mlflow"); err == nil && ml != nil && ml.Alive() {
		client, err := mlflow.New(ml.URL(), mlflow.Options{Tries: 1, UserAgent: "mlops-demo"})
		if err != nil {
			return err
		}
		if said, err := overview.MadeOf(ctx, client, spec); err == nil {
			removal.Stays = []string{said, "The server and the page keep running; make demo-down stops them."}
		}
	}
	removal.Stays = append(removal.Stays, "The cluster of make up is not touched (ON=cluster forgets there).")
	if err := removal.Ask(in, out, yes); err != nil {
		return err
	}
	if err := ingest.Forget(ctx, ingest.Config{Spec: spec, Postgres: pg, Logger: log}); err != nil {
		return err
	}
	for _, path := range []string{c.State.Path("datasets", spec.Name+".json"), c.State.Path("synthetic", spec.Name+".csv")} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing the files of %s: %w", spec.Name, err)
		}
	}
	fmt.Fprintf(out, "removed %s\n", spec.Name)
	return nil
}
