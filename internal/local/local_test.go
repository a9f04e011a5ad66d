package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mlops/internal/host"
)

// TestMain lets the test's own program play a service: PLAY says which.
func TestMain(m *testing.M) {
	switch os.Getenv("PLAY") {
	case "":
		os.Exit(m.Run())
	case "listen", "stubborn":
		if os.Getenv("PLAY") == "stubborn" {
			ignoreTerm()
		}
		l, err := net.Listen("tcp", os.Getenv("LISTEN"))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		for {
			if c, err := l.Accept(); err == nil {
				c.Close()
			}
		}
	case "die":
		fmt.Fprintln(os.Stderr, "no such table")
		os.Exit(3)
	case "parent": // starts a child in its session, which outlives it
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "PLAY=listen")
		cmd.Start()
		time.Sleep(time.Hour)
	}
}

func ignoreTerm() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
}

func testState(t *testing.T) *State {
	t.Helper()
	dir, err := os.MkdirTemp("", "mlops-local-")
	if err != nil {
		t.Fatal(err)
	}
	os.Chmod(dir, 0o755) // Postgres may run as somebody else
	s, err := OpenState(filepath.Join(dir, "state"), "", os.Environ())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		rs, err := s.Records()
		if err != nil {
			t.Error(err)
		}
		for _, r := range rs {
			s.Down(r)
		}
		if _, err := s.Sweep(); err != nil {
			t.Error(err)
		}
		os.RemoveAll(dir)
	})
	return s
}

func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

func player(play string) *Service {
	return &Service{
		Name: "player", Base: 23000,
		Command: func(int) []string { return []string{os.Args[0]} },
		Env: func(port int) []string {
			return []string{"PLAY=" + play, fmt.Sprintf("LISTEN=127.0.0.1:%d", port)}
		},
		Stop: syscall.SIGTERM, Grace: 5 * time.Second, Limit: 20 * time.Second,
		Ready: func(context.Context, int) error { return nil },
	}
}

