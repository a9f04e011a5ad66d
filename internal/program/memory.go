package program

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// memoryLimits are where a control group of version 2 and of version 1 says how much
// memory its processes may take, as they see it in a container.
var memoryLimits = []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}

// MemoryLimit returns how many bytes this program's container may take, or 0 if nothing
// limits it.
func MemoryLimit() int64 {
	for _, path := range memoryLimits {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err == nil && n < 1<<50 { // without a limit there is "max", or a number beyond any memory
			return n
		}
	}
	return 0
}

// ConfineMemory has this process die by itself shortly before its container's memory is
// used up. With version 2 of control groups, the kernel would kill all processes of the
// container instead, also the parent that keeps the socket. The limit is in bytes, 0 for
// none.
//
// Below that, the garbage collector works harder: a process whose memory is mostly
// garbage need not die.
func ConfineMemory(limit int64) error {
	if limit == 0 {
		return nil
	}
	// For the parent, the pages of the program and what the kernel keeps for sockets.
	others := min(16<<20, limit/8)
	debug.SetMemoryLimit(limit - 2*others)
	return limitData(limit - others)
}
