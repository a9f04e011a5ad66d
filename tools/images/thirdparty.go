package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"mlops/internal/image"
	"mlops/internal/local"
	"mlops/internal/versions"
)

// thirdParty is the image of one third-party program.
type thirdParty struct {
	module  string // its licence goes into the image
	build   func(arch string) (local.Build, error)
	program string // in the build
	config  image.Config
	dirs    []string // mount points of volumes
}

// thirdPartyImage completes the recipe of an image with a program that is built
// from its Go module, at /bin/PROGRAM.
func (b *builder) thirdPartyImage(r *recipe, f thirdParty) *recipe {
	r.inputs = func(ctx context.Context, arch string) ([]string, error) {
		build, err := f.build(arch)
		if err != nil {
			return nil, err
		}
		var parts []string
		for _, in := range build.Inputs {
			parts = append(parts, string(in))
		}
		version, err := exec.CommandContext(ctx, "go", "env", "GOVERSION").Output()
		return append(parts, build.LDFlags, strings.Join(build.Packages, " "), string(version)), err
	}
	r.make = func(ctx context.Context, log *slog.Logger, t target) (v1.Image, error) {
		build, err := f.build(t.arch)
		if err != nil {
			return nil, err
		}
		dir, err := b.state.BuildOnce(ctx, log, build)
		if err != nil {
			return nil, err
		}
		if err := mustBeStatic(filepath.Join(dir, f.program)); err != nil {
			return nil, err
		}
		files := image.NewFiles()
		if err := files.Disk("/bin/"+f.program, 0o755, filepath.Join(dir, f.program)); err != nil {
			return nil, err
		}
		if err := addLicence(ctx, build, files, f.module); err != nil {
			return nil, err
		}
		if err := addSystem(files); err != nil {
			return nil, err
		}
		for _, d := range f.dirs {
			if err := files.Dir(d, os.ModeSticky|0o777); err != nil {
				return nil, err
			}
		}
		layer, err := files.Layer(t.dir)
		if err != nil {
			return nil, err
		}
		c := f.config
		c.Arch, c.WorkDir, c.Labels = t.arch, "/", r.labels()
		if c.Env == nil {
			c.Env = map[string]string{}
		}
		c.Env["PATH"] = "/bin"
		return image.New(nil, c, layer)
	}
	return r
}

// addLicence adds a module's licence and notices, as MinIO's licence demands.
func addLicence(ctx context.Context, build local.Build, files *image.Files, module string) error {
	dir, err := moduleDir(ctx, build.Module, module)
	if err != nil {
		return err
	}
	for _, name := range []string{"LICENSE", "NOTICE", "CREDITS"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return err
		}
		if err := files.Data("/licenses/"+name, 0o644, text); err != nil {
			return err
		}
	}
	return nil
}

// moduleDir returns the folder of a module that the module in dir requires. It is
// downloaded if it is missing, and checked against go.sum.
func moduleDir(ctx context.Context, dir, module string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", module)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	out, err := cmd.Output()
	var m struct{ Dir, Error string }
	if jerr := json.Unmarshal(out, &m); jerr == nil && m.Error != "" {
		return "", fmt.Errorf("downloading %s: %s", module, m.Error)
	}
	if err != nil {
		return "", fmt.Errorf("downloading %s: %w", module, err)
	}
	return m.Dir, nil
}

// minio is the image of the S3 server that `make test` uses too. It is one of our
// own images and never pulled: no public one rejects unsigned writes.
func (b *builder) minio() *recipe {
	return b.thirdPartyImage(&recipe{name: "minio", tag: b.version, ours: true}, thirdParty{
		module: "github.com/minio/minio", program: "minio", dirs: []string{"/data"},
		build: func(arch string) (local.Build, error) {
			return local.MinIOBuild(filepath.Join(b.root, "tools", "minio"), arch)
		},
		config: image.Config{User: nobody, Entrypoint: []string{"/bin/minio"}, Command: []string{"server", "/data"},
			Env: map[string]string{"MINIO_UPDATE": "off", "MINIO_BROWSER": "off", "MC_CONFIG_DIR": "/tmp/.mc"}},
	})
}

