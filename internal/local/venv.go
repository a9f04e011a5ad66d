package local

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"mlops/internal/host"
)

// Venv is the virtual environment that MLflow, Postgres and libxgboost come
// from.
type Venv struct {
	Dir  string
	Site string // its site-packages
}

// Python is an interpreter and the facts that matter here.
type Python struct {
	Path    string
	Version string // "3.11"
	Tag     string // implementation, version and platform; an environment only works for its own tag
}

// probe prints the facts of a Python and fails if it is older than 3.10.
const probe = `import sys, sysconfig, venv
assert sys.version_info >= (3, 10)
print(sys.executable)
print("%d.%d" % sys.version_info[:2])
print("%s-%s-%s" % (sys.implementation.name, sys.version.split()[0], sysconfig.get_platform()))`

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

// completeMark is the file that is written last into a virtual environment. A
// folder without it was left by a killed build. (Renaming the finished folder is
// no alternative: the scripts in bin contain the path they were created under,
// and MLflow calls some of them by name.)
const completeMark = ".whole"

// Venv returns the virtual environment for that lock file and Python, and builds
// it if there is none yet. Its name is the digest of both; all states with the
// same cache share it, and only one process at a time builds it.
func (s *State) Venv(ctx context.Context, log *slog.Logger, py *Python, lock string) (*Venv, error) {
	text, err := os.ReadFile(lock)
	if err != nil {
		return nil, fmt.Errorf("reading lock file: %w", err)
	}
	sum := sha256.Sum256(append([]byte(py.Tag+"\n"), text...))
	key := py.Version + "-" + hex.EncodeToString(sum[:6])
	root := filepath.Join(s.Cache, "venv")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, fmt.Errorf("creating the virtual environment: %w", err)
	}
	v := &Venv{Dir: filepath.Join(root, key)}
	v.Site = filepath.Join(v.Dir, "lib", "python"+py.Version, "site-packages")
	if v.complete() {
		return v, nil
	}
	held, err := host.WaitLock(ctx, log, filepath.Join(root, key+".lock"), "building the virtual environment")
	if err != nil {
		return nil, fmt.Errorf("creating the virtual environment: %w", err)
	}
	defer held.Unlock()
	if v.complete() {
		return v, nil
	}
	start := time.Now()
	log.Info("building the virtual environment", "dir", v.Dir, "python", py.Path)
	if err := os.RemoveAll(v.Dir); err != nil {
		return nil, fmt.Errorf("deleting an unfinished virtual environment: %w", err)
	}
	if err := s.tool(ctx, nil, py.Path, "-m", "venv", v.Dir); err != nil {
		return nil, fmt.Errorf("creating the virtual environment (if Python lacks ensurepip, Debian's package python3-venv has it): %w", err)
	}
	total := len(requirement.FindAll(text, -1))
	done := 0
	progress := func(line string) {
		if strings.HasPrefix(line, "Collecting ") {
			if done++; done%10 == 0 {
				log.Info("progress", "task", "virtual environment", "done", done, "total", total, "unit", "packages")
			}
		} else if strings.HasPrefix(line, "Installing collected") {
			log.Info("progress", "task", "virtual environment, unpacking", "done", done, "total", done, "unit", "packages")
		}
	}
	err = s.tool(ctx, progress, v.Python(), "-m", "pip", "install", "--require-hashes", "--only-binary", ":all:",
		"--no-input", "--progress-bar", "off", "--disable-pip-version-check", "-r", lock)
	if err != nil {
		return nil, fmt.Errorf("installing the packages of %s: %w", filepath.Base(lock), err)
	}
	if err := os.WriteFile(filepath.Join(v.Dir, completeMark), nil, 0o644); err != nil {
		return nil, fmt.Errorf("completing the virtual environment: %w", err)
	}
	log.Info("built the virtual environment", "packages", done, "took", time.Since(start).Round(100*time.Millisecond))
	return v, nil
}

// OpenVenv returns the virtual environment in dir.
func OpenVenv(dir string) (*Venv, error) {
	sites, _ := filepath.Glob(filepath.Join(dir, "lib", "python3*", "site-packages"))
	if len(sites) != 1 {
		return nil, fmt.Errorf("opening virtual environment %s: %d folders match lib/python3*/site-packages, want 1", dir, len(sites))
	}
	return &Venv{Dir: dir, Site: sites[0]}, nil
}

var requirement = regexp.MustCompile(`(?m)^[A-Za-z0-9._-]+(\[[^\]]*\])?==`)

func (v *Venv) complete() bool {
	_, err := os.Stat(filepath.Join(v.Dir, completeMark))
	return err == nil
}

// Python returns the path of the environment's interpreter.
func (v *Venv) Python() string { return filepath.Join(v.Dir, "bin", "python") }

// Bin returns the folder of the environment's programs.
func (v *Venv) Bin() string { return filepath.Join(v.Dir, "bin") }

// XGBoost returns the path of libxgboost.so.
func (v *Venv) XGBoost() string { return filepath.Join(v.Site, "xgboost", "lib", "libxgboost.so") }

// tool runs a program of a build. It ends with ctx and carries the state's mark.
// line, if not nil, gets each line that the program prints; the error contains
// the last ones.
func (s *State) tool(ctx context.Context, line func(string), argv ...string) error {
	return s.Tool(ctx, "", nil, line, argv...)
}

// Tool runs a program as tool does, in a folder (empty: the current one) and with
// additional environment entries.
func (s *State) Tool(ctx context.Context, dir string, env []string, line func(string), argv ...string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = append(append(s.Environ[:len(s.Environ):len(s.Environ)], s.Marker()), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	var last []string
	read := make(chan struct{})
	go func() {
		defer close(read)
		sc := bufio.NewScanner(r)
		sc.Buffer(nil, 1<<20)
		for sc.Scan() {
			if line != nil {
				line(sc.Text())
			}
			if last = append(last, "  "+sc.Text()); len(last) > 25 {
				last = last[1:]
			}
		}
		io.Copy(io.Discard, r)
	}()
	err := cmd.Run()
	w.Close()
	<-read
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(argv[0]), err, strings.Join(last, "\n"))
	}
	return nil
}
