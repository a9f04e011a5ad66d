package local

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"mlops/internal/host"
	"mlops/internal/retry"
)

// Service is a program that is kept running.
type Service struct {
	Name    string                                    // file name of its record and log
	Base    int                                       // preferred port; a free one above it if it is taken
	Command func(port int) []string                   // program and arguments
	Env     func(port int) []string                   // in addition to PATH, HOME and the like
	Dir     string                                    // working folder; empty: the state's
	User    *syscall.Credential                       // nil: our own
	Version string                                    // of what the command runs (a program's digest); a change restarts the service
	Stop    syscall.Signal                            // signal that asks it to end
	Grace   time.Duration                             // between Stop and SIGKILL
	Limit   time.Duration                             // for the start
	Ready   func(ctx context.Context, port int) error // nil once it serves
}

// Record is what the state keeps about a running service.
type Record struct {
	Name         string         `json:"name"`
	host.Process                // the one that was started
	Port         int            `json:"port"`
	Since        time.Time      `json:"since"`
	Version      string         `json:"version"` // digest of command, environment and Service.Version
	Stop         syscall.Signal `json:"stop"`
	Grace        time.Duration  `json:"grace"`
}

// URL returns the service's address for programs on this machine.
func (r *Record) URL() string { return fmt.Sprintf("http://127.0.0.1:%d", r.Port) }

// Memory returns the bytes that the service's processes hold.
func (r *Record) Memory() int64 { return host.Memory(host.Family(r.PID)...) }

// Marker returns the environment entry that every process of this state carries.
func (s *State) Marker() string { return "MLOPS_STATE=" + s.Dir }

// Records returns the records of all services, sorted by name. A record doesn't
// mean that the service still runs; Process.Alive tells.
func (s *State) Records() ([]*Record, error) {
	paths, err := filepath.Glob(s.Path("run", "*.json"))
	if err != nil {
		return nil, fmt.Errorf("listing services: %w", err)
	}
	var rs []*Record
	for _, p := range paths {
		r, err := readRecord(p)
		if err != nil {
			return nil, err
		}
		if r != nil {
			rs = append(rs, r)
		}
	}
	return rs, nil
}

// Running returns the addresses of the services that run and whose name begins so, by the
// rest of their names: those of inference servers by their data sets.
func (s *State) Running(prefix string) (map[string]string, error) {
	records, err := s.Records()
	if err != nil {
		return nil, err
	}
	running := map[string]string{}
	for _, r := range records {
		if name, ok := strings.CutPrefix(r.Name, prefix); ok && r.Alive() {
			running[name] = r.URL()
		}
	}
	return running, nil
}

// Record returns the record of a service, or nil.
func (s *State) Record(name string) (*Record, error) {
	return readRecord(s.Path("run", name+".json"))
}

func readRecord(path string) (*Record, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading service's record: %w", err)
	}
	var r Record
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("reading service's record %s: %w", path, err)
	}
	return &r, nil
}

// Up returns the running service and starts it if necessary. A service of the
// same version that is ready stays as it is; any other is stopped first. The
// caller must hold the state's lock. The service outlives the caller; if ctx ends
// before it is ready, it is stopped.
func (s *State) Up(ctx context.Context, log *slog.Logger, sv *Service) (*Record, error) {
	version := sv.digest()
	r, err := s.Record(sv.Name)
	if err != nil {
		return nil, err
	}
	if r != nil && r.Alive() && r.Version == version {
		check, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := sv.Ready(check, r.Port)
		cancel()
		if err == nil && host.Listens(host.Family(r.PID), r.Port) {
			log.Debug("service is running", "service", sv.Name, "port", r.Port)
			return r, nil
		}
	}
	if r != nil {
		if _, err := s.Down(r); err != nil {
			return nil, err
		}
	}
	lost := map[int]bool{}
	for range 4 {
		r, err = s.start(ctx, sv, version, lost)
		if err == nil {
			log.Debug("started service", "service", sv.Name, "port", r.Port, "took", time.Since(r.Since).Round(10*time.Millisecond))
			return r, nil
		}
		var died *DiedError
		if !errors.As(err, &died) || host.PortFree(died.Port) {
			return nil, err
		}
		// Another program took the port after we had found it free.
		lost[died.Port] = true
		log.Warn("another process took the port", "service", sv.Name, "port", died.Port)
	}
	return nil, err
}

// DiedError says that a service ended before it was ready.
type DiedError struct {
	Name string
	Port int
	How  string // "exit status 1"
	Log  string // path
	Tail string // its last lines
}

func (e *DiedError) Error() string {
	return fmt.Sprintf("starting %s: it ended (%s); the end of %s:\n%s", e.Name, e.How, e.Log, e.Tail)
}

func (s *State) start(ctx context.Context, sv *Service, version string, lost map[int]bool) (*Record, error) {
	port, err := s.pickPort(sv.Name, sv.Base, lost)
	if err != nil {
		return nil, err
	}
	logPath := s.Path("log", sv.Name+".log")
	logFile, err := openLog(logPath)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", sv.Name, err)
	}
	defer logFile.Close()
	argv := sv.Command(port)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = sv.Dir
	if cmd.Dir == "" {
		cmd.Dir = s.Dir
	}
	cmd.Env = s.environ(sv.Env(port))
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: sv.User}
	if err := host.CloseInherited(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", sv.Name, err)
	}
	r := &Record{Name: sv.Name, Port: port, Since: time.Now(), Version: version, Stop: sv.Stop, Grace: sv.Grace}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", sv.Name, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if r.Process, err = host.Identify(cmd.Process.Pid); err == nil {
		err = writeJSON(s.Path("run", sv.Name+".json"), r)
	}
	if err != nil {
		cmd.Process.Kill()
		return nil, fmt.Errorf("starting %s: %w", sv.Name, err)
	}
	if err := s.await(ctx, sv, r, ended, logPath); err != nil {
		if _, derr := s.Down(r); derr != nil {
			err = errors.Join(err, derr)
		}
		return nil, err
	}
	return r, nil
}

