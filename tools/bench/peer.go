package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"mlops/internal/host"
	"mlops/internal/local"
	"mlops/internal/prepare"
	"mlops/internal/probe"
	"mlops/internal/program"
	"mlops/internal/retry"
)

var peers = filepath.Join("loadtest", "peers")

// peersVenv returns the virtual environment of the servers' and evaluators' peers.
func peersVenv(ctx context.Context, log *slog.Logger) (*prepare.Venv, error) {
	return venvOf(ctx, log, filepath.Join(peers, "requirements.txt"))
}

// venvOf returns the virtual environment of a lock, which is cached beside the demo's.
func venvOf(ctx context.Context, log *slog.Logger, lock string) (*prepare.Venv, error) {
	home, err := program.Env("MLOPS_HOME")
	if err != nil {
		return nil, err
	}
	state, err := local.OpenState(home, os.Getenv("MLOPS_CACHE_HOME"), os.Environ())
	if err != nil {
		return nil, err
	}
	py, err := prepare.FindPython(ctx, prepare.Pythons(os.Getenv("PYTHON")))
	if err != nil {
		return nil, err
	}
	return state.Venv(ctx, log, py, lock)
}

// python runs one of the peers' programs and returns its output.
func python(ctx context.Context, v *prepare.Venv, script string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, v.Python(), append([]string{filepath.Join(peers, script)}, args...)...)
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", script, err, problems.String())
	}
	return out, nil
}

// server is a program that serves HTTP on a port of its own.
type server struct {
	name string
	base string // URL
	cmd  *exec.Cmd
	took time.Duration // from the start to the first response with 200
	peak chan float64  // MiB, sent once it has ended
	once sync.Once
	used float64
}

// port is the placeholder for a server's port in its arguments and environment.
const port = "{port}"

// serve starts a server in a process group of its own and waits until GET on the
// path ready succeeds.
func (b *bench) serve(ctx context.Context, name, ready string, env []string, argv ...string) (*server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("finding a free port: %w", err)
	}
	_, number, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	fill := func(list []string) []string {
		var filled []string
		for _, s := range list {
			filled = append(filled, strings.ReplaceAll(s, port, number))
		}
		return filled
	}
	argv = fill(argv)
	log, err := os.Create(filepath.Join(b.dir, name+".log"))
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	defer log.Close()
	s := &server{name: name, base: "http://127.0.0.1:" + number, cmd: exec.Command(argv[0], argv[1:]...), peak: make(chan float64, 1)}
	s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = append(os.Environ(), fill(env)...), log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	start := time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() { s.peak <- mib(host.PeakMemory(s.cmd.Process.Pid)) }()
	policy := retry.Policy{Patience: 2 * time.Minute, Wait: 2 * time.Millisecond, Factor: 1}
	if err := retry.Do(ctx, policy, func(ctx context.Context) error { return probe.HTTP(ctx, s.base+ready) }); err != nil {
		s.stop()
		return nil, fmt.Errorf("%s did not become ready: %w; the end of %s:\n%s", name, err, log.Name(), local.Tail(log.Name(), 15))
	}
	s.took = time.Since(start)
	return s, nil
}

// stop ends the server with all its processes and returns the peak memory (MiB) of
// the first one. It may be called more than once.
func (s *server) stop() float64 {
	s.once.Do(func() {
		syscall.Kill(-s.cmd.Process.Pid, syscall.SIGTERM)
		hard := time.AfterFunc(10*time.Second, func() { syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) })
		defer hard.Stop()
		_ = s.cmd.Wait()                                  // it was told to end
		syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) // workers that outlived their parent
		s.used = <-s.peak
	})
	return s.used
}
