//go:build unix && !linux

package workflow

import "syscall"

// processAttributes puts a child in a process group of its own. Outside Linux
// nothing ends it when the runner is killed.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
