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

// Need is something of the operating system's that has to be there.
type Need struct {
	What    string // for people
	Package string // Debian's and Ubuntu's name of it
	Has     func() bool
}

// HasProgram tells whether a program is installed. Root's path may lack the
// folders for administrators.
func HasProgram(name string) func() bool {
	return func() bool {
		if _, err := exec.LookPath(name); err == nil {
			return true
		}
		return HasAny("/usr/sbin/"+name, "/sbin/"+name)()
	}
}

// HasAny tells whether one of the files (glob patterns) is there.
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

// Install installs what is missing where that can be done without asking: as
// root on Debian or Ubuntu. Elsewhere its error says all that is missing.
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
		// A package index that can't be refreshed is no obstacle if the packages can be had.
		if out, err := cmd.CombinedOutput(); err != nil && args[0] == "install" {
			return fmt.Errorf("missing on this machine: %s; apt-get could not install it: %w\n%s", missing, err, bytes.TrimSpace(out))
		}
	}
	for _, n := range needs {
		if !n.Has() {
			return errors.New("missing on this machine even after apt-get: " + n.What)
		}
	}
	return nil
}
