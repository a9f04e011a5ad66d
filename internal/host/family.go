package host

import (
	"time"

	"github.com/prometheus/procfs"
)

// Family returns the living processes of a service: the session that its first
// process leads, and all descendants of that process (each of Postgres'
// processes starts a session of its own). The first process may have ended.
func Family(leader int) []Process {
	all, err := procfs.AllProcs()
	if err != nil {
		return nil
	}
	stats := map[int]procfs.ProcStat{}
	for _, p := range all {
		if stat, err := p.Stat(); err == nil {
			stats[p.PID] = stat
		}
	}
	var ps []Process
	for pid, stat := range stats {
		if ended(stat) || stat.Session != leader && !descends(stats, pid, leader) {
			continue
		}
		if p, err := Identify(pid); err == nil {
			ps = append(ps, p)
		}
	}
	return ps
}

func descends(stats map[int]procfs.ProcStat, pid, from int) bool {
	for range len(stats) {
		if pid == from {
			return true
		}
		stat, ok := stats[pid]
		if !ok {
			return false
		}
		pid = stat.PPID
	}
	return false
}

// WorkingIn returns the living processes, except this one, whose working folder
// is dir.
func WorkingIn(dir string) []Process {
	return matching(func(p procfs.Proc) bool {
		cwd, err := p.Cwd()
		return err == nil && cwd == dir
	})
}

// peakPoll is the pause between two looks at a process's memory.
const peakPoll = 5 * time.Millisecond

// PeakMemory follows a process to its end and returns the most bytes that were
// resident. The rusage of a child would not do: it starts with its parent's.
func PeakMemory(pid int) int64 {
	var peak uint64
	for ; ; time.Sleep(peakPoll) {
		p, err := procfs.NewProc(pid)
		if err != nil {
			return int64(peak)
		}
		status, err := p.NewStatus()
		if err != nil || status.VmHWM == 0 { // a zombie's status has no memory
			return int64(peak)
		}
		peak = max(peak, status.VmHWM)
	}
}
