// Command launch is behind `make demo`. It compiles bin/mlops and the demo's
// programs while it installs the virtual environment, and then becomes
// `bin/mlops demo up`. That command would do both by itself, but only once it is
// compiled, which takes longer than anything else if nothing is cached. This one
// imports little and compiles in seconds.
//
// It reads MLOPS_HOME, MLOPS_CACHE_HOME, PYTHON, TERM and NO_COLOR as mlops does.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"golang.org/x/sync/errgroup"

	"mlops/internal/prepare"
	"mlops/internal/program"
	"mlops/internal/progress"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	err := launch(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "launch:", progress.Printable(err.Error()))
		os.Exit(program.Code(err))
	}
}

func launch(ctx context.Context) error {
	root, err := prepare.Root()
	if err != nil {
		return err
	}
	home, err := prepare.Home(os.Getenv("MLOPS_HOME"))
	if err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		syscall.Umask(0o022) // Postgres runs as another user, who has to read its programs
	}
	cache := program.EnvOr("MLOPS_CACHE_HOME", filepath.Join(home, "cache"))
	bin, err := prepare.BinFolder(root, filepath.Join(home, "bin"))
	if err != nil {
		return err
	}
	show := progress.New(os.Stdout, os.Getenv("TERM"), os.Getenv("NO_COLOR") == "")
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return show.Do("virtual environment", func(log *slog.Logger) (string, error) {
			python, err := prepare.FindPython(ctx, prepare.Pythons(os.Getenv("PYTHON")))
			if err != nil {
				return "", program.Input(err)
			}
			envs := prepare.Environments{Dir: filepath.Join(cache, "venv"), Environ: os.Environ()}
			_, err = envs.Venv(ctx, log, python, filepath.Join(root, "python", "requirements.txt"))
			return "", err
		})
	})
	group.Go(func() error {
		return show.Do("programs", func(log *slog.Logger) (string, error) {
			return "", prepare.Programs(ctx, log, os.Environ(), root, bin, prepare.Demo...)
		})
	})
	err = group.Wait()
	show.Close()
	if err != nil {
		return err
	}
	mlops := filepath.Join(bin, "mlops")
	return syscall.Exec(mlops, []string{mlops, "demo", "up", "-bin=" + bin}, os.Environ())
}
