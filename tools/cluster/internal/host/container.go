package host

import (
	"github.com/prometheus/procfs"
)

// Named returns the living processes, except this one, whose command line fits.
func Named(fits func(argv []string) bool) []Process {
	return matching(func(p procfs.Proc) bool {
		argv, err := p.CmdLine()
		return err == nil && len(argv) > 0 && fits(argv)
	})
}

// IsFirst reports whether the process is the first one of a container: number 1
// in the innermost of its process namespaces, of which it has more than one.
func IsFirst(pid int) bool {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return false
	}
	status, err := p.NewStatus()
	n := len(status.NSpids)
	return err == nil && n > 1 && status.NSpids[n-1] == 1
}
