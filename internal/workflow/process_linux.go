package workflow

import "syscall"

// processAttributes puts a child in a process group of its own and has it
// killed when the runner dies, however it dies.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
