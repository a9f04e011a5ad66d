package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Need is something that the operating system must provide.
type Need struct {
	What    string // for messages
	Package string // its Debian and Ubuntu package
	Has     func() bool
}

// HasProgram returns a function that reports whether a program is installed. It
// also looks in the folders for administrators, which may be missing in PATH.
func HasProgram(name string) func() bool {
	return func() bool {
		if _, err := exec.LookPath(name); err == nil {
			return true
		}
		return HasAny("/usr/sbin/"+name, "/sbin/"+name)()
	}
}

// HasAny returns a function that reports whether any of the files (glob patterns)
// exists.
func HasAny(patterns ...string) func() bool {
	return func() bool {
		for _, p := range patterns {
			if found, _ := filepath.Glob(p); len(found) > 0 {
				return true
			}
		}
		return false
	}
}

// Install installs what is missing if it can do so without asking: as root on
// Debian or Ubuntu. Elsewhere its error lists everything that is missing.
func Install(ctx context.Context, log *slog.Logger, needs []Need) error {
	var packages, words []string
	for _, n := range needs {
		if !n.Has() {
			packages = append(packages, n.Package)
			words = append(words, fmt.Sprintf("%s (Debian's package %s)", n.What, n.Package))
		}
	}
	if len(packages) == 0 {
		return nil
	}
	missing := strings.Join(words, ", ")
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("missing on this machine: %s", missing)
	}
	log.Info("installing", "packages", strings.Join(packages, " "))
	for _, args := range [][]string{{"update", "-qq"}, append([]string{"install", "-y", "-qq", "--no-install-recommends"}, packages...)} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		// A failed refresh of the package index doesn't matter if the packages can be installed.
		if out, err := cmd.CombinedOutput(); err != nil && args[0] == "install" {
			return fmt.Errorf("missing on this machine: %s; installing it failed: %w\n%s", missing, err, bytes.TrimSpace(out))
		}
	}
	for _, n := range needs {
		if !n.Has() {
			return errors.New("still missing on this machine after apt-get install: " + n.What)
		}
	}
	return nil
}
