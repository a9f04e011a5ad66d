package host

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// Process is one process as /proc shows it.
type Process struct {
	PID     int    `json:"pid"`
	Started uint64 `json:"started"` // clock ticks since boot; tells apart the processes that share a pid over time
	Boot    string `json:"boot"`    // the boot's id, since the ticks start again with each boot
}

// Identify reads the start time of a running process.
func Identify(pid int) (Process, error) {
	p, _, err := look(pid)
	return p, err
}

// look returns a process and what its stat file says.
func look(pid int) (Process, procfs.ProcStat, error) {
	stat, err := readStat(pid)
	if err != nil {
		return Process{}, procfs.ProcStat{}, fmt.Errorf("identifying process %d: %w", pid, err)
	}
	boot, err := BootID()
	if err != nil {
		return Process{}, procfs.ProcStat{}, err
	}
	return Process{PID: pid, Started: stat.Starttime, Boot: boot}, stat, nil
}

func readStat(pid int) (procfs.ProcStat, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return procfs.ProcStat{}, err
	}
	return p.Stat()
}

// BootID returns the id that the kernel has drawn for the machine's current boot.
func BootID() (string, error) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("reading boot id: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// Alive reports whether this very process still runs: not another one with its
// pid, and not a zombie.
func (p Process) Alive() bool {
	if p.PID <= 0 {
		return false
	}
	q, stat, err := look(p.PID)
	return err == nil && q == p && !ended(stat)
}

// ended reports whether a process has ended with all its threads. While one of
// them is left, its files and ports are not free, although the process itself
// shows as a zombie already.
func ended(stat procfs.ProcStat) bool {
	return stat.State == "X" || stat.State == "Z" && stat.NumThreads <= 1
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

// Marked returns the living processes, except this one, whose environment holds
// the whole entry (KEY=value).
func Marked(entry string) []Process {
	return matching(func(p procfs.Proc) bool {
		environ, err := p.Environ()
		return err == nil && slices.Contains(environ, entry)
	})
}

// matching returns the living processes that fit, except this one.
func matching(fits func(procfs.Proc) bool) []Process {
	all, err := procfs.AllProcs()
	if err != nil {
		return nil
	}
	var ps []Process
	for _, p := range all {
		if p.PID == os.Getpid() || !fits(p) {
			continue
		}
		if found, stat, err := look(p.PID); err == nil && !ended(stat) {
			ps = append(ps, found)
		}
	}
	return ps
}

// End sends the processes the first signal and kills those that are left after
// the grace time.
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
			errs = append(errs, errors.New("processes still run after SIGKILL"))
		}
	}
	return errors.Join(errs...)
}

// WaitGone waits for the processes to end and reports whether all of them did.
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

// CloseInherited marks the files that this process inherited (a lock or a pipe
// of its caller) so that its own children don't inherit them. Otherwise a
// service would keep the caller's lock for as long as it runs. Files that Go
// opened are marked already.
func CloseInherited() error {
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

// Memory returns the bytes that the processes hold. Shared pages count in
// proportion (Pss); where the kernel doesn't say, it is the resident pages (Rss).
func Memory(ps ...Process) int64 {
	var sum uint64
	for _, p := range ps {
		proc, err := procfs.NewProc(p.PID)
		if err != nil {
			continue
		}
		if smaps, err := proc.ProcSMapsRollup(); err == nil && smaps.Pss > 0 {
			sum += smaps.Pss
		} else if status, err := proc.NewStatus(); err == nil {
			sum += status.VmRSS
		}
	}
	return int64(sum)
}
