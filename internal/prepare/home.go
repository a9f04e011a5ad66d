package prepare

import (
	"fmt"
	"os"
	"path/filepath"

	"mlops/internal/program"
)

// Home is the folder in which the platform keeps what it knows and runs on this
// machine: the one that the user named (MLOPS_HOME), else .mlops in the user's
// home. Root's home is closed to the user that Postgres runs as, so root's is
// elsewhere.
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

// Root is the project's folder: the one with go.mod at or above the working folder.
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
