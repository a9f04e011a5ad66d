package prepare

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// Python is an interpreter and what has to be known about it.
type Python struct {
	Path    string
	Version string // "3.11"
	Tag     string // implementation, version and platform: environments of different tags can't be shared
}

// probe prints what a Python is, and fails below 3.10.
const probe = `import sys, sysconfig, venv
assert sys.version_info >= (3, 10)
print(sys.executable)
print("%d.%d" % sys.version_info[:2])
print("%s-%s-%s" % (sys.implementation.name, sys.version.split()[0], sysconfig.get_platform()))`

// Pythons are the interpreters to try: the one that the user named (PYTHON), or
// the usual names.
func Pythons(named string) []string {
	if named != "" {
		return []string{named}
	}
	return []string{"python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10", "python"}
}

// FindPython returns the first of the names that is Python 3.10 or newer with the
// module venv.
func FindPython(ctx context.Context, names []string) (*Python, error) {
	var seen []string
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		out, err := exec.CommandContext(ctx, path, "-c", probe).Output()
		if lines := strings.Split(strings.TrimSpace(string(out)), "\n"); err == nil && len(lines) == 3 {
			return &Python{Path: lines[0], Version: lines[1], Tag: lines[2]}, nil
		}
		seen = append(seen, path)
	}
	if len(seen) > 0 {
		return nil, fmt.Errorf("finding Python: none of %s is Python 3.10 or newer with the module venv", strings.Join(seen, ", "))
	}
	return nil, fmt.Errorf("finding Python: none of %s is in PATH; Python 3.10 or newer is needed", strings.Join(names, ", "))
}