// readyPoll is the pause between two looks at a service that starts.
const readyPoll = 50 * time.Millisecond

// await returns once the service is ready on a socket of its own.
func (s *State) await(ctx context.Context, sv *Service, r *Record, ended <-chan error, logPath string) error {
	policy := retry.Policy{Patience: sv.Limit, TryLimit: 5 * time.Second, Wait: readyPoll, Factor: 1}
	err := retry.Do(ctx, policy, func(ctx context.Context) error {
		select {
		case err := <-ended:
			how := "exit status 0"
			if err != nil {
				how = err.Error()
			}
			return retry.Permanent(&DiedError{Name: sv.Name, Port: r.Port, How: how, Log: logPath, Tail: Tail(logPath, 15)})
		default:
		}
		if !host.Listens(host.Family(r.PID), r.Port) {
			return fmt.Errorf("it doesn't listen on port %d", r.Port)
		}
		return sv.Ready(ctx, r.Port)
	})
	var died *DiedError
	var exhausted *retry.ExhaustedError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &died):
		return died
	case errors.As(err, &exhausted):
		return fmt.Errorf("starting %s: not ready after %v (%w); the end of %s:\n%s", sv.Name, sv.Limit, exhausted.Err, logPath, Tail(logPath, 15))
	}
	return fmt.Errorf("starting %s: %w", sv.Name, err)
}

// Down stops the service and deletes its record. It reports whether there was
// anything to stop.
func (s *State) Down(r *Record) (bool, error) {
	all := host.Family(r.PID)
	leads := r.Process.Alive()
	if !leads {
		// The first process is gone. Its pid may belong to an unrelated process by
		// now, so only processes that carry the mark count.
		all = slices.DeleteFunc(all, func(p host.Process) bool { return !slices.Contains(host.Marked(s.Marker()), p) })
	}
	if len(all) > 0 {
		first := all
		if leads {
			first = []host.Process{r.Process}
		}
		for _, p := range first {
			if err := p.Signal(r.Stop); err != nil {
				return true, fmt.Errorf("stopping %s: %w", r.Name, err)
			}
		}
		if !host.WaitGone(all, r.Grace) {
			if err := host.End(all, syscall.SIGKILL, time.Second); err != nil {
				return true, fmt.Errorf("stopping %s: %w", r.Name, err)
			}
		}
	}
	if err := os.Remove(s.Path("run", r.Name+".json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return len(all) > 0, fmt.Errorf("deleting the record of %s: %w", r.Name, err)
	}
	return len(all) > 0, nil
}

// Strays returns the processes of this state that no record accounts for, which a
// killed command has left. The caller must hold the state's lock, or the steps of
// a running command count as strays.
func (s *State) Strays() ([]host.Process, error) {
	rs, err := s.Records()
	if err != nil {
		return nil, err
	}
	known := map[host.Process]bool{}
	for _, r := range rs {
		if r.Alive() {
			for _, p := range host.Family(r.PID) {
				known[p] = true
			}
		}
	}
	return slices.DeleteFunc(host.Marked(s.Marker()), func(p host.Process) bool { return known[p] }), nil
}

// Sweep ends the strays and returns how many there were.
func (s *State) Sweep() (int, error) {
	ps, err := s.Strays()
	if err != nil {
		return 0, err
	}
	if err := host.End(ps, syscall.SIGTERM, 5*time.Second); err != nil {
		return len(ps), fmt.Errorf("ending the processes of a killed command: %w", err)
	}
	return len(ps), nil
}

// environ returns a service's environment: the mark, where programs and the
// user's files are, and its own entries. It inherits nothing else, so that a
// service doesn't depend on the shell it was started from.
func (s *State) environ(own []string) []string {
	env := []string{s.Marker(), "LANG=C.UTF-8"}
	for _, e := range s.Environ {
		name, _, _ := strings.Cut(e, "=")
		switch name {
		case "PATH", "HOME", "TMPDIR", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR":
			env = append(env, e)
		}
	}
	return append(env, own...)
}

// digest covers everything that a restart would change, except the port, which is
// in the record.
func (sv *Service) digest() string {
	h := sha256.New()
	for _, list := range [][]string{sv.Command(0), sv.Env(0), {sv.Version}} {
		for _, x := range list {
			h.Write([]byte(x))
			h.Write([]byte{0})
		}
		h.Write([]byte{1})
	}
	return hex.EncodeToString(h.Sum(nil))
}

// maxLog is the size in bytes above which the next start begins a new log and
// keeps the old one beside it.
const maxLog = 8 << 20

func openLog(path string) (*os.File, error) {
	if fi, err := os.Stat(path); err == nil && fi.Size() > maxLog {
		if err := os.Rename(path, path+".old"); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

// Tail returns the last n lines of a file, indented.
func Tail(path string, n int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "  (" + err.Error() + ")"
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	var b strings.Builder
	for _, l := range lines[max(0, len(lines)-n):] {
		fmt.Fprintf(&b, "  %s\n", l)
	}
	return strings.TrimRight(b.String(), "\n")
}
