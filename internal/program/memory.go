package program

import (
	"os"
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
