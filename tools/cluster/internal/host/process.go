// Package host reads and changes the one machine that a node runs on: its
// processes, mounts, cgroups, network interfaces and packet filter.
package host

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is one process as /proc shows it.
type Process struct {
	PID     int    `json:"pid"`
	Started uint64 `json:"started"` // clock ticks since the machine's boot; tells a pid's owners apart
	Boot    string `json:"boot"`    // the boot's id: ticks begin anew with each
}

// Identify reads the start time of a running process.
func Identify(pid int) (Process, error) {
	_, started, err := readStat(pid)
	if err != nil {
		return Process{}, fmt.Errorf("identifying process %d: %w", pid, err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Process{}, fmt.Errorf("reading boot id: %w", err)
	}
	return Process{PID: pid, Started: started, Boot: strings.TrimSpace(string(boot))}, nil
}

// Alive reports whether the same process still runs; another one with its pid
// and a zombie do not count.
func (p Process) Alive() bool {
	if p.PID <= 0 {
		return false
	}
	state, _, err := readStat(p.PID)
	if err != nil || state == 'X' || state == 'Z' && !threads(p.PID) {
		return false
	}
	q, err := Identify(p.PID)
	return err == nil && q == p
}

// threads reports whether a process that has ended still has threads that end:
// until the last has, its files and ports are not free.
func threads(pid int) bool {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return err == nil && len(tasks) > 1
}

// Signal sends the signal if the process is still the same one.
func (p Process) Signal(sig syscall.Signal) error {
	if !p.Alive() {
		return nil
	}
	if err := syscall.Kill(p.PID, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signalling process %d: %w", p.PID, err)
	}
	return nil
}

// readStat reads state and start time out of /proc/<pid>/stat (proc_pid_stat(5)).
func readStat(pid int) (state byte, started uint64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	return parseStat(text)
}

// parseStat reads the fields behind the command's name, which stands in
// parentheses and may itself hold spaces and parentheses.
func parseStat(text []byte) (state byte, started uint64, err error) {
	i := bytes.LastIndexByte(text, ')')
	f := bytes.Fields(text[max(i, 0):])
	if i < 0 || len(f) < 21 {
		return 0, 0, fmt.Errorf("reading process's stat: %d fields", len(f))
	}
	if started, err = strconv.ParseUint(string(f[20]), 10, 64); err != nil {
		return 0, 0, fmt.Errorf("reading process's start: %w", err)
	}
	return f[1][0], started, nil
}

// PIDs lists all processes of the machine.
func PIDs() []int {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var ps []int
	for _, d := range dirs {
		if pid, err := strconv.Atoi(filepath.Base(d)); err == nil {
			ps = append(ps, pid)
		}
	}
	return ps
}

// Marked returns the living processes whose environment holds the entry
// (KEY=value) whole, save this one.
func Marked(entry string) []Process {
	return having(func(pid int) bool {
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		return err == nil && slices.Contains(strings.Split(string(env), "\x00"), entry)
	})
}

// Named returns the living processes whose command line fits.
func Named(fits func(argv []string) bool) []Process {
	return having(func(pid int) bool {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		return err == nil && len(text) > 0 && fits(strings.Split(strings.TrimRight(string(text), "\x00"), "\x00"))
	})
}

func having(fits func(pid int) bool) []Process {
	var ps []Process
	for _, pid := range PIDs() {
		if pid == os.Getpid() || !fits(pid) {
			continue
		}
		if p, err := Identify(pid); err == nil && p.Alive() {
			ps = append(ps, p)
		}
	}
	return ps
}

// End asks the processes to end by the first signal and kills those that are
// still there after the grace time.
func End(ps []Process, first syscall.Signal, grace time.Duration) error {
	var errs []error
	for _, p := range ps {
		errs = append(errs, p.Signal(first))
	}
	if !WaitGone(ps, grace) {
		for _, p := range ps {
			errs = append(errs, p.Signal(syscall.SIGKILL))
		}
		if !WaitGone(ps, 10*time.Second) {
			errs = append(errs, errors.New("processes are there after SIGKILL"))
		}
	}
	return errors.Join(errs...)
}

// WaitGone waits for the processes to end and reports whether they did.
func WaitGone(ps []Process, limit time.Duration) bool {
	for end := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		if !slices.ContainsFunc(ps, Process.Alive) {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// KeepFiles keeps the files that this process itself inherited (a lock or a pipe
// of whoever called it) from those that it starts: who waits for such a lock
// would else wait for as long as a service lives. Files that Go opened don't
// need it.
func KeepFiles() error {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("listing open files: %w", err)
	}
	for _, e := range fds {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
	return nil
}

// IsFirst reports whether the process is the first one of a container: number 1
// in the innermost of its process namespaces, of which it has more than one.
func IsFirst(pid int) bool {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "NSpid:"); ok {
			f := strings.Fields(rest)
			return len(f) > 1 && f[len(f)-1] == "1"
		}
	}
	return false
}

// Memory returns the bytes that the process holds, shared pages counted in parts.
func Memory(pid int) int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "Pss:" {
			kb, _ := strconv.ParseInt(f[1], 10, 64)
			return kb << 10
		}
	}
	return 0
}
