package host

import (
	"os"
	"strconv"
	"strings"
)

// Capability is a right of root's (capabilities(7)).
type Capability uint

// SysResource is CAP_SYS_RESOURCE, which virtual machines and containers often
// lack: without it no process may be made less likely to be killed for memory.
const SysResource Capability = 24

// Can reports whether this process has the capability.
func Can(c Capability) bool {
	text, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(text)) {
		if hex, ok := strings.CutPrefix(line, "CapEff:"); ok {
			bits, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			return err == nil && bits>>c&1 == 1
		}
	}
	return false
}
