package prepare

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"

	"mlops/internal/host"
)

// Venv is the virtual environment that MLflow, Postgres and libxgboost come
// from.
type Venv struct {
	Dir  string
	Site string // its site-packages
}

// Environments is the folder of the virtual environments.
type Environments struct {
	Dir     string
	Environ []string // of the programs that build them
}

// complete is the file that is written last into a virtual environment. A folder
// without it is what a killed build left. (Renaming the finished folder would not
// do: scripts in bin hold the path they were installed under, and MLflow calls
// some of them by name.)
const complete = ".whole"

// Venv returns the virtual environment for a lock file and a Python, built if
// there is none yet. It is keyed by both, and shared by everyone with the same
// folder; one process at a time builds it.
func (e Environments) Venv(ctx context.Context, log *slog.Logger, py *Python, lock string) (*Venv, error) {
	text, err := os.ReadFile(lock)
	if err != nil {
		return nil, fmt.Errorf("reading lock file: %w", err)
	}
	v := e.at(py, text)
	if v.complete() {
		return v, nil
	}
	if err := os.MkdirAll(e.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("making virtual environment: %w", err)
	}
	held, err := host.WaitLock(ctx, log, v.Dir+".lock", "building the virtual environment")
	if err != nil {
		return nil, fmt.Errorf("making virtual environment: %w", err)
	}
	defer held.Unlock()
	if v.complete() {
		return v, nil
	}
	total := len(requirement.FindAll(text, -1))
	log.Info("building the virtual environment", "dir", v.Dir, "python", py.Path)
	if err := os.RemoveAll(v.Dir); err != nil {
		return nil, fmt.Errorf("deleting an unfinished virtual environment: %w", err)
	}
	i, err := e.installer(ctx, log, py, filepath.Dir(lock))
	if err != nil {
		return nil, err
	}
	if err := e.run(ctx, nil, py.Path, "-m", "venv", "--without-pip", v.Dir); err != nil {
		return nil, fmt.Errorf("making virtual environment: %w", err)
	}
	if err := i.install(ctx, log, v, lock, total); err != nil {
		return nil, fmt.Errorf("installing the packages of %s: %w", filepath.Base(lock), err)
	}
	if err := os.WriteFile(filepath.Join(v.Dir, complete), nil, 0o644); err != nil {
		return nil, fmt.Errorf("finishing virtual environment: %w", err)
	}
	return v, nil
}

// at is where the virtual environment for that Python and lock file is.
func (e Environments) at(py *Python, lock []byte) *Venv {
	sum := sha256.Sum256(append([]byte(py.Tag+"\n"), lock...))
	dir := filepath.Join(e.Dir, py.Version+"-"+hex.EncodeToString(sum[:6]))
	return &Venv{Dir: dir, Site: filepath.Join(dir, "lib", "python"+py.Version, "site-packages")}
}

// run runs a program that builds an environment.
func (e Environments) run(ctx context.Context, line func(string) bool, argv ...string) error {
	return Command{Env: e.Environ, Line: line, Argv: argv}.Run(ctx)
}

var requirement = regexp.MustCompile(`(?m)^[A-Za-z0-9._-]+(\[[^\]]*\])?==`)

func (v *Venv) complete() bool {
	_, err := os.Stat(filepath.Join(v.Dir, complete))
	return err == nil
}

// Python is the path of the environment's interpreter.
func (v *Venv) Python() string { return filepath.Join(v.Dir, "bin", "python") }

// Bin is the folder of the environment's programs.
func (v *Venv) Bin() string { return filepath.Join(v.Dir, "bin") }

// XGBoost is the path of libxgboost.so.
func (v *Venv) XGBoost() string { return filepath.Join(v.Site, "xgboost", "lib", "libxgboost.so") }
