package local

import (
	"context"
	"log/slog"
	"path/filepath"

	"mlops/internal/prepare"
)

// Venv returns the virtual environment for that lock file and Python, built if
// there is none yet. All states with the same cache share it.
func (s *State) Venv(ctx context.Context, log *slog.Logger, py *prepare.Python, lock string) (*prepare.Venv, error) {
	return prepare.Environments{Dir: filepath.Join(s.Cache, "venv"), Environ: s.BuildEnv()}.Venv(ctx, log, py, lock)
}

// BuildEnv is the environment of programs that build something for this state: the
// caller's own, with the state's mark.
func (s *State) BuildEnv() []string {
	return append(s.Environ[:len(s.Environ):len(s.Environ)], s.Marker())
}

// Tool runs a program of a build in a folder (empty: the current one) with more in
// its environment, as prepare.Command does.
func (s *State) Tool(ctx context.Context, dir string, env []string, line func(string), argv ...string) error {
	c := prepare.Command{Dir: dir, Env: append(s.BuildEnv(), env...), Argv: argv}
	if line != nil {
		c.Line = func(text string) bool { line(text); return false }
	}
	return c.Run(ctx)
}
