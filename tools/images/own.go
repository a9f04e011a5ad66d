package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"mlops/internal/host"
)

// ownFlags build our programs for images: the result doesn't depend on the folder
// they are built in.
var ownFlags = []string{"-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid="}

// ownPrograms holds digests of what our programs depend on, for one architecture.
type ownPrograms struct {
	keys map[string]string // by the package's folder: "./images/ui"
	tool string            // of the packages in shaping
}

// shaping lists the packages on which an image's bytes depend besides its content.
var shaping = []string{
	"mlops/tools/images", "mlops/internal/image", "github.com/google/go-containerregistry/pkg/v1/mutate", "github.com/klauspost/compress/gzip",
	"golang.org/x/crypto/x509roots/fallback/bundle",
}

// goPackage is what `go list` says about a package.
type goPackage struct {
	ImportPath, Dir                                          string
	Standard                                                 bool
	Module                                                   *struct{ Path, Version string }
	GoFiles, CgoFiles, SFiles, HFiles, SysoFiles, EmbedFiles []string
	Deps                                                     []string
}

// ownEnv returns the environment in which our programs are listed and built.
func ownEnv(arch string) []string {
	return []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + arch, "GOFLAGS=", "GOWORK=off"}
}

// ownKeys determines what each program in images/, and this one, depends on: the
// content of our own files and the versions of everything else, including Go.
func (b *builder) ownKeys(ctx context.Context, arch string) (*ownPrograms, error) {
	if p, ok := b.own[arch]; ok {
		return p, nil
	}
	cmd := exec.CommandContext(ctx, "go", "list", "-deps",
		"-json=ImportPath,Dir,Standard,Module,GoFiles,CgoFiles,SFiles,HFiles,SysoFiles,EmbedFiles,Deps", "./images/...", "./tools/images")
	cmd.Dir, cmd.Env = b.root, append(os.Environ(), ownEnv(arch)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("listing our programs' packages: %w\n%s", err, said.String())
	}
	version, err := exec.CommandContext(ctx, "go", "env", "GOVERSION").Output()
	if err != nil {
		return nil, fmt.Errorf("reading Go's version: %w", err)
	}
	digests := map[string]string{}
	var ours []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("listing our programs' packages: %w", err)
		}
		switch {
		case p.Standard:
		case p.Module != nil && p.Module.Version != "":
			digests[p.ImportPath] = p.ImportPath + " " + p.Module.Path + "@" + p.Module.Version
		default:
			if digests[p.ImportPath], err = sourceDigest(p); err != nil {
				return nil, err
			}
			ours = append(ours, p)
		}
	}
	programs := &ownPrograms{keys: map[string]string{}}
	common := append([]string{strings.TrimSpace(string(version))}, append(ownEnv(arch), ownFlags...)...)
	for _, p := range ours {
		rel, err := filepath.Rel(b.root, p.Dir)
		if err != nil {
			return nil, err
		}
		parts := append(slices.Clone(common), digests[p.ImportPath])
		for _, d := range p.Deps { // sorted
			parts = append(parts, digests[d])
		}
		programs.keys["./"+filepath.ToSlash(rel)] = digest(parts...)
	}
	for _, name := range shaping {
		if digests[name] == "" {
			return nil, fmt.Errorf("listing our programs' packages: %s is not among them", name)
		}
		programs.tool = digest(programs.tool, digests[name])
	}
	if b.own == nil {
		b.own = map[string]*ownPrograms{}
	}
	b.own[arch] = programs
	return programs, nil
}

func sourceDigest(p goPackage) (string, error) {
	parts := []string{p.ImportPath}
	for _, name := range slices.Concat(p.GoFiles, p.CgoFiles, p.SFiles, p.HFiles, p.SysoFiles, p.EmbedFiles) {
		text, err := os.ReadFile(filepath.Join(p.Dir, name))
		if err != nil {
			return "", fmt.Errorf("reading our sources: %w", err)
		}
		parts = append(parts, name, string(text))
	}
	return digest(parts...), nil
}

// ownKey returns the digest of everything that the program depends on.
func (b *builder) ownKey(ctx context.Context, arch, pkg string) (string, error) {
	p, err := b.ownKeys(ctx, arch)
	if err != nil {
		return "", err
	}
	key, ok := p.keys[pkg]
	if !ok {
		return "", fmt.Errorf("%w: no program in %s", errAbsent, pkg)
	}
	return key, nil
}

// ownProgram compiles our program in that package, or finds it in the cache, and
// returns its path.
func (b *builder) ownProgram(ctx context.Context, log *slog.Logger, arch, pkg string) (string, error) {
	key, err := b.ownKey(ctx, arch, pkg)
	if err != nil {
		return "", err
	}
	name := filepath.Base(pkg)
	root := filepath.Join(b.state.Cache, "programs", "own", name)
	path := filepath.Join(root, key[:16]+"-"+arch, name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", err
	}
	held, err := host.WaitLock(ctx, log, root+".lock", "compiling "+name)
	if err != nil {
		return "", err
	}
	defer held.Unlock()
	tmp, err := os.MkdirTemp(root, ".new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	argv := append([]string{"go", "build", "-o", filepath.Join(tmp, name)}, ownFlags...)
	if err := b.state.Tool(ctx, b.root, ownEnv(arch), nil, append(argv, pkg)...); err != nil {
		return "", fmt.Errorf("compiling %s: %w", pkg, err)
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return "", err
	}
	if err := os.Rename(tmp, filepath.Dir(path)); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	return path, prune(root, 4)
}
