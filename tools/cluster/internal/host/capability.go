package host

import "github.com/prometheus/procfs"

// Capability is one of the rights that root's are divided into (capabilities(7)).
type Capability uint

// SysResource is CAP_SYS_RESOURCE, which virtual machines and containers often
// lack: without it no process can be made less likely to be killed when memory
// runs out.
const SysResource Capability = 24

// Can reports whether this process has the capability.
func Can(c Capability) bool {
	p, err := procfs.Self()
	if err != nil {
		return false
	}
	status, err := p.NewStatus()
	return err == nil && status.CapEff>>c&1 == 1
}
