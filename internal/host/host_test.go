package host

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// The main goroutine stays on the first thread, which "headless" ends.
func init() { runtime.LockOSThread() }

// TestMain lets the test's own program play another process: PLAY says which.
func TestMain(m *testing.M) {
	switch os.Getenv("PLAY") {
	case "":
		os.Exit(m.Run())
	case "hold": // holds a lock until it is killed
		if _, err := TryLock(os.Getenv("LOCK"), "make demo"); err != nil {
			os.Exit(1)
		}
		fmt.Println("held")
		time.Sleep(time.Hour)
	case "sleep":
		fmt.Println("awake")
		time.Sleep(time.Hour)
	case "headless": // its first thread ends, another one does not
		go func() {
			runtime.LockOSThread()
			time.Sleep(time.Hour)
		}()
		time.Sleep(50 * time.Millisecond)
		fmt.Println("headless")
		syscall.RawSyscall(syscall.SYS_EXIT, 0, 0, 0)
	case "parent": // starts a child in a session of its own, and ends
		cmd := exec.Command(os.Args[0])
		cmd.Env, cmd.Stdout = append(os.Environ(), "PLAY=sleep"), os.Stdout
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: os.Getenv("OWN") != ""}
		if err := cmd.Start(); err != nil {
			os.Exit(1)
		}
		time.Sleep(time.Hour)
	}
}

// play starts the test's program in a session of its own and waits until it has
// written a line.
func play(t *testing.T, program, name string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(program)
	cmd.Env = append(append(os.Environ(), "PLAY="+name), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
	})
	if _, err := io.ReadFull(out, make([]byte, 5)); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return cmd
}

func TestAlive(t *testing.T) {
	me, err := Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	later, rebooted := me, me
	later.Started++
	rebooted.Boot = "x"
	for _, tt := range []struct {
		p    Process
		want bool
		why  string
	}{
		{me, true, "this very process"},
		{later, false, "the pid is another process's now"},
		{rebooted, false, "the same pid and ticks, but before a reboot"},
		{Process{}, false, "a record that was empty"},
		{Process{PID: -1}, false, "would be all processes to kill(2)"},
	} {
		if got := tt.p.Alive(); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.why, got, tt.want)
		}
	}
}

func TestAliveUntilTheLastThreadEnds(t *testing.T) {
	cmd := play(t, os.Args[0], "headless")
	p, err := Identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		stat, err := readStat(p.PID)
		if err != nil {
			t.Fatal(err)
		}
		if stat.State == "Z" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("state %s, want Z", stat.State)
		}
	}
	if !p.Alive() {
		t.Error("its first thread has ended and another one runs: got not alive")
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if !WaitGone([]Process{p}, 5*time.Second) { // a zombie until cmd.Wait
		t.Error("after SIGKILL: got alive")
	}
}

func TestIdentifyAnOddName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a) R (b c")
	if err := os.Symlink(os.Args[0], path); err != nil {
		t.Fatal(err)
	}
	odd, err := Identify(play(t, path, "sleep").Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	me, err := Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if odd.Started < me.Started || !odd.Alive() {
		t.Errorf("started at %d and alive %v, want at %d or later and true", odd.Started, odd.Alive(), me.Started)
	}
}

func TestMarkedAndEnd(t *testing.T) {
	mark := "HOST_TEST=" + t.TempDir()
	ours, other := play(t, os.Args[0], "sleep", mark), play(t, os.Args[0], "sleep", mark+"y")
	found := Marked(mark)
	if len(found) != 1 || found[0].PID != ours.Process.Pid {
		t.Fatalf("marked: got %v, want process %d", found, ours.Process.Pid)
	}
	if err := End(found, syscall.SIGTERM, time.Second); err != nil {
		t.Fatal(err)
	}
	if found[0].Alive() {
		t.Error("it is still there")
	}
	if p, err := Identify(other.Process.Pid); err != nil || !p.Alive() {
		t.Error("a stranger was ended, too")
	}
}

func TestFamily(t *testing.T) {
	for _, env := range []string{"OWN=", "OWN=1"} {
		leader := play(t, os.Args[0], "parent", env).Process.Pid
		all := Family(leader)
		if len(all) != 2 {
			t.Errorf("%s: got %v, want process %d and its child", env, all, leader)
		}
		if Memory(all...) <= 0 {
			t.Errorf("%s: they hold no memory", env)
		}
		if err := End(all, syscall.SIGKILL, time.Second); err != nil {
			t.Error(err)
		}
	}
}

func TestWorkingIn(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command("sleep", "600")
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	if ps := WorkingIn(dir); len(ps) != 1 || ps[0].PID != cmd.Process.Pid {
		t.Errorf("got %v, want process %d", ps, cmd.Process.Pid)
	}
}

func TestListens(t *testing.T) {
	me, err := Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	other, err := Identify(play(t, os.Args[0], "sleep").Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"tcp4", "tcp6"} {
		l, err := net.Listen(network, "localhost:0")
		if err != nil {
			t.Logf("%s: %v", network, err) // a machine without IPv6
			continue
		}
		defer l.Close()
		c, err := net.Dial(network, l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		listens, dials := l.Addr().(*net.TCPAddr).Port, c.LocalAddr().(*net.TCPAddr).Port
		for _, tt := range []struct {
			ps   []Process
			port int
			want bool
			why  string
		}{
			{[]Process{other, me}, listens, true, "our listener"},
			{[]Process{other}, listens, false, "another process's listener"},
			{[]Process{me}, dials, false, "a connection, not a listener"},
			{nil, listens, false, "no process"},
		} {
			if got := Listens(tt.ps, tt.port); got != tt.want {
				t.Errorf("%s, %s: got %v, want %v", network, tt.why, got, tt.want)
			}
		}
		if PortFree(listens) {
			t.Errorf("%s: port %d is free, although we listen on it", network, listens)
		}
		l.Close()
		if Listens([]Process{me}, listens) {
			t.Errorf("%s: got a listener that is closed", network)
		}
	}
}

func TestPeakMemory(t *testing.T) {
	cmd := play(t, os.Args[0], "sleep")
	time.AfterFunc(100*time.Millisecond, func() { cmd.Process.Kill() })
	if got := PeakMemory(cmd.Process.Pid); got < 1<<20 {
		t.Errorf("got %d bytes, want a MiB at least", got)
	}
}
