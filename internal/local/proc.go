package local

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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

// procStat is what is read of /proc/<pid>/stat (proc_pid_stat(5)).
type procStat struct {
	state   byte
	parent  int
	session int
	started uint64
}

func readStat(pid int) (procStat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return procStat{}, err
	}
	return parseStat(text)
}

// parseStat reads the fields behind the command's name, which stands in
// parentheses and may itself hold spaces and parentheses.
func parseStat(text []byte) (procStat, error) {
	i := bytes.LastIndexByte(text, ')')
	f := bytes.Fields(text[max(i, 0):])
	if i < 0 || len(f) < 21 {
		return procStat{}, fmt.Errorf("reading process's stat: %d fields", len(f))
	}
	// f[0] is ")", f[1] field 3 (state), f[2] the parent, f[4] field 6 (session), f[20] field 22 (starttime).
	parent, err := strconv.Atoi(string(f[2]))
	if err != nil {
		return procStat{}, fmt.Errorf("reading process's parent: %w", err)
	}
	session, err := strconv.Atoi(string(f[4]))
	if err != nil {
		return procStat{}, fmt.Errorf("reading process's session: %w", err)
	}
	started, err := strconv.ParseUint(string(f[20]), 10, 64)
	if err != nil {
		return procStat{}, fmt.Errorf("reading process's start: %w", err)
	}
	return procStat{state: f[1][0], parent: parent, session: session, started: started}, nil
}

// Identify reads the start time of a running process.
func Identify(pid int) (Process, error) {
	st, err := readStat(pid)
	if err != nil {
		return Process{}, fmt.Errorf("identifying process %d: %w", pid, err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Process{}, fmt.Errorf("reading boot id: %w", err)
	}
	return Process{PID: pid, Started: st.started, Boot: strings.TrimSpace(string(boot))}, nil
}

// Alive reports whether the same process still runs; another one with its pid
// and a zombie do not count.
func (p Process) Alive() bool {
	if p.PID <= 0 {
		return false
	}
	st, err := readStat(p.PID)
	if err != nil || st.state == 'X' || st.state == 'Z' && !threads(p.PID) {
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

// pids lists all processes of the machine.
func pids() []int {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var ps []int
	for _, d := range dirs {
		if pid, err := strconv.Atoi(filepath.Base(d)); err == nil {
			ps = append(ps, pid)
		}
	}
	return ps
}

// family returns the living processes that belong to a service: those of the
// session that its first process leads, and what descends from that one (each
// of Postgres' processes makes a session of its own). The first one itself may
// have ended.
func family(leader int) []Process {
	stats := map[int]procStat{}
	for _, pid := range pids() {
		if st, err := readStat(pid); err == nil {
			stats[pid] = st
		}
	}
	var ps []Process
	for pid, st := range stats {
		if st.state == 'Z' || st.session != leader && !descends(stats, pid, leader) {
			continue
		}
		if p, err := Identify(pid); err == nil {
			ps = append(ps, p)
		}
	}
	return ps
}

func descends(stats map[int]procStat, pid, from int) bool {
	for range len(stats) {
		if pid == from {
			return true
		}
		st, ok := stats[pid]
		if !ok {
			return false
		}
		pid = st.parent
	}
	return false
}

// within returns the living processes whose working folder is dir. Postgres'
// processes all stand in their data folder.
func within(dir string) []Process {
	var ps []Process
	for _, pid := range pids() {
		if cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); err != nil || cwd != dir {
			continue
		}
		if p, err := Identify(pid); err == nil && p.Alive() {
			ps = append(ps, p)
		}
	}
	return ps
}

// marked returns the living processes whose environment holds the entry
// (KEY=value) whole, save this process.
func marked(entry string) []Process {
	var ps []Process
	for _, pid := range pids() {
		if pid == os.Getpid() {
			continue
		}
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil || !holdsEntry(env, entry) {
			continue
		}
		if p, err := Identify(pid); err == nil && p.Alive() {
			ps = append(ps, p)
		}
	}
	return ps
}

func holdsEntry(environ []byte, entry string) bool {
	for _, e := range bytes.Split(environ, []byte{0}) {
		if string(e) == entry {
			return true
		}
	}
	return false
}

// EndMarked ends the processes whose environment holds the entry (KEY=value):
// SIGTERM, and SIGKILL after the grace time. It returns how many there were.
func EndMarked(entry string, grace time.Duration) (int, error) {
	ps := marked(entry)
	return len(ps), endAll(ps, syscall.SIGTERM, grace)
}

// keepFiles keeps the files that this process itself inherited (a lock or a pipe
// of whoever called it) from those that it starts. A service would otherwise hold
// them for as long as it lives: who waits for such a lock would wait for that.
// Files that Go opened don't need it.
func keepFiles() error {
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

// memory returns the bytes that the processes hold, shared pages counted in
// parts (Pss); where the kernel doesn't tell, resident pages (Rss).
func memory(ps []Process) int64 {
	var sum int64
	for _, p := range ps {
		if kb, err := fieldKB(fmt.Sprintf("/proc/%d/smaps_rollup", p.PID), "Pss:"); err == nil {
			sum += kb << 10
		} else if kb, err := fieldKB(fmt.Sprintf("/proc/%d/status", p.PID), "VmRSS:"); err == nil {
			sum += kb << 10
		}
	}
	return sum
}

func fieldKB(path, name string) (int64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == name {
			return strconv.ParseInt(f[1], 10, 64)
		}
	}
	return 0, fs.ErrNotExist
}

// endAll asks the processes to end by the first signal and kills those that
// are still there after the grace time.
func endAll(ps []Process, first syscall.Signal, grace time.Duration) error {
	var errs []error
	for _, p := range ps {
		errs = append(errs, p.Signal(first))
	}
	if !waitGone(ps, grace) {
		for _, p := range ps {
			errs = append(errs, p.Signal(syscall.SIGKILL))
		}
		if !waitGone(ps, 10*time.Second) {
			errs = append(errs, errors.New("processes are there after SIGKILL"))
		}
	}
	return errors.Join(errs...)
}

func waitGone(ps []Process, limit time.Duration) bool {
	for end := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		alive := false
		for _, p := range ps {
			alive = alive || p.Alive()
		}
		if !alive || time.Now().After(end) {
			return !alive
		}
	}
}
