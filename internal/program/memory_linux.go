package program

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// limitData has the kernel refuse this process memory beyond a number of bytes, at which
// Go ends the process.
//
// What the kernel counts is what is mapped, used or not. Go maps tables of some 30 MiB and
// touches next to nothing of them; its heap is used as soon as it is mapped. So what is
// unused now stays unused.
func limitData(bytes int64) error {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return fmt.Errorf("limiting memory: %w", err)
	}
	var mapped, used int64 // kB
	for line := range strings.Lines(string(status)) {
		_, _ = fmt.Sscanf(line, "VmData: %d", &mapped) // no other line matches
		_, _ = fmt.Sscanf(line, "RssAnon: %d", &used)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_DATA, &limit); err != nil {
		return fmt.Errorf("limiting memory: %w", err)
	}
	limit.Cur = min(uint64(bytes+(mapped-used)<<10), limit.Max)
	if err := syscall.Setrlimit(syscall.RLIMIT_DATA, &limit); err != nil {
		return fmt.Errorf("limiting memory: %w", err)
	}
	return nil
}
