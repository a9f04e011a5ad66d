package node

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"mlops/tools/cluster/internal/host"
)

// grace is how long containers may take to end by themselves.
const grace = 25 * time.Second

// endPods sends the first process of every container the stop signal of its image
// and waits for all of them. The containers that hold the pods' networks end last,
// with the node.
func (n *Node) endPods(ctx context.Context) {
	var asked []host.Process
	for _, p := range n.cgroup.Processes("kubepods") {
		if !host.IsFirst(p.PID) {
			continue
		}
		signal, ok := n.stopSignal(ctx, p.PID)
		if !ok {
			continue
		}
		if err := p.Signal(signal); err != nil {
			n.log.Warn("stopping pods", "error", err)
		}
		asked = append(asked, p)
	}
	if len(asked) == 0 {
		return
	}
	n.log.Info("stopping pods", "containers", len(asked))
	if !host.WaitGone(asked, grace) {
		n.log.Info("killing containers that did not end by themselves", "after", grace)
	}
}

// stopSignal asks containerd for the stop signal of that process's container. ok is
// false for a container that only holds a pod's network.
func (n *Node) stopSignal(ctx context.Context, pid int) (s syscall.Signal, ok bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return 0, false
	}
	line, _, _ := strings.Cut(string(text), "\n")
	info, err := n.ctr(ctx, firstPlace, "containers", "info", path.Base(line))
	if err != nil {
		return syscall.SIGTERM, true // containerd is gone
	}
	return parseStopSignal(info)
}

// signals are the stop signals that images use in practice; numbers are allowed,
// too.
var signals = map[string]syscall.Signal{
	"TERM": syscall.SIGTERM, "15": syscall.SIGTERM, "INT": syscall.SIGINT, "2": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "3": syscall.SIGQUIT,
	"HUP": syscall.SIGHUP, "1": syscall.SIGHUP, "KILL": syscall.SIGKILL, "9": syscall.SIGKILL,
	"USR1": syscall.SIGUSR1, "10": syscall.SIGUSR1, "USR2": syscall.SIGUSR2, "12": syscall.SIGUSR2, "WINCH": syscall.SIGWINCH, "28": syscall.SIGWINCH,
}

// parseStopSignal parses the output of `ctr containers info`.
func parseStopSignal(info string) (syscall.Signal, bool) {
	var c struct {
		Extensions map[string]struct {
			Value string `json:"value"`
		}
	}
	if json.Unmarshal([]byte(info), &c) != nil {
		return syscall.SIGTERM, true
	}
	if _, sandbox := c.Extensions["io.cri-containerd.sandbox.metadata"]; sandbox {
		return 0, false
	}
	var m struct {
		Metadata struct{ StopSignal string }
	}
	if text, err := base64.StdEncoding.DecodeString(c.Extensions["io.cri-containerd.container.metadata"].Value); err == nil {
		_ = json.Unmarshal(text, &m) // metadata that can't be read names no signal
	}
	if s, ok := signals[strings.TrimPrefix(m.Metadata.StopSignal, "SIG")]; ok {
		return s, true
	}
	return syscall.SIGTERM, true
}
