// Package build compiles the node's programs from the module embedded in the
// cluster command, once per version of that module, into a cache that clones of
// the project share.
package build

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"mlops/tools/cluster/internal/host"
)

// Builder builds from one version of the module.
type Builder struct {
	Dir      string // of this version in the cache
	Versions map[string]string

	source fs.FS
	log    *slog.Logger
}

// New returns a builder that stores the programs in cache/node/<digest>.
func New(source fs.FS, cache string, log *slog.Logger) (*Builder, error) {
	mod, err := fs.ReadFile(source, "go.mod")
	if err != nil {
		return nil, fmt.Errorf("reading the node's go.mod: %w", err)
	}
	b := &Builder{source: source, log: log, Versions: versions(string(mod))}
	digest, err := b.digest()
	if err != nil {
		return nil, fmt.Errorf("reading the node's source: %w", err)
	}
	b.Dir = filepath.Join(cache, "node", digest)
	return b, nil
}

// digest covers everything that determines the programs.
func (b *Builder) digest() (string, error) {
	h := sha256.New()
	err := b.files(func(name string, text []byte) error {
		fmt.Fprintf(h, "%s %d\n", name, len(text))
		h.Write(text)
		return nil
	})
	if err != nil {
		return "", err
	}
	for _, p := range Programs {
		fmt.Fprintf(h, "%s %s %s %v %s\n", p.Name, p.Package, p.flags(b.Versions), p.Cgo, p.Tags)
	}
	fmt.Fprintln(h, runtime.GOOS, runtime.GOARCH)
	return hex.EncodeToString(h.Sum(nil)[:6]), nil
}

// files calls fn for go.mod, go.sum and the programs' own files, except tests.
func (b *Builder) files(fn func(name string, text []byte) error) error {
	return fs.WalkDir(b.source, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasSuffix(name, "_test.go") {
			return err
		}
		text, err := fs.ReadFile(b.source, name)
		if err != nil {
			return err
		}
		return fn(name, text)
	})
}

// versions returns the versions in a go.mod's require lines.
func versions(mod string) map[string]string {
	v := map[string]string{}
	for line := range strings.Lines(mod) {
		f := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(f) >= 2 && strings.HasPrefix(f[1], "v") && f[0] != "go" {
			v[f[0]] = f[1]
		}
	}
	return v
}

// Version returns the version of a program's module without its v.
func (b *Builder) Version(name string) string {
	p, err := Find(name)
	if err != nil {
		return ""
	}
	return strings.TrimPrefix(b.Versions[p.Module], "v")
}

// Bin returns the folder of the built programs.
func (b *Builder) Bin() string { return filepath.Join(b.Dir, "bin") }

// Path returns a program's path once it is built.
func (b *Builder) Path(name string) string { return filepath.Join(b.Bin(), name) }

func (b *Builder) missing(names []string) ([]Program, error) {
	var ps []Program
	for _, n := range names {
		p, err := Find(n)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(b.Path(n)); err != nil {
			ps = append(ps, p)
		}
	}
	return ps, nil
}

// Build compiles the programs that are missing.
func (b *Builder) Build(ctx context.Context, names ...string) error {
	ps, err := b.missing(names)
	if err != nil || len(ps) == 0 {
		return err
	}
	if err := os.MkdirAll(b.Bin(), 0o755); err != nil {
		return fmt.Errorf("building the node's programs: %w", err)
	}
	lock, err := host.WaitLock(ctx, b.log, b.Dir+".lock", "building the node's programs")
	if err != nil {
		return fmt.Errorf("building the node's programs: %w", err)
	}
	defer lock.Unlock()
	if ps, err = b.missing(names); err != nil || len(ps) == 0 {
		return err
	}
	if _, err := exec.LookPath("go"); err != nil {
		return errors.New("building the node's programs: Go is not in PATH")
	}
	src := filepath.Join(b.Dir, "src")
	err = b.files(func(name string, text []byte) error {
		path := filepath.Join(src, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, text, 0o644)
	})
	if err != nil {
		return fmt.Errorf("writing the node's source: %w", err)
	}
	start := time.Now()
	for i, p := range ps {
		if err := b.one(ctx, src, p, fmt.Sprintf("%d/%d", i+1, len(ps))); err != nil {
			return err
		}
	}
	b.log.Info("built the node's programs", "programs", len(ps), "took", time.Since(start).Round(time.Second), "into", b.Bin())
	return nil
}

func (b *Builder) one(ctx context.Context, src string, p Program, nth string) error {
	if p.Cgo {
		if err := host.Install(ctx, b.log, cgoNeeds()); err != nil {
			return fmt.Errorf("building %s: %w", p.Name, err)
		}
	}
	b.log.Info("building", "program", p.Name, "step", nth, "version", b.Versions[p.Module])
	start := time.Now()
	done := make(chan struct{})
	defer close(done)
	go func() {
		tick := time.NewTicker(30 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				b.log.Info("still building", "program", p.Name, "step", nth, "elapsed", time.Since(start).Round(time.Second))
			}
		}
	}()
	tmp := b.Path("." + p.Name + ".new")
	args := []string{"build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags=" + p.flags(b.Versions), "-tags=" + p.Tags, "-o", tmp, p.Package}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = src
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "CGO_ENABLED=0")
	if p.Cgo {
		cmd.Env = append(cmd.Env, "CGO_ENABLED=1")
	}
	out, err := cmd.CombinedOutput()
	if err == nil {
		err = os.Rename(tmp, b.Path(p.Name))
	}
	if err != nil {
		return fmt.Errorf("building %s: %w\n%s", p.Name, err, bytes.TrimSpace(out))
	}
	b.log.Info("built", "program", p.Name, "step", nth, "took", time.Since(start).Round(time.Second))
	return nil
}

// cgoNeeds returns what compiling runc with seccomp needs.
func cgoNeeds() []host.Need {
	return []host.Need{
		{What: "a C compiler", Package: "gcc", Has: host.HasProgram("gcc")},
		{What: "the C library's headers", Package: "libc6-dev", Has: host.HasAny("/usr/include/stdlib.h")},
		{What: "pkg-config", Package: "pkg-config", Has: host.HasProgram("pkg-config")},
		{What: "libseccomp's headers", Package: "libseccomp-dev", Has: func() bool { return exec.Command("pkg-config", "--exists", "libseccomp").Run() == nil }},
	}
}
