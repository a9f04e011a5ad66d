package host

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"github.com/prometheus/procfs"
)

// PortFree reports whether nothing listens on the port of a loopback address, so
// that http://localhost:port can only reach the program that binds it next.
func PortFree(port int) bool {
	for _, address := range []string{"127.0.0.1", "::1"} {
		l, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
		if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EACCES) {
			return false
		}
		if err == nil {
			l.Close() // a machine without an IPv6 loopback is no obstacle
		}
	}
	return true
}

// tcpListen is the state of a listening socket in /proc/net/tcp (proc_net_tcp(5)).
const tcpListen = 0x0A

// Listens reports whether one of the processes listens on the TCP port.
// Otherwise a response from the port may come from an unrelated program.
func Listens(ps []Process, port int) bool {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return false
	}
	sockets := map[string]bool{}
	//lint:ignore SA1019 a netlink client would be another dependency for reading one table
	for _, read := range []func() (procfs.NetTCP, error){fs.NetTCP, fs.NetTCP6} {
		lines, err := read()
		if err != nil {
			continue // no IPv6 on this machine
		}
		for _, l := range lines {
			if l.St == tcpListen && l.LocalPort == uint64(port) {
				sockets[fmt.Sprintf("socket:[%d]", l.Inode)] = true
			}
		}
	}
	if len(sockets) == 0 {
		return false
	}
	for _, p := range ps {
		proc, err := fs.Proc(p.PID)
		if err != nil {
			continue
		}
		targets, err := proc.FileDescriptorTargets()
		if err != nil {
			continue
		}
		for _, t := range targets {
			if sockets[t] {
				return true
			}
		}
	}
	return false
}
