package local

import (
	"fmt"
	"os"
	"path/filepath"

	"mlops/internal/program"
)

// Home returns the state's folder: the one that the user named (MLOPS_HOME), or
// .mlops in their home. The user that Postgres runs as can't enter root's home,
// so root's state lies elsewhere.
func Home(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	if os.Geteuid() == 0 {
		return "/var/lib/mlops", nil
	}
	dir, err := os.UserHomeDir()
	if err != nil {
		return "", program.Inputf("neither MLOPS_HOME nor HOME is set")
	}
	return filepath.Join(dir, ".mlops"), nil
}

// Root returns the project's folder: the closest one with a go.mod, from the
// working folder upwards.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the project's folder: %w", err)
	}
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", program.Inputf("no go.mod in %s or above: run this in the project's folder", dir)
		}
	}
}

// Pythons returns the interpreters to try: the one that the user named (PYTHON),
// or the usual names.
func Pythons(named string) []string {
	if named != "" {
		return []string{named}
	}
	return []string{"python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10", "python"}
}
