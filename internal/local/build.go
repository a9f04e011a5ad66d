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
	"syscall"
	"time"
)

// Build compiles packages (patterns below root, the project's folder) into the
// folder out, one program each, without cgo. Go's own cache makes a second build
// quick, and a program that would be the same is not written again.
func (s *State) Build(ctx context.Context, root, out string, packages ...string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("building programs: %w", err)
	}
	argv := append([]string{"go", "build", "-trimpath", "-buildvcs=false", "-o", out + string(filepath.Separator)}, packages...)
	if err := s.toolIn(ctx, root, []string{"CGO_ENABLED=0"}, nil, argv...); err != nil {
		return fmt.Errorf("building programs: %w", err)
	}
	return nil
}

// MinIO is a running S3 server for tests.
type MinIO struct {
	*Record
	Key, Secret string
}

// MinIO builds the server from the Go module in dir (its own go.mod and go.sum,
// by whose digest the program is kept in the cache) and starts it.
func (s *State) MinIO(ctx context.Context, log *slog.Logger, dir string) (*MinIO, error) {
	path, err := s.buildMinIO(ctx, log, dir)
	if err != nil {
		return nil, err
	}
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
				"MINIO_CONFIG_ENV_FILE=", "GOMEMLIMIT=256MiB"}
		},
		Stop: syscall.SIGTERM, Grace: 5 * time.Second, Limit: time.Minute,
		Ready: func(ctx context.Context, port int) error {
			return httpOK(ctx, fmt.Sprintf("http://127.0.0.1:%d/minio/health/ready", port))
		},
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

func (s *State) buildMinIO(ctx context.Context, log *slog.Logger, dir string) (string, error) {
	h := sha256.New()
	for _, name := range []string{"go.mod", "go.sum", "main.go"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return "", fmt.Errorf("building MinIO: %w", err)
		}
		h.Write(text)
	}
	root := filepath.Join(s.Cache, "minio", hex.EncodeToString(h.Sum(nil)[:6]))
	path := filepath.Join(root, "minio")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", fmt.Errorf("building MinIO: %w", err)
	}
	held, err := WaitLock(ctx, log, root+".lock", "building MinIO")
	if err != nil {
		return "", fmt.Errorf("building MinIO: %w", err)
	}
	defer held.Unlock()
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	start := time.Now()
	log.Info("building MinIO (once, some minutes)", "into", path)
	done := make(chan struct{})
	defer close(done)
	go func() {
		tick := time.NewTicker(15 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				log.Info("still building MinIO", "for", time.Since(start).Round(time.Second))
			}
		}
	}()
	tmp := path + ".new"
	// Without symbols it is a third smaller.
	err = s.toolIn(ctx, dir, []string{"CGO_ENABLED=0"}, nil,
		"go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", tmp, ".")
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return "", fmt.Errorf("building MinIO: %w", err)
	}
	log.Info("built MinIO", "took", time.Since(start).Round(time.Second))
	return path, nil
}

func fileDigest(path string) (string, error) {
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
