package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"

	"mlops/internal/dataset"
	"mlops/internal/host"
	"mlops/internal/ingest"
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
	fmt.Fprintf(out, "This removes the data set %s from %s:\n  %d rows and %d rejected lines from raw\n  %d rows and %d rejected ones from clean\n  the ledgers, and what the demo keeps of its table\nModels of %s stay, and are served as before. The cluster of make up is not touched.\n",
		spec.Name, c.State.Dir, n.Raw, n.RawRejected, n.Clean, n.Rejected, spec.Model)
	if !yes {
		fmt.Fprintf(out, "Type %s to go on: ", spec.Name)
		answer, err := bufio.NewReader(in).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("reading the answer: %w", err)
		}
		if strings.TrimSpace(answer) != spec.Name {
			return program.Inputf("nothing was removed; in a script use -yes (make: YES=1)")
		}
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
