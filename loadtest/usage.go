package loadtest

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"
)

// Generator is what this program itself took of the machine while it loaded
// another one.
type Generator struct {
	CPUs    float64 `json:"cpus"`                   // used, in whole processors
	CPUsHad int     `json:"cpus_had"`               // that it might have used
	Busy    float64 `json:"machine_busy,omitempty"` // share of the machine's processors that worked; 0 where it can't be told
}

const (
	ownLimit     = 0.8  // share of its processors from which on the generator is the limit
	machineLimit = 0.95 // share from which on a machine is full
)

// warnings says where the figures may be the generator's and not the server's.
func (g Generator) warnings() []string {
	switch {
	case g.CPUs >= ownLimit*float64(g.CPUsHad):
		return []string{fmt.Sprintf("the load generator used nearly all of the %d processors it has: the figures may show its limit, not the server's", g.CPUsHad)}
	case g.Busy >= machineLimit:
		return []string{"the load generator's machine was full: latencies hold its own waits for a processor, and a server on the same machine could do more by itself"}
	}
	return nil
}

// usage is what was used up to a moment.
type usage struct {
	at         time.Time
	own        time.Duration // processor time of this process
	busy, idle float64       // of the whole machine, in ticks; 0 where it can't be told
}

func usageNow() usage {
	u := usage{at: time.Now()}
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) == nil {
		u.own = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	if text, err := os.ReadFile("/proc/stat"); err == nil { // Linux only
		u.busy, u.idle = ticks(text)
	}
	return u
}

// ticks reads the first line of Linux' /proc/stat.
func ticks(stat []byte) (busy, idle float64) {
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	var user, nice, system, rest, iowait, irq, softirq, steal float64
	if _, err := fmt.Sscanf(string(line), "cpu %f %f %f %f %f %f %f %f", &user, &nice, &system, &rest, &iowait, &irq, &softirq, &steal); err != nil {
		return 0, 0
	}
	return user + nice + system + irq + softirq + steal, rest + iowait
}

// since returns what was used since u.
func (u usage) since() Generator {
	now := usageNow()
	g := Generator{CPUsHad: runtime.GOMAXPROCS(0)}
	if d := now.at.Sub(u.at); d > 0 {
		g.CPUs = (now.own - u.own).Seconds() / d.Seconds()
	}
	if whole := now.busy - u.busy + now.idle - u.idle; whole > 0 {
		g.Busy = (now.busy - u.busy) / whole
	}
	return g
}
