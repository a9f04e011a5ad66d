package local

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// portFree reports whether nobody listens on the port of the loopback
// addresses, so that http://localhost:port can only be whoever binds it next.
func portFree(port int) bool {
	for _, host := range []string{"127.0.0.1", "::1"} {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EACCES) {
			return false
		}
		if err == nil {
			l.Close() // an IPv6 address that the machine doesn't have is no obstacle
		}
	}
	return true
}

// ports remembers which port each service has, so that it keeps it from run to
// run and a second data set doesn't take the first one's.
type ports struct {
	path string
	has  map[string]int
}

func (s *State) ports() (*ports, error) {
	p := &ports{path: s.Path("ports.json"), has: map[string]int{}}
	text, err := os.ReadFile(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading ports: %w", err)
	}
	if err := json.Unmarshal(text, &p.has); err != nil {
		return nil, fmt.Errorf("reading %s: %w", p.path, err)
	}
	return p, nil
}

func (s *State) pickPort(service string, base int, avoid map[int]bool) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ps, err := s.ports()
	if err != nil {
		return 0, err
	}
	return ps.pick(service, base, avoid)
}

// pick returns the service's remembered port if it is free, else the first one
// from base on that is free and not another service's. avoid were tried and
// lost to somebody faster.
func (p *ports) pick(service string, base int, avoid map[int]bool) (int, error) {
	if n := p.has[service]; n != 0 && !avoid[n] && portFree(n) {
		return n, nil
	}
	taken := map[int]bool{}
	for name, n := range p.has {
		taken[n] = name != service
	}
	for n := base; n < base+200 && n < 65536; n++ {
		if !taken[n] && !avoid[n] && portFree(n) {
			p.has[service] = n
			return n, writeJSON(p.path, p.has)
		}
	}
	return 0, fmt.Errorf("finding a port for %s: none of %d to %d is free", service, base, base+199)
}

// listens reports whether one of the processes has a socket that listens on the
// port: an answer from the port could be a stranger's.
func listens(ps []Process, port int) bool {
	inodes := map[string]bool{}
	for _, path := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		for sc := bufio.NewScanner(f); sc.Scan(); {
			if inode, ok := listenInode(sc.Text(), port); ok {
				inodes["socket:["+inode+"]"] = true
			}
		}
		f.Close()
	}
	for _, p := range ps {
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.PID))
		for _, fd := range fds {
			if to, err := os.Readlink(fd); err == nil && inodes[to] {
				return true
			}
		}
	}
	return false
}

// listenInode reads a line of /proc/net/tcp (proc_net_tcp(5)): local address
// and port in hex, state 0A for listening, the socket's inode.
func listenInode(line string, port int) (string, bool) {
	f := strings.Fields(line)
	if len(f) < 10 || f[3] != "0A" {
		return "", false
	}
	_, hexPort, ok := strings.Cut(f[1], ":")
	b, err := hex.DecodeString(hexPort)
	if !ok || err != nil || len(b) != 2 {
		return "", false
	}
	return f[9], int(b[0])<<8|int(b[1]) == port
}