func TestUpReusesAndRestarts(t *testing.T) {
	s := testState(t)
	first, err := s.Up(t.Context(), testLog(t), player("listen"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.Up(t.Context(), testLog(t), player("listen"))
	if err != nil {
		t.Fatal(err)
	}
	if again.Process != first.Process {
		t.Errorf("a running service of the same version: got process %v, want %v again", again.Process, first.Process)
	}
	sv := player("listen")
	sv.Version = "2"
	other, err := s.Up(t.Context(), testLog(t), sv)
	if err != nil {
		t.Fatal(err)
	}
	if first.Alive() || !other.Alive() {
		t.Errorf("after a new version: old one alive %v, new one alive %v, want false, true", first.Alive(), other.Alive())
	}
	if other.Port != first.Port {
		t.Errorf("port after restart: got %d, want %d as before", other.Port, first.Port)
	}
	did, err := s.Down(other)
	if err != nil || !did || other.Alive() {
		t.Errorf("Down: got %v, %v, alive %v, want true, nil, false", did, err, other.Alive())
	}
	if r, err := s.Record("player"); r != nil || err != nil {
		t.Errorf("record after Down: got %v, %v, want none", r, err)
	}
	if did, err := s.Down(other); did || err != nil {
		t.Errorf("second Down: got %v, %v, want false, nil", did, err)
	}
}

func TestUpTakesAnotherPort(t *testing.T) {
	s := testState(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	sv := player("listen")
	sv.Base = l.Addr().(*net.TCPAddr).Port
	r, err := s.Up(t.Context(), testLog(t), sv)
	if err != nil {
		t.Fatal(err)
	}
	if r.Port == sv.Base {
		t.Errorf("port: got %d, which somebody else has", r.Port)
	}
}

func TestUpSaysWhyAServiceDied(t *testing.T) {
	s := testState(t)
	_, err := s.Up(t.Context(), testLog(t), player("die"))
	var died *DiedError
	if !errors.As(err, &died) || !strings.Contains(err.Error(), "no such table") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got %v, want a DiedError with the exit status and the log's end", err)
	}
	if r, _ := s.Record("player"); r != nil {
		t.Errorf("record of a service that died: got %+v, want none", r)
	}
}

func TestUpStopsWhenCancelled(t *testing.T) {
	s := testState(t)
	ctx, cancel := context.WithCancel(t.Context())
	sv := player("listen")
	sv.Ready = func(context.Context, int) error { cancel(); return errors.New("not yet") }
	if _, err := s.Up(ctx, testLog(t), sv); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if ps := host.Marked(s.Marker()); len(ps) > 0 {
		t.Errorf("left running: %v", ps)
	}
}

// Whoever runs make demo under a lock of its own (flock(1)) gets it back when the
// command ends, not when the services do.
func TestServicesDoNotInheritOpenFiles(t *testing.T) {
	s := testState(t)
	path := filepath.Join(t.TempDir(), "callers-lock")
	fd, err := syscall.Open(path, syscall.O_CREAT|syscall.O_RDWR, 0o600) // without O_CLOEXEC, as flock(1) hands it on
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(fd, syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	r, err := s.Up(t.Context(), testLog(t), player("listen"))
	if err != nil {
		t.Fatal(err)
	}
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", r.PID))
	for _, l := range links {
		if to, _ := os.Readlink(l); to == path {
			t.Errorf("the service has %s open", to)
		}
	}
	syscall.Close(fd)
	l, err := host.TryLock(path, "the next one")
	if err != nil {
		t.Fatalf("after the caller let go of its lock, with the service running: %v", err)
	}
	l.Unlock()
}

func TestDownKillsWhatIgnoresTerm(t *testing.T) {
	s := testState(t)
	sv := player("stubborn")
	sv.Grace = 100 * time.Millisecond
	r, err := s.Up(t.Context(), testLog(t), sv)
	if err != nil {
		t.Fatal(err)
	}
	if did, err := s.Down(r); err != nil || !did || r.Alive() {
		t.Errorf("Down: got %v, %v, alive %v, want true, nil, false", did, err, r.Alive())
	}
}

// A killed first process leaves its child behind, as MLflow's does: it holds the
// port, and Up has to end it before it starts the service again.
func TestUpAfterTheFirstProcessWasKilled(t *testing.T) {
	s := testState(t)
	parent := player("parent")
	parent.Grace = 300 * time.Millisecond // the child outlives its parent's SIGTERM; what is tested comes before
	r, err := s.Up(t.Context(), testLog(t), parent)
	if err != nil {
		t.Fatal(err)
	}
	before := host.Family(r.PID)
	if len(before) != 2 {
		t.Fatalf("processes of the service: got %d, want 2", len(before))
	}
	syscall.Kill(r.PID, syscall.SIGKILL)
	host.WaitGone([]host.Process{r.Process}, 5*time.Second)
	again, err := s.Up(t.Context(), testLog(t), parent)
	if err != nil {
		t.Fatal(err)
	}
	if again.Port != r.Port {
		t.Errorf("port: got %d, want %d, freed from the child", again.Port, r.Port)
	}
	for _, p := range before {
		if p.Alive() {
			t.Errorf("process %d is still there", p.PID)
		}
	}
}

func TestSweepEndsOnlyStrays(t *testing.T) {
	s := testState(t)
	r, err := s.Up(t.Context(), testLog(t), player("listen"))
	if err != nil {
		t.Fatal(err)
	}
	start := func(env ...string) host.Process {
		cmd := exec.Command("sleep", "600")
		cmd.Env = env
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go cmd.Wait()
		t.Cleanup(func() { cmd.Process.Kill() })
		p, err := host.Identify(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	stray := start(s.Marker())
	stranger := start(s.Marker() + "x")
	// The mark is there from exec on; until then the process shows our own environment.
	for !strings.Contains(environOf(stray.PID), s.Marker()) || !strings.Contains(environOf(stranger.PID), s.Marker()) {
		time.Sleep(10 * time.Millisecond)
	}
	n, err := s.Sweep()
	if err != nil || n != 1 {
		t.Errorf("Sweep: got %d, %v, want 1, nil", n, err)
	}
	if stray.Alive() {
		t.Error("the stray is still there")
	}
	if !stranger.Alive() || !r.Alive() {
		t.Errorf("after Sweep: another state's process alive %v, the recorded service alive %v, want both", stranger.Alive(), r.Alive())
	}
}

func environOf(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return string(b)
}

func TestPick(t *testing.T) {
	s := testState(t)
	p, err := s.ports()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := l.Addr().(*net.TCPAddr).Port
	defer l.Close()
	first, err := p.pick("inference-a", base, nil)
	if err != nil {
		t.Fatal(err)
	}
	if first <= base {
		t.Errorf("first service: got %d, want one above %d, which is taken", first, base)
	}
	second, err := p.pick("inference-b", base, nil)
	if err != nil {
		t.Fatal(err)
	}
	if second <= first {
		t.Errorf("second service: got %d, want one above the first one's %d, though that does not run", second, first)
	}
	again, err := s.ports()
	if err != nil {
		t.Fatal(err)
	}
	got, err := again.pick("inference-b", base, nil)
	if err != nil || got != second {
		t.Errorf("second service, another day: got %d, %v, want %d", got, err, second)
	}
	if got, err := again.pick("inference-b", base, map[int]bool{second: true}); err != nil || got == second {
		t.Errorf("after losing its port: got %d, %v, want another", got, err)
	}
	os.WriteFile(s.Path("ports.json"), []byte("{"), 0o600)
	if _, err := s.ports(); err == nil {
		t.Error("a broken ports.json: got no error")
	}
}
