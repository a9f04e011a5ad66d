// Package node runs a one-node Kubernetes as ordinary processes of this machine:
// etcd, the control plane, containerd, the kubelet and the proxy.
//
// Its data lies in MLOPS_HOME/cluster, whatever ends with the machine (sockets,
// containerd's tasks, addresses of pods) in /run/mlops-cluster. All its processes
// are in the cgroup mlops, so that none can hide. A machine can only have one such
// cluster at a time, since the names of its bridges and of its proxy's chains are
// fixed.
package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"mlops/tools/cluster/internal/build"
	"mlops/tools/cluster/internal/host"
	"mlops/tools/cluster/node/api"
)

const (
	nodeName = "mlops"
	runDir   = "/run/mlops-cluster"

	nodeBridge = "mlops-node" // carries the node's address
	podBridge  = "mlops-pods"
	cniNetwork = "mlops"

	cgroupName   = "mlops"
	processGroup = "node" // below it; the pods' group is kubepods

	// All addresses of the cluster, in a rarely used part of 10/8.
	clusterRange = "10.213.0.0/16"
	podRange     = "10.213.0.0/18"
	nodePods     = "10.213.0.0/24" // this node's part
	serviceRange = "10.213.64.0/18"
	apiService   = "10.213.64.1"
	dnsService   = "10.213.64.10"
	nodeAddress  = "10.213.255.1"
	nodeRange    = "10.213.255.0/24"
	dnsDomain    = "cluster.local"

	apiPort         = 17443
	etcdPort        = 17379
	etcdPeerPort    = 17380
	etcdHealthPort  = 17381
	kubeletPort     = 17250
	kubeletHealth   = 17248
	proxyHealth     = 17256
	proxyMetrics    = 17249
	namespaceImages = "k8s.io" // containerd's, where the kubelet looks for images
)

// Node is the single node of a cluster with everything that belongs to it.
type Node struct {
	home   string // MLOPS_HOME
	dir    string // MLOPS_HOME/cluster
	build  *build.Builder
	log    *slog.Logger
	cgroup *host.Cgroup
	rules  host.Rules
}

// Open opens the cluster of the state in the folder home. It starts nothing.
func Open(home string, b *build.Builder, log *slog.Logger) (*Node, error) {
	if runtime.GOOS != "linux" {
		return nil, errors.New("a node needs Linux; use an existing cluster instead (kubectl config use-context)")
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("a node needs root (it creates network interfaces, mounts and cgroups); use an existing cluster instead (kubectl config use-context)")
	}
	if err := os.MkdirAll(home, 0o755); err != nil {
		return nil, fmt.Errorf("creating the state folder: %w", err)
	}
	// The mount table contains real paths.
	home, err := filepath.EvalSymlinks(home)
	if err != nil {
		return nil, fmt.Errorf("opening the state folder: %w", err)
	}
	n := &Node{home: home, dir: filepath.Join(home, "cluster"), build: b, log: log,
		rules: host.Rules{Prefixes: []string{"KUBE-", "MLOPS-"}, Network: cniNetwork}}
	if n.cgroup, err = host.OpenCgroup(cgroupName); err != nil {
		return nil, err
	}
	for _, d := range []string{"", "run", "log"} {
		if err := os.MkdirAll(n.path(d), 0o700); err != nil {
			return nil, fmt.Errorf("creating the state folder: %w", err)
		}
	}
	return n, nil
}

// path returns the path of something in the cluster's folder.
func (n *Node) path(names ...string) string {
	return filepath.Join(append([]string{n.dir}, names...)...)
}

func (n *Node) logPath(service string) string { return n.path("log", service+".log") }

func (n *Node) kubeconfig() string { return filepath.Join(n.home, "kubeconfig") }

// mark returns the environment entry that every process of this cluster carries.
func (n *Node) mark() string { return markName + n.home }

const markName = "MLOPS_CLUSTER="

func (n *Node) lock(ctx context.Context, what string) (*host.Lock, error) {
	l, err := host.WaitLock(ctx, n.log, n.path("lock"), what)
	if err != nil {
		return nil, fmt.Errorf("taking the cluster's lock: %w", err)
	}
	return l, nil
}

// api returns a client of the API server, as administrator.
func (n *Node) api() (*api.Client, error) { return api.Load(n.kubeconfig()) }

// ownerPath is the file that names the home whose cluster uses the machine.
const ownerPath = runDir + "/owner"

// owner returns the home whose cluster uses the machine, or "".
func owner() (string, error) {
	text, err := os.ReadFile(ownerPath)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading the owner of the running cluster: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// foreign describes another Kubernetes that runs in the machine's own network, or
// returns "". (kind and others use networks of their own.)
func foreign() string {
	own, _ := os.Readlink("/proc/self/ns/net")
	for _, p := range host.Named(func(argv []string) bool {
		switch filepath.Base(argv[0]) {
		case "kubelet", "kubelite", "k3s", "k3s-server", "k3s-agent", "k0s", "rke2":
			return true
		}
		return false
	}) {
		if ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", p.PID)); err == nil && ns == own {
			text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID))
			program, _, _ := strings.Cut(string(text), "\x00")
			return fmt.Sprintf("%s (process %d)", program, p.PID)
		}
	}
	return ""
}

// checkFree returns an error if something is in the way of a new node.
func (n *Node) checkFree() error {
	routes, err := host.Run("ip", "route")
	if err != nil {
		return fmt.Errorf("reading routes: %w", err)
	}
	if r := host.Overlaps(routes, netip.MustParsePrefix(clusterRange), nodeBridge, podBridge); r != "" {
		return fmt.Errorf("the cluster's addresses %s are already in use on this machine, by the route %q", clusterRange, r)
	}
	for _, p := range []int{etcdPort, etcdPeerPort, etcdHealthPort, kubeletHealth, proxyHealth, proxyMetrics, apiPort, kubeletPort} {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err != nil {
			return fmt.Errorf("another program uses port %d, which the node needs (ss -ltnp shows which): %w", p, err)
		}
		l.Close()
	}
	return nil
}

// needs returns what a running node needs from the system.
func needs() []host.Need {
	return []host.Need{
		{What: "iptables", Package: "iptables", Has: host.HasProgram("iptables-restore")},
		{What: "ip", Package: "iproute2", Has: host.HasProgram("ip")},
		{What: "mount", Package: "mount", Has: host.HasProgram("mount")},
	}
}
