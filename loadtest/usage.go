package loadtest

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"
)

// Generator is what this program itself used of its machine during a stage.
type Generator struct {
	CPUs    float64 `json:"cpus"`                   // processors used
	CPUsHad int     `json:"cpus_had"`               // processors it could have used
	Busy    float64 `json:"machine_busy,omitempty"` // share of the machine's processors that was busy; 0 if unknown
}

const (
	ownLimit     = 0.8  // share of its processors at which the generator is the limit
	machineLimit = 0.95 // share at which a machine is saturated
)

// warnings says if the figures may be the generator's limits instead of the server's.
func (g Generator) warnings() []string {
	switch {
	case g.CPUs >= ownLimit*float64(g.CPUsHad):
		return []string{fmt.Sprintf("the load generator used nearly all of its %d processors: the figures may show its limit, not the server's", g.CPUsHad)}
	case g.Busy >= machineLimit:
		return []string{"the load generator's machine was saturated: latencies include the generator's own waits for a processor, and a server on the same machine could do more alone"}
	}
	return nil
}

// usage is what had been used at a moment.
type usage struct {
	at         time.Time
	own        time.Duration // processor time of this process
	busy, idle float64       // of the whole machine, in ticks; 0 if unknown
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

// ticks reads the first line of Linux's /proc/stat.
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
