package prepare

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Demo are the programs that the demo runs, and the command itself, so that it is
// left as bin/mlops. The other images belong to a cluster and would make the first
// build longer.
var Demo = []string{
	"./tools/mlops",
	"./images/load-raw-data", "./images/process-data", "./images/load-val-test-data",
	"./images/train-model", "./images/promote-best-model", "./images/inference", "./images/ui",
}

// Programs compiles packages (patterns below root, the project's folder) into the
// folder out, one program each, without cgo. Go's own cache makes a second build
// quick, and a program that did not change is not written again. env is the whole
// environment of the compiler.
func Programs(ctx context.Context, log *slog.Logger, env []string, root, out string, packages ...string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("compiling programs: %w", err)
	}
	var count goOutput
	err := Command{
		Dir: root, Env: append(env[:len(env):len(env)], "CGO_ENABLED=0"),
		Argv: append([]string{"go", "build", "-v", "-trimpath", "-buildvcs=false", "-o", out + string(filepath.Separator)}, packages...),
		Line: func(line string) bool {
			if !count.add(line) {
				return false
			}
			if count.compiled == 0 {
				log.Info("progress", "done", count.downloaded, "unit", "modules downloaded")
			} else {
				log.Info("progress", "done", count.compiled, "unit", "packages compiled")
			}
			return true
		},
	}.Run(ctx)
	if err != nil {
		return fmt.Errorf("compiling programs: %w", err)
	}
	return nil
}

// goOutput counts what `go build -v` reports: modules that it downloads and
// packages that it compiles.
type goOutput struct{ downloaded, compiled int }

var importPath = regexp.MustCompile(`^[a-z][A-Za-z0-9._~/-]*$`)

// add reports whether the line is such a report.
func (c *goOutput) add(line string) bool {
	switch {
	case strings.HasPrefix(line, "go: downloading "):
		c.downloaded++
	case importPath.MatchString(line):
		c.compiled++
	default:
		return false
	}
	return true
}

// BinFolder is bin in the project, or other if the project's folder can't be
// written.
func BinFolder(root, other string) (string, error) {
	dir := filepath.Join(root, "bin")
	if err := os.MkdirAll(dir, 0o755); err == nil {
		f, err := os.CreateTemp(dir, ".try.*")
		if err == nil {
			f.Close()
			return dir, os.Remove(f.Name())
		}
	}
	return other, os.MkdirAll(other, 0o755)
}
