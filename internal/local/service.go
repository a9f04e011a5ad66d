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
)

// Service is a program to be kept running.
type Service struct {
	Name    string                                    // file name of its record and log
	Base    int                                       // the port wanted; a free one above it where it is taken
	Command func(port int) []string                   // program and arguments
	Env     func(port int) []string                   // besides PATH, HOME and the like
	Dir     string                                    // working folder; empty: the state's
	User    *syscall.Credential                       // nil: who we are
	Version string                                    // of what the command runs (a program's digest): another one restarts it
	Stop    syscall.Signal                            // asks it to end
	Grace   time.Duration                             // between Stop and SIGKILL
	Limit   time.Duration                             // for the start
	Ready   func(ctx context.Context, port int) error // nil once it serves
}

// Record is what is kept of a running service.
type Record struct {
	Name    string         `json:"name"`
	Process                // the one that was started
	Port    int            `json:"port"`
	Since   time.Time      `json:"since"`
	Version string         `json:"version"` // digest of command, environment and Service.Version
	Stop    syscall.Signal `json:"stop"`
	Grace   time.Duration  `json:"grace"`
}

// URL is the service's address for programs on this machine.
func (r *Record) URL() string { return fmt.Sprintf("http://127.0.0.1:%d", r.Port) }

// Memory returns the bytes that the service's processes hold.
func (r *Record) Memory() int64 { return memory(family(r.PID)) }

// Marker is the environment entry that every process of this state carries.
func (s *State) Marker() string { return "MLOPS_STATE=" + s.Dir }

// Records returns what is kept of services, sorted by name; a record does not
// say that the service still runs (Process.Alive does).
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

// Record returns what is kept of the service, or nil.
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

// Up returns the running service, started if need be: one of the same version
// that is ready is left alone, any other is stopped first. The state's lock must
// be held. The service goes on when the caller ends; when ctx ends before it is
// ready, it is stopped.
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
		if err == nil && listens(family(r.PID), r.Port) {
			log.Debug("is running", "service", sv.Name, "port", r.Port)
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
			log.Debug("started", "service", sv.Name, "port", r.Port, "took", time.Since(r.Since).Round(10*time.Millisecond))
			return r, nil
		}
		var died *DiedError
		if !errors.As(err, &died) || portFree(died.Port) {
			return nil, err
		}
		// Somebody took the port between our look at it and the service's.
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
	if err := keepFiles(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", sv.Name, err)
	}
	r := &Record{Name: sv.Name, Port: port, Since: time.Now(), Version: version, Stop: sv.Stop, Grace: sv.Grace}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", sv.Name, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if r.Process, err = Identify(cmd.Process.Pid); err == nil {
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

// await returns once the service answers on its own socket.
func (s *State) await(ctx context.Context, sv *Service, r *Record, ended <-chan error, logPath string) error {
	limit := time.After(sv.Limit)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("starting %s: %w", sv.Name, ctx.Err())
		case err := <-ended:
			how := "exit status 0"
			if err != nil {
				how = err.Error()
			}
			return &DiedError{Name: sv.Name, Port: r.Port, How: how, Log: logPath, Tail: tail(logPath, 15)}
		case <-limit:
			return fmt.Errorf("starting %s: not ready after %v (%w); the end of %s:\n%s", sv.Name, sv.Limit, last, logPath, tail(logPath, 15))
		case <-tick.C:
		}
		if !listens(family(r.PID), r.Port) {
			last = fmt.Errorf("it does not listen on port %d", r.Port)
			continue
		}
		check, cancel := context.WithTimeout(ctx, 5*time.Second)
		last = sv.Ready(check, r.Port)
		cancel()
		if last == nil {
			return nil
		}
	}
}

// Down stops the service and forgets its record. It reports whether there was
// something to stop.
func (s *State) Down(r *Record) (bool, error) {
	all := family(r.PID)
	leads := r.Process.Alive()
	if !leads {
		// The first process is gone. Its pid may be a stranger's now, so only
		// those count that carry the mark.
		all = slices.DeleteFunc(all, func(p Process) bool { return !slices.Contains(marked(s.Marker()), p) })
	}
	if len(all) > 0 {
		first := all
		if leads {
			first = []Process{r.Process}
		}
		for _, p := range first {
			if err := p.Signal(r.Stop); err != nil {
				return true, fmt.Errorf("stopping %s: %w", r.Name, err)
			}
		}
		if !waitGone(all, r.Grace) {
			if err := endAll(all, syscall.SIGKILL, time.Second); err != nil {
				return true, fmt.Errorf("stopping %s: %w", r.Name, err)
			}
		}
	}
	if err := os.Remove(s.Path("run", r.Name+".json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return len(all) > 0, fmt.Errorf("forgetting %s: %w", r.Name, err)
	}
	return len(all) > 0, nil
}

// Strays returns the processes of this state that no record accounts for: what
// a killed command had started. The state's lock must be held, or the steps of
// a running command count as strays.
func (s *State) Strays() ([]Process, error) {
	rs, err := s.Records()
	if err != nil {
		return nil, err
	}
	known := map[Process]bool{}
	for _, r := range rs {
		if r.Alive() {
			for _, p := range family(r.PID) {
				known[p] = true
			}
		}
	}
	return slices.DeleteFunc(marked(s.Marker()), func(p Process) bool { return known[p] }), nil
}

// Sweep ends the strays and returns how many there were.
func (s *State) Sweep() (int, error) {
	ps, err := s.Strays()
	if err != nil {
		return 0, err
	}
	if err := endAll(ps, syscall.SIGTERM, 5*time.Second); err != nil {
		return len(ps), fmt.Errorf("ending what a killed command left: %w", err)
	}
	return len(ps), nil
}

// environ is what a service sees: where programs and the user's things are, the
// mark, and its own entries. Nothing else of the caller's environment reaches it,
// so that a service is the same whoever starts it.
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

// digest covers all that a restart would change. The port is left out: the
// record holds it.
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

// maxLog is the size from which a log is begun anew at the next start, the old
// one kept beside it.
const maxLog = 8 << 20

func openLog(path string) (*os.File, error) {
	if fi, err := os.Stat(path); err == nil && fi.Size() > maxLog {
		if err := os.Rename(path, path+".old"); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

// tail returns the last n lines of a file, indented.
func tail(path string, n int) string {
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
