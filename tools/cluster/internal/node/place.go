package node

import "path/filepath"

// place is where one node of the cluster lives on this machine: the first in the
// machine's own network, the second in a network namespace.
type place struct {
	name    string // the node's
	address string
	pods    string // part of podRange
	health  string // address of its services' health checks
	run     string // folder of sockets and whatever else ends with the machine
	folder  string // of its data, below the cluster's; empty: the cluster's itself
	cgroup  string // below the cluster's; empty: the cluster's itself
	netns   string // network namespace; empty: the machine's own
	suffix  string // of its services' names
}

var (
	firstPlace = place{name: nodeName, address: nodeAddress, pods: nodePods, health: "127.0.0.1", run: runDir}

	// The health checks of the second node have to be reachable from outside of its
	// network namespace.
	secondPlace = place{name: nodeName + "-second", address: "10.213.255.2", pods: "10.213.1.0/24", health: "10.213.255.2",
		run: runDir + "/second", folder: "second", cgroup: "second", netns: "mlops-second", suffix: "-second"}
)

// at returns the path of something in the node's part of the cluster's folder.
func (n *Node) at(p place, names ...string) string {
	return n.path(append([]string{p.folder}, names...)...)
}

// group returns the name of a control group of the node, below the cluster's.
func (p place) group(name string) string { return filepath.Join(p.cgroup, name) }

// inside returns the command line that runs a program in the node's network. `ip
// netns exec` would mount /sys again, where the kubelet then finds no cgroups.
func (p place) inside(argv ...string) []string {
	if p.netns == "" {
		return argv
	}
	return append([]string{"nsenter", "--net=/var/run/netns/" + p.netns, "--"}, argv...)
}
