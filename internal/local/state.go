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
	"sync"

	"github.com/google/renameio/v2"

	"mlops/internal/apikey"
	"mlops/internal/signature"
)

// State is the folder that holds everything the services of one demo keep.
type State struct {
	Dir   string // data, logs, records; absolute
	Cache string // virtual environments and built servers, shared between states; absolute

	// Environ is the command's own environment. Builds see all of it, services
	// only the paths of programs and of the user's files.
	Environ []string

	mu sync.Mutex // over the files of passwords and ports
}

// Secrets are the passwords of Postgres' roles, created once per state.
type Secrets struct {
	Postgres string `json:"postgres"` // superuser
	Steps    string `json:"steps"`    // owner of the databases raw and clean
	MLflow   string `json:"mlflow"`   // owner of the database mlflow
}

// OpenState opens the state and creates its folders if they are missing. An empty
// cache is the folder cache in the state. Root's state folder itself is readable
// for everyone, since Postgres runs as another user; its contents are not.
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
			return nil, fmt.Errorf("creating the state folder: %w", err)
		}
	}
	for _, d := range []string{"run", "log", "artifacts", "models", "datasets"} {
		if err := os.MkdirAll(s.Path(d), 0o700); err != nil {
			return nil, fmt.Errorf("creating the state folder: %w", err)
		}
	}
	return s, nil
}

// Path returns the path of something in the state's folder.
func (s *State) Path(names ...string) string {
	return filepath.Join(append([]string{s.Dir}, names...)...)
}

// Secrets reads the passwords, or creates them if there are none yet.
func (s *State) Secrets() (*Secrets, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := s.Path("secrets.json")
	var sec Secrets
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(s.Path("postgres", "data")); err == nil {
			return nil, fmt.Errorf("%s is missing, and it held the passwords of the data in %s; delete the data with make demo-down PURGE=1", path, s.Path("postgres", "data"))
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

// SigningKeys are the private key that promotion signs model versions with and the
// public keys that the server trusts, in PEM. They are made when they are needed first;
// more public keys may be added to the file of the trusted ones.
func (s *State) SigningKeys() (private, trusted []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	keyPath, trustedPath := s.Path("signing.key"), s.Path("signers.pem")
	private, err = os.ReadFile(keyPath)
	if errors.Is(err, fs.ErrNotExist) {
		if private, trusted, err = signature.Generate(); err != nil {
			return nil, nil, err
		}
		// The public one first: a private one that is there has its public one.
		if err = renameio.WriteFile(trustedPath, trusted, 0o644, renameio.WithTempDir(s.Dir)); err == nil {
			err = renameio.WriteFile(keyPath, private, 0o600, renameio.WithTempDir(s.Dir))
		}
	}
	if err == nil {
		trusted, err = os.ReadFile(trustedPath)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading the keys that model versions are signed with: %w", err)
	}
	return private, trusted, nil
}

// APIKey is the key that the demo's own programs present where servers ask for one; the
// file OwnAPIKeys has its hash. It is made when it is needed first, if make is set, and
// empty if there is none.
func (s *State) APIKey(create bool) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, err := os.ReadFile(s.Path("api.key"))
	if !errors.Is(err, fs.ErrNotExist) || !create {
		if errors.Is(err, fs.ErrNotExist) {
			return "", nil
		}
		return string(text), err
	}
	key, line, err := apikey.New("demo", []apikey.Scope{apikey.Read, apikey.Predict}, apikey.Rate{})
	if err != nil {
		return "", err
	}
	// The hash first: a key that is there has its hash.
	if err = renameio.WriteFile(s.OwnAPIKeys(), []byte(line.String()+"\n"), 0o600, renameio.WithTempDir(s.Dir)); err == nil {
		err = renameio.WriteFile(s.Path("api.key"), []byte(key), 0o600, renameio.WithTempDir(s.Dir))
	}
	if err != nil {
		return "", fmt.Errorf("keeping the demo's own API key: %w", err)
	}
	return key, nil
}

// OwnAPIKeys is the file that servers find APIKey's hash in.
func (s *State) OwnAPIKeys() string { return s.Path("api-keys.own") }

// Purge deletes the data: databases, artifacts, copies of models, logs and
// passwords; if everything is set, also virtual environments, built programs and
// images. No service may be running. If it is killed it can be repeated, since the
// passwords go last.
func (s *State) Purge(everything bool) error {
	names := []string{"postgres", "artifacts", "models", "datasets", "work", "minio", "log", "ports.json", "run", "signing.key", "signers.pem", "api.key", "api-keys.own", "secrets.json"}
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

// writeJSON writes the value atomically, readable by the owner only.
func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding %s: %w", path, err)
	}
	if err := renameio.WriteFile(path, append(text, '\n'), 0o600, renameio.WithTempDir(filepath.Dir(path))); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
