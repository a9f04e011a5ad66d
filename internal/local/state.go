package local

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// State is the folder that holds everything the services of one demo keep.
type State struct {
	Dir   string // data, logs, records; absolute
	Cache string // virtual environments and built servers, which states share; absolute

	// Environ is the command's own environment: builds see all of it, services
	// only where programs and the user's things are.
	Environ []string

	mu sync.Mutex // over the files of passwords and ports
}

// Secrets are the passwords of Postgres' roles, made once for a state.
type Secrets struct {
	Postgres string `json:"postgres"` // superuser
	Steps    string `json:"steps"`    // owner of the databases raw and clean
	MLflow   string `json:"mlflow"`   // owner of the database mlflow
}

// OpenState makes the folder if it is missing. cache may be empty: then it is
// the folder cache in the state. As root the folder itself is readable for all,
// since Postgres runs as somebody else; what is in it is not.
func OpenState(dir, cache string, environ []string) (*State, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("opening state folder: %w", err)
	}
	if cache == "" {
		cache = filepath.Join(dir, "cache")
	}
	if cache, err = filepath.Abs(cache); err != nil {
		return nil, fmt.Errorf("opening cache folder: %w", err)
	}
	s := &State{Dir: dir, Cache: cache, Environ: environ}
	mode := fs.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o755
	}
	for _, d := range []string{s.Dir, s.Cache} {
		if err := os.MkdirAll(d, mode); err != nil {
			return nil, fmt.Errorf("making state folder: %w", err)
		}
	}
	for _, d := range []string{"run", "log", "artifacts", "models", "datasets"} {
		if err := os.MkdirAll(s.Path(d), 0o700); err != nil {
			return nil, fmt.Errorf("making state folder: %w", err)
		}
	}
	return s, nil
}

// Path joins names to the state's folder.
func (s *State) Path(names ...string) string {
	return filepath.Join(append([]string{s.Dir}, names...)...)
}

// Secrets reads the passwords, or makes them where there are none yet.
func (s *State) Secrets() (*Secrets, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := s.Path("secrets.json")
	var sec Secrets
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(s.Path("postgres", "data")); err == nil {
			return nil, fmt.Errorf("%s is gone, but %s is there and its passwords were in it; delete the data with make demo-down PURGE=1", path, s.Path("postgres", "data"))
		}
		for _, p := range []*string{&sec.Postgres, &sec.Steps, &sec.MLflow} {
			b := make([]byte, 24)
			rand.Read(b)
			*p = hex.EncodeToString(b)
		}
		return &sec, writeJSON(path, &sec)
	case err != nil:
		return nil, fmt.Errorf("reading passwords: %w", err)
	}
	if err := json.Unmarshal(text, &sec); err != nil {
		return nil, fmt.Errorf("reading passwords in %s: %w", path, err)
	}
	if sec.Postgres == "" || sec.Steps == "" || sec.MLflow == "" {
		return nil, fmt.Errorf("reading passwords in %s: one of postgres, steps, mlflow is empty", path)
	}
	return &sec, nil
}

// Purge deletes the data: databases, artifacts, copies of models, logs and
// passwords, and with everything also the virtual environments. No service may
// run. It is safe to repeat after a kill: the passwords go last.
func (s *State) Purge(everything bool) error {
	names := []string{"postgres", "artifacts", "models", "datasets", "work", "minio", "log", "ports.json", "run", "secrets.json"}
	for _, n := range names {
		if err := os.RemoveAll(s.Path(n)); err != nil {
			return fmt.Errorf("deleting %s: %w", n, err)
		}
	}
	if everything {
		for _, n := range []string{"venv", "programs", "images"} {
			if err := os.RemoveAll(filepath.Join(s.Cache, n)); err != nil {
				return fmt.Errorf("deleting %s: %w", n, err)
			}
		}
	}
	return nil
}

// writeJSON writes the value whole or not at all, readable for the owner only.
func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding %s: %w", path, err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(append(text, '\n'))
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// Lock is a file that one process at a time holds. The kernel lets go of it
// when the process ends, however it ends; the programs it started don't inherit
// it.
type Lock struct{ f *os.File }

// HeldError says that another process holds the lock.
type HeldError struct {
	Path string
	By   string // what the holder wrote: "make demo, process 123"
}

func (e *HeldError) Error() string {
	by := e.By
	if by == "" {
		by = "another process"
	}
	return fmt.Sprintf("%s is at work here (it holds %s); wait until it has ended", by, e.Path)
}

// TryLock takes the lock or returns a *HeldError. what names the command for
// those who meet the lock.
func TryLock(path, what string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening lock: %w", err)
	}
	if err := flock(f, syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			b := make([]byte, 200)
			n, _ := f.ReadAt(b, 0)
			return nil, &HeldError{Path: path, By: strings.TrimSpace(string(b[:n]))}
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	// The text is for people only; that it could not be written is no reason to stop.
	if f.Truncate(0) == nil {
		fmt.Fprintf(f, "%s, process %d\n", what, os.Getpid())
	}
	return &Lock{f}, nil
}

// Unlock lets go of the lock.
func (l *Lock) Unlock() error {
	l.f.Truncate(0)
	return l.f.Close()
}

func flock(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
