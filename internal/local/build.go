package local

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"mlops/internal/host"
	"mlops/internal/probe"
	"mlops/internal/versions"
)

// MinIO is a running S3 server for tests.
type MinIO struct {
	*Record
	Key, Secret string
}

// MinIO builds the server from the Go module in dir, keeps the program in the
// cache under the digest of that module's go.mod and go.sum, and starts it.
func (s *State) MinIO(ctx context.Context, log *slog.Logger, dir string) (*MinIO, error) {
	build, err := MinIOBuild(dir, runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	bin, err := s.BuildOnce(ctx, log, build)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(bin, "minio")
	secrets, err := s.Secrets()
	if err != nil {
		return nil, err
	}
	m := &MinIO{Key: "mlops", Secret: secrets.Steps}
	m.Record, err = s.Up(ctx, log, &Service{
		Name: "minio", Base: 19000, Version: path,
		Command: func(port int) []string {
			return []string{path, "server", "--quiet", "--address", fmt.Sprintf("127.0.0.1:%d", port), "--console-address", "127.0.0.1:0", s.Path("minio")}
		},
		Env: func(int) []string {
			return []string{"MINIO_ROOT_USER=" + m.Key, "MINIO_ROOT_PASSWORD=" + m.Secret, "MINIO_BROWSER=off", "MINIO_UPDATE=off",
				"MINIO_PROMETHEUS_AUTH_TYPE=public", "MLOPS_METRICS_TOKEN=" + m.Secret, // as in the chart
				"MINIO_CONFIG_ENV_FILE=", "GOMEMLIMIT=256MiB"}
		},
		Stop: syscall.SIGTERM, Grace: 5 * time.Second, Limit: time.Minute,
		Ready: func(ctx context.Context, port int) error {
			return probe.HTTP(ctx, fmt.Sprintf("http://127.0.0.1:%d/minio/health/ready", port))
		},
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// MinIOBuild describes how the server is built from its module in dir.
func MinIOBuild(dir, arch string) (Build, error) {
	const pkg, commit = "github.com/minio/minio/cmd", versions.MinIOCommit
	release := strings.TrimPrefix(versions.MinIO, "RELEASE.")
	day, clock, _ := strings.Cut(release, "T")
	b := Build{
		Name: "minio", Arch: arch, Module: dir, Packages: []string{"."},
		LDFlags: "-X " + pkg + ".ReleaseTag=" + versions.MinIO + " -X " + pkg + ".Version=" + day + "T" + strings.ReplaceAll(clock, "-", ":") +
			" -X " + pkg + ".CommitID=" + commit + " -X " + pkg + ".ShortCommitID=" + commit[:12],
		Source: func(context.Context) (string, error) { return dir, nil },
	}
	for _, name := range []string{"go.mod", "go.sum", "main.go", "metrics.go", "refuse.go"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return Build{}, fmt.Errorf("building MinIO: %w", err)
		}
		b.Inputs = append(b.Inputs, text)
	}
	return b, nil
}

// Build describes how third-party programs are built from a Go module.
type Build struct {
	Name     string // of the folder in the cache, and in messages
	Arch     string
	Module   string                                            // folder of the go.mod that pins the versions
	Packages []string                                          // in the module; one program per package
	LDFlags  string                                            // in addition to -s -w, which make a program a third smaller
	Inputs   [][]byte                                          // everything the programs depend on: go.mod, go.sum and our own files
	Source   func(ctx context.Context) (dir string, err error) // returns the module's folder; called only if there is something to build
}

// BuildOnce builds static programs into a folder of the cache that is named by
// the digest of everything they depend on, including Go's version, and returns
// that folder. If they were built before, it returns at once. Only one process
// builds at a time.
func (s *State) BuildOnce(ctx context.Context, log *slog.Logger, b Build) (string, error) {
	dir, err := s.buildOnce(ctx, log, b)
	if err != nil {
		return "", fmt.Errorf("building %s: %w", b.Name, err)
	}
	return dir, nil
}

func (s *State) buildOnce(ctx context.Context, log *slog.Logger, b Build) (string, error) {
	argv := append([]string{"go", "build", "-trimpath", "-buildvcs=false", strings.TrimSpace("-ldflags=-s -w -buildid= " + b.LDFlags)}, b.Packages...)
	env := []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + b.Arch, "GOFLAGS=", "GOWORK=off"}
	h := sha256.New()
	for _, part := range append(b.Inputs, []byte(runtime.Version()), []byte(strings.Join(append(env, argv...), "\x00"))) {
		fmt.Fprintf(h, "%d:", len(part))
		h.Write(part)
	}
	dir := filepath.Join(s.Cache, "programs", b.Name+"-"+hex.EncodeToString(h.Sum(nil)[:6]))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	held, err := host.WaitLock(ctx, log, dir+".lock", "building "+b.Name)
	if err != nil {
		return "", err
	}
	defer held.Unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	start := time.Now()
	log.Info("building "+b.Name+" (only once, takes some minutes)", "into", dir)
	defer every(15*time.Second, func() {
		log.Info("still building "+b.Name, "elapsed", time.Since(start).Round(time.Second))
	})()
	source, err := b.Source(ctx)
	if err != nil {
		return "", err
	}
	tmp := dir + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return "", err
	}
	if err := os.Mkdir(tmp, 0o755); err != nil {
		return "", err
	}
	argv = append(argv[:2:2], append([]string{"-o", tmp + string(filepath.Separator)}, argv[2:]...)...)
	if err := s.Tool(ctx, source, env, nil, argv...); err != nil {
		return "", err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return "", err
	}
	log.Info("built "+b.Name, "took", time.Since(start).Round(time.Second))
	return dir, nil
}

// every calls report at that interval until the function it returns is called.
func every(interval time.Duration, report func()) (stop func()) {
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				report()
			}
		}
	}()
	return func() { close(done) }
}

// FileDigest returns the SHA-256 of a file, in hexadecimal.
func FileDigest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