// versitygw is the image of an S3 store that is not part of the chart: `make
// e2e-faults` uses it to check that the platform doesn't depend on MinIO.
func (b *builder) versitygw() *recipe {
	dir := filepath.Join(b.root, "tools", "versitygw")
	return b.thirdPartyImage(&recipe{name: "versitygw", tag: versions.VersityGW, onlyNamed: true}, thirdParty{
		module: "github.com/versity/versitygw", program: "versitygw", dirs: []string{"/data"},
		build: func(arch string) (local.Build, error) {
			return moduleBuild("versitygw", arch, dir, "-X main.Version="+versions.VersityGW, "github.com/versity/versitygw/cmd/versitygw")
		},
		config: image.Config{User: nobody, Entrypoint: []string{"/bin/versitygw"}},
	})
}

// netpol is the image of a program that enforces NetworkPolicies, which is not part of
// the chart: `make e2e-faults` runs it on the one-node cluster, whose network does not.
func (b *builder) netpol() *recipe {
	dir := filepath.Join(b.root, "tools", "netpol")
	return b.thirdPartyImage(&recipe{name: "kube-network-policies", tag: versions.NetPol, onlyNamed: true}, thirdParty{
		module: "sigs.k8s.io/kube-network-policies", program: "cmd",
		build: func(arch string) (local.Build, error) {
			return moduleBuild("kube-network-policies", arch, dir, "", "sigs.k8s.io/kube-network-policies/cmd")
		},
		config: image.Config{Entrypoint: []string{"/bin/cmd"}},
	})
}

// moduleBuild builds programs that a module in dir requires; go.mod and go.sum say
// all that they are built from.
func moduleBuild(name, arch, dir, ldflags string, packages ...string) (local.Build, error) {
	build := local.Build{Name: name, Arch: arch, Module: dir, Packages: packages, LDFlags: ldflags,
		Source: func(context.Context) (string, error) { return dir, nil }}
	for _, file := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			return local.Build{}, err
		}
		build.Inputs = append(build.Inputs, text)
	}
	return build, nil
}

// prometheus is the image of Prometheus, built from the module of tools/cluster,
// whose other programs share most of its packages.
func (b *builder) prometheus() *recipe {
	dir := filepath.Join(b.root, "tools", "cluster")
	return b.thirdPartyImage(&recipe{name: "prometheus", tag: versions.Prometheus}, thirdParty{
		module: "github.com/prometheus/prometheus", program: "prometheus", dirs: []string{"/prometheus"},
		build: func(arch string) (local.Build, error) {
			return moduleBuild("prometheus", arch, dir, "-X github.com/prometheus/common/version.Version="+versions.Prometheus, "github.com/prometheus/prometheus/cmd/prometheus")
		},
		config: image.Config{User: nobody, Entrypoint: []string{"/bin/prometheus"},
			Command: []string{"--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"}},
	})
}

// alertmanager is the image of Prometheus' Alertmanager, which a release has if its values
// say so.
func (b *builder) alertmanager() *recipe {
	const module = "github.com/prometheus/alertmanager"
	dir := filepath.Join(b.root, "tools", "alertmanager")
	return b.thirdPartyImage(&recipe{name: "alertmanager", tag: versions.Alertmanager}, thirdParty{
		module: module, program: "alertmanager", dirs: []string{"/alertmanager"},
		build: func(arch string) (local.Build, error) {
			return moduleBuild("alertmanager", arch, dir, "-X github.com/prometheus/common/version.Version="+versions.Alertmanager, module+"/cmd/alertmanager")
		},
		config: image.Config{User: nobody, Entrypoint: []string{"/bin/alertmanager"},
			Command: []string{"--config.file=/etc/alertmanager/alertmanager.yml", "--storage.path=/alertmanager"}},
	})
}

