package node

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"mlops/tools/cluster/internal/host"
)

// A neighbour on the network reaches neither the node's addresses nor the pods', nor
// by 127.0.0.1 what listens there only; the machine and its pods still do. Machine,
// neighbour and pod are network namespaces of this test's own.
func TestNeighboursStayOutside(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("SKIPPED, NOT PASSED: making network namespaces needs root")
	}
	for _, program := range []string{"iptables", "ip", "bash", "timeout"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("SKIPPED, NOT PASSED: there is no program " + program)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlock: the thread ends with its namespace
		if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
			t.Errorf("making the machine's network: %v", err)
			return
		}
		neighbours(t)
	}()
	<-done
}

// neighbours runs on the thread that is in the machine's network, and so do the
// programs that it starts.
func neighbours(t *testing.T) {
	neighbour, pod := fmt.Sprintf("neighbour-%d", os.Getpid()), fmt.Sprintf("pod-%d", os.Getpid())
	const machine, port, nodePort = "198.51.100.1", "8080", "30746"
	run := func(line string) bool {
		if _, err := host.Run(strings.Fields(line)...); err != nil {
			t.Error(err)
			return false
		}
		return true
	}
	for _, name := range []string{neighbour, pod} {
		if !run("ip netns add " + name) {
			return
		}
		defer host.Run("ip", "netns", "del", name)
	}
	in := "ip netns exec " + neighbour + " "
	for _, line := range []string{
		"ip link set lo up",
		"ip link add m0 type veth peer name n0 netns " + neighbour,
		"ip address add " + machine + "/24 dev m0", "ip link set m0 up",
		in + "ip address add 198.51.100.2/24 dev n0", in + "ip link set n0 up",
		// A hostile neighbour sends even packets for 127.0.0.1 over the wire.
		in + "ip route add " + clusterRange + " via " + machine,
		in + "sysctl -q -w net.ipv4.conf.all.route_localnet=1",
		in + "ip link set lo down", in + "ip route add 127.0.0.0/8 via " + machine + " src 198.51.100.2",
		"ip link add " + nodeBridge + " type bridge", "ip address add " + nodeAddress + "/24 dev " + nodeBridge, "ip link set " + nodeBridge + " up",
		"ip link add " + podBridge + " type bridge", "ip address add 10.213.0.1/18 dev " + podBridge, "ip link set " + podBridge + " up",
		"ip link add p0 type veth peer name e0 netns " + pod, "ip link set p0 master " + podBridge, "ip link set p0 up",
		"ip netns exec " + pod + " ip address add 10.213.0.2/18 dev e0", "ip netns exec " + pod + " ip link set e0 up",
		"ip netns exec " + pod + " ip route add default via 10.213.0.1",
		"sysctl -q -w net.ipv4.ip_forward=1", "sysctl -q -w net.ipv4.conf.all.route_localnet=1",
		// As kube-proxy forwards a NodePort on 127.0.0.1 to its Service.
		"iptables -w 10 -t nat -A PREROUTING -d 127.0.0.1 -p tcp --dport " + nodePort + " -j DNAT --to-destination " + nodeAddress + ":" + port,
		"iptables -w 10 -t nat -A OUTPUT -d 127.0.0.1 -p tcp --dport " + nodePort + " -j DNAT --to-destination " + nodeAddress + ":" + port,
		"iptables -w 10 -t nat -A POSTROUTING -s 127.0.0.0/8 -d " + nodeAddress + " -j MASQUERADE",
	} {
		if !run(line) {
			return
		}
	}
	for _, address := range []string{nodeAddress, "10.213.0.1", machine} {
		l, err := net.Listen("tcp4", net.JoinHostPort(address, port))
		if err != nil {
			t.Error(err)
			return
		}
		defer l.Close()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Close()
			}
		}()
	}
	reaches := func(space, address, port string) bool {
		argv := []string{"timeout", "1", "bash", "-c", "exec 3<>/dev/tcp/" + address + "/" + port}
		if space != "" {
			argv = append([]string{"ip", "netns", "exec", space}, argv...)
		}
		_, err := host.Run(argv...)
		return err == nil
	}
	check := func(when string, neighbourReaches bool) {
		for _, tt := range []struct {
			who, space, address, port string
			want                      bool
		}{
			{"the neighbour", neighbour, nodeAddress, port, neighbourReaches},
			{"the neighbour", neighbour, "10.213.0.1", port, neighbourReaches},
			{"the neighbour", neighbour, "127.0.0.1", nodePort, neighbourReaches},
			{"the neighbour", neighbour, machine, port, true}, // what listens for the network
			{"the machine", "", nodeAddress, port, true},
			{"the machine", "", "10.213.0.1", port, true},
			{"the machine", "", "127.0.0.1", nodePort, true},
			{"a pod", pod, nodeAddress, port, true},
			{"a pod", pod, "10.213.0.1", port, true},
			{"a pod", pod, machine, port, true},
		} {
			if got := reaches(tt.space, tt.address, tt.port); got != tt.want {
				t.Errorf("%s %s reaches %s:%s: %v, want %v", when, tt.who, tt.address, tt.port, got, tt.want)
			}
		}
	}
	check("before,", true)
	for range 2 { // as an `up` of a cluster that runs
		if err := filterPackets(); err != nil {
			t.Error(err)
			return
		}
	}
	check("filtered,", false)
	rules := host.Rules{Prefixes: []string{"KUBE-", "MLOPS-"}, Network: cniNetwork}
	if _, err := rules.Remove(); err != nil {
		t.Error(err)
	}
	check("cleaned up,", true)
}
