package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"mlops/internal/host"
	"mlops/internal/local"
	"mlops/internal/prepare"
	"mlops/internal/program"
	"mlops/internal/progress"
)

// scratchMark is in the environment of the command that Scratch runs and of
// everything that the command starts.
const scratchMark = "MLOPS_SCRATCH="

// ScratchOptions says what Scratch starts for its command.
type ScratchOptions struct {
	Services bool // Postgres, MLflow and MinIO, named in MLOPS_TEST_*
	NoSync   bool // their Postgres does not wait for the disk
}

// Scratch runs a command with a state of its own, which ends with the command.
// What killed scratch commands left is cleared first: each holds a lock on its
// folder while it lives. A command that fails comes back as *CommandError.
func Scratch(ctx context.Context, c *Config, d *progress.Reporter, o ScratchOptions, argv []string) (err error) {
	if len(argv) == 0 {
		return program.Inputf("no command to run: mlops scratch [-services] -- COMMAND [ARGUMENTS]")
	}
	// Whoever reads our output may be gone: what runs in the state has to be stopped all the same.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGPIPE)
	defer stop()
	root := c.State.Path("scratch")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return fmt.Errorf("making a scratch state: %w", err)
	}
	lock, dir, err := newScratch(ctx, c, d, root)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	defer func() {
		if endErr := endScratch(c, dir); endErr != nil {
			err = errors.Join(err, endErr)
		}
	}()
	state, err := local.OpenState(dir, c.State.Cache, c.Environ)
	if err != nil {
		return err
	}
	env := append(c.Environ[:len(c.Environ):len(c.Environ)], "MLOPS_HOME="+dir, "MLOPS_CACHE_HOME="+c.State.Cache, scratchMark+dir)
	if o.Services {
		own, err := testServices(ctx, c, d, state, o.NoSync)
		if err != nil {
			d.Close()
			return err
		}
		env = append(env, own...)
	}
	d.Close()

	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = c.Root, env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 2 * grace
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &CommandError{argv[0], err}
	}
	return nil
}

// CommandError says that the command Scratch ran has failed. The command has
// said why.
type CommandError struct {
	Name string
	Err  error
}

func (e *CommandError) Error() string { return fmt.Sprintf("running %s: %v", e.Name, e.Err) }
func (e *CommandError) Unwrap() error { return e.Err }

// newScratch names a state for this command and holds its lock. One process at a
// time does so, lest another takes a lock that is not held yet for a dead one's.
func newScratch(ctx context.Context, c *Config, d *progress.Reporter, root string) (*host.Lock, string, error) {
	all, err := host.WaitLock(ctx, slog.New(slog.DiscardHandler), filepath.Join(root, "lock"), "mlops scratch")
	if err != nil {
		return nil, "", err
	}
	defer all.Unlock()
	if err := clearScratch(c, d, root); err != nil {
		return nil, "", err
	}
	dir := filepath.Join(root, "run-"+rand.Text()[:8])
	lock, err := host.TryLock(dir+".lock", "mlops scratch")
	if err != nil {
		return nil, "", err
	}
	return lock, dir, nil
}

// testServices starts what the integration tests need and returns the
// environment that names it.
func testServices(ctx context.Context, c *Config, d *progress.Reporter, state *local.State, noSync bool) ([]string, error) {
	var env []string
	var minioEnv string
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		var v *prepare.Venv
		err := d.Do("virtual environment", func(log *slog.Logger) (_ string, err error) {
			shared := *c
			shared.State = state
			v, err = openVenv(ctx, &shared, log)
			return "", err
		})
		if err != nil {
			return err
		}
		var pg *local.Postgres
		err = d.Do("Postgres", func(log *slog.Logger) (_ string, err error) {
			if pg, err = state.Postgres(ctx, log, v); err != nil {
				return "", err
			}
			if noSync {
				if err := pg.NoSync(ctx); err != nil {
					return "", err
				}
			}
			return portOf(pg.Record), nil
		})
		if err != nil {
			return err
		}
		return d.Do("MLflow", func(log *slog.Logger) (string, error) {
			ml, err := state.MLflow(ctx, log, v, pg)
			if err != nil {
				return "", err
			}
			env = append(env, "MLOPS_VENV="+v.Dir, "MLOPS_XGBOOST="+v.XGBoost(),
				"MLOPS_TEST_POSTGRES="+pg.Admin("postgres"), "MLOPS_TEST_MLFLOW="+ml.URL())
			return portOf(ml), nil
		})
	})
	group.Go(func() error {
		return d.Do("MinIO", func(log *slog.Logger) (string, error) {
			m, err := state.MinIO(ctx, log, filepath.Join(c.Root, "tools", "minio"))
			if err != nil {
				return "", err
			}
			u := url.URL{Scheme: "http", User: url.UserPassword(m.Key, m.Secret), Host: fmt.Sprintf("127.0.0.1:%d", m.Port)}
			minioEnv = "MLOPS_TEST_S3=" + u.String()
			return portOf(m.Record), nil
		})
	})
	err := group.Wait()
	return append(env, minioEnv), err
}

// clearScratch ends and deletes the scratch states whose command was killed.
func clearScratch(c *Config, d *progress.Reporter, root string) error {
	locks, err := filepath.Glob(filepath.Join(root, "run-*.lock"))
	if err != nil {
		return fmt.Errorf("looking for scratch states: %w", err)
	}
	for _, path := range locks {
		lock, err := host.TryLock(path, "mlops scratch, clearing up")
		var held *host.HeldError
		if errors.As(err, &held) {
			continue // its command is at work
		}
		if err != nil {
			return err
		}
		dir := path[:len(path)-len(".lock")]
		d.Print("clearing what a killed command left in " + dir)
		err = endScratch(c, dir)
		lock.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// endScratch ends all that ran in a scratch state and deletes it, its lock last.
func endScratch(c *Config, dir string) error {
	if err := host.End(host.Marked(scratchMark+dir), syscall.SIGTERM, grace); err != nil {
		return fmt.Errorf("ending the command in %s: %w", dir, err)
	}
	if _, err := os.Stat(dir); err == nil {
		state, err := local.OpenState(dir, c.State.Cache, c.Environ)
		if err != nil {
			return err
		}
		if _, err := stopAll(state); err != nil {
			return err
		}
	}
	if err := removeAll(dir); err != nil {
		return fmt.Errorf("deleting a scratch state: %w", err)
	}
	if err := os.Remove(dir + ".lock"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("deleting a scratch state: %w", err)
	}
	return nil
}

// removeAll deletes a folder in which a process that is just ending may still
// make a file.
func removeAll(dir string) error {
	err := os.RemoveAll(dir)
	for range 20 {
		if err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
		err = os.RemoveAll(dir)
	}
	return err
}