// postgresExporter is the image of the program that reads Postgres' metrics.
func (b *builder) postgresExporter() *recipe {
	const module = "github.com/prometheus-community/postgres_exporter"
	dir := filepath.Join(b.root, "tools", "postgres-exporter")
	return b.thirdPartyImage(&recipe{name: "postgres-exporter", tag: versions.PostgresExporter}, thirdParty{
		module: module, program: "postgres_exporter",
		build: func(arch string) (local.Build, error) {
			return moduleBuild("postgres-exporter", arch, dir, "-X github.com/prometheus/common/version.Version="+versions.PostgresExporter, module+"/cmd/postgres_exporter")
		},
		config: image.Config{User: nobody, Entrypoint: []string{"/bin/postgres_exporter"}},
	})
}

const argoModule = "github.com/argoproj/argo-workflows/v3"

// argoProgram is one of Argo's programs and the name of its public image.
type argoProgram struct{ image, program string }

var argoPrograms = []argoProgram{{"workflow-controller", "workflow-controller"}, {"argoexec", "argoexec"}, {"argocli", "argo"}}

// argo is the image of one of Argo's programs. A workflow's pods run argoexec by
// name.
func (b *builder) argo(p argoProgram) *recipe {
	return b.thirdPartyImage(&recipe{name: p.image, tag: versions.Argo}, thirdParty{
		module: argoModule, program: p.program, build: b.argoBuild,
		config: image.Config{User: "8737:8737", Entrypoint: []string{p.program}},
	})
}

func (b *builder) argoBuild(arch string) (local.Build, error) {
	dir := filepath.Join(b.root, "tools", "argo")
	build := local.Build{
		Name: "argo", Arch: arch, Module: dir, Packages: []string{"./cmd/workflow-controller", "./cmd/argoexec", "./cmd/argo"},
		// The tree is dirty, since the web page is missing.
		LDFlags: "-X " + argoModule + ".version=v" + versions.Argo + " -X " + argoModule + ".gitCommit=" + versions.ArgoCommit + " -X " + argoModule + ".gitTreeState=dirty",
	}
	for _, name := range []string{"go.mod", "go.sum", "index.html"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return local.Build{}, err
		}
		build.Inputs = append(build.Inputs, text)
	}
	build.Source = func(ctx context.Context) (string, error) {
		return b.argoSource(ctx, dir, arch)
	}
	return build, nil
}

// argoSource copies Argo's module and adds the two files that the module's archive
// lacks: a symbolic link, which such archives drop, and the web page.
func (b *builder) argoSource(ctx context.Context, dir, arch string) (string, error) {
	module, err := moduleDir(ctx, dir, argoModule)
	if err != nil {
		return "", err
	}
	source := filepath.Join(b.state.Cache, "programs", "argo-source-"+arch)
	if err := os.RemoveAll(source); err != nil {
		return "", err
	}
	if err := copyTree(module, source); err != nil {
		return "", fmt.Errorf("copying Argo's sources: %w", err)
	}
	for _, f := range []struct{ from, to string }{
		{filepath.Join(source, "workflow", "executor", "osspecific", "signal_darwin.go"), "workflow/executor/osspecific/signal_linux.go"},
		{filepath.Join(dir, "index.html"), "ui/dist/app/index.html"},
	} {
		text, err := os.ReadFile(f.from)
		if err != nil {
			return "", err
		}
		to := filepath.Join(source, filepath.FromSlash(f.to))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(to, text, 0o644); err != nil {
			return "", err
		}
	}
	return source, nil
}

// copyTree makes a writable copy of a module's folder without the parts that no
// program needs.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch rel {
			case "docs", "examples", "sdks", "test":
				return filepath.SkipDir
			}
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), text, 0o644)
	})
}
