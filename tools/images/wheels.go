package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"mlops/internal/host"
	"mlops/internal/image"
	"mlops/internal/prepare"
)

// pythonVersion is the Python in the images, Debian 12's. Wheels are chosen for it,
// regardless of the Python that downloads them.
const pythonVersion = "3.11"

// lockPart returns the lines of a lock file in python/ for those packages, with
// hashes; without names, the whole file.
func (b *builder) lockPart(file string, names ...string) (string, error) {
	text, err := os.ReadFile(filepath.Join(b.root, "python", file))
	if err != nil {
		return "", fmt.Errorf("reading lock file: %w", err)
	}
	if len(names) == 0 {
		return string(text), nil
	}
	var part strings.Builder
	for _, name := range names {
		found := false
		for _, line := range strings.Split(string(text), "\n") {
			switch {
			case strings.HasPrefix(line, name+"=="):
				found = true
				part.WriteString(line + "\n")
			case found && strings.HasPrefix(line, "    --hash="):
				part.WriteString(line + "\n")
			case found:
				found = false
			}
		}
		if !strings.Contains(part.String(), name+"==") {
			return "", fmt.Errorf("reading lock file: %s has no package %s", file, name)
		}
	}
	return part.String(), nil
}

// wheels downloads the packages of a lock for that architecture, or finds them in
// the cache, and returns their paths sorted by name. pip checks each against its
// hash in the lock.
func (b *builder) wheels(ctx context.Context, log *slog.Logger, arch, lock string) ([]string, error) {
	root := filepath.Join(b.cache(), "wheels")
	dir := filepath.Join(root, digest(arch, pythonVersion, lock)[:16])
	if got, err := filepath.Glob(filepath.Join(dir, "*.whl")); err == nil && len(got) > 0 {
		return got, nil // sorted; the folder only gets this name once it is complete
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, err
	}
	pip, err := b.pip(ctx, log)
	if err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp(root, ".new-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return nil, err
	}
	list := filepath.Join(tmp, "lock.txt")
	if err := os.WriteFile(list, []byte(lock), 0o644); err != nil {
		return nil, err
	}
	argv := []string{pip, "-m", "pip", "download", "--require-hashes", "--no-deps", "--only-binary", ":all:", "--no-input", "--progress-bar", "off",
		"--disable-pip-version-check", "-d", tmp, "-r", list,
		"--python-version", pythonVersion, "--implementation", "cp", "--abi", "cp311", "--abi", "abi3", "--abi", "none"}
	for _, p := range wheelPlatforms(arch) {
		argv = append(argv, "--platform", p)
	}
	total, done := strings.Count("\n"+lock, "=="), 0
	err = b.state.Tool(ctx, "", nil, func(line string) {
		if strings.HasPrefix(line, "Collecting ") {
			if done++; done%20 == 0 {
				log.Info("downloading wheels", "done", done, "total", total)
			}
		}
	}, argv...)
	if err != nil {
		return nil, fmt.Errorf("downloading wheels for %s: %w", arch, err)
	}
	if err := os.Rename(tmp, dir); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	return filepath.Glob(filepath.Join(dir, "*.whl"))
}

// wheelFiles returns the files of wheels below dir: of the named packages of the
// lock file, or of all. The caller must close them.
func (b *builder) wheelFiles(ctx context.Context, log *slog.Logger, arch, dir, file string, names ...string) (*image.Files, error) {
	lock, err := b.lockPart(file, names...)
	if err != nil {
		return nil, err
	}
	wheels, err := b.wheels(ctx, log, arch, lock)
	if err != nil {
		return nil, err
	}
	files := image.NewFiles()
	for _, w := range wheels {
		if err := files.Wheel(w, dir); err != nil {
			files.Close()
			return nil, err
		}
	}
	return files, nil
}

// wheelPlatforms returns the platform tags of wheels that run on Debian 12 (glibc
// 2.36).
func wheelPlatforms(arch string) []string {
	machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[arch]
	var tags []string
	for minor := 36; minor >= 5; minor-- {
		tags = append(tags, fmt.Sprintf("manylinux_2_%d_%s", minor, machine))
	}
	return append(tags, "manylinux2014_"+machine, "manylinux2010_"+machine, "manylinux1_"+machine, "linux_"+machine)
}

// pip returns a Python with pip, in a virtual environment of its own, since a
// distribution's Python often has none.
func (b *builder) pip(ctx context.Context, log *slog.Logger) (string, error) {
	py, err := prepare.FindPython(ctx, b.pythons)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(b.cache(), "pip-"+digest(py.Path, py.Tag)[:12])
	python, whole := filepath.Join(dir, "bin", "python"), filepath.Join(dir, ".whole")
	if _, err := os.Stat(whole); err == nil {
		return python, nil
	}
	held, err := host.WaitLock(ctx, log, dir+".lock", "creating a virtual environment")
	if err != nil {
		return "", err
	}
	defer held.Unlock()
	if _, err := os.Stat(whole); err == nil {
		return python, nil
	}
	log.Info("creating a virtual environment with pip", "python", py.Path)
	if err := b.state.Tool(ctx, "", nil, nil, py.Path, "-m", "venv", "--clear", dir); err != nil {
		return "", fmt.Errorf("creating a virtual environment (if Python lacks ensurepip, Debian's package python3-venv has it): %w", err)
	}
	return python, os.WriteFile(whole, nil, 0o644)
}
