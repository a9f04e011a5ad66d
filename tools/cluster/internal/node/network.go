package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"mlops/tools/cluster/internal/host"
)

// settings are the kernel settings that the node changes. The kubelet changes
// those without a value here itself.
var settings = map[string]string{
	"net/ipv4/ip_forward":                "1",
	"net/ipv4/conf/all/route_localnet":   "1", // NodePorts on 127.0.0.1
	"net/bridge/bridge-nf-call-iptables": "1", // Services between pods on one bridge
	"vm/overcommit_memory":               "",
	"vm/panic_on_oom":                    "",
	"kernel/panic":                       "",
	"kernel/panic_on_oops":               "",
	"kernel/keys/root_maxkeys":           "",
	"kernel/keys/root_maxbytes":          "",
}

// savedSettings are the machine's values from before.
type savedSettings struct {
	Boot   string            `json:"boot"`
	Values map[string]string `json:"values"`
}

func (n *Node) settingsPath() string { return n.path("run", "settings") }

// network creates what is missing of the node's address, routes and packet filter.
func (n *Node) network() error {
	host.LoadModules("overlay", "bridge", "br_netfilter", "nf_conntrack")
	if !host.HasAny("/proc/sys/net/bridge/bridge-nf-call-iptables")() {
		return errors.New("the kernel lacks br_netfilter, without which pods can't reach each other through a Service")
	}
	if err := n.changeSettings(); err != nil {
		return err
	}
	if !host.HasLink(nodeBridge) {
		if _, err := host.Run("ip", "link", "add", nodeBridge, "type", "bridge"); err != nil {
			return fmt.Errorf("creating the node's bridge: %w", err)
		}
	}
	for _, argv := range [][]string{
		{"ip", "address", "replace", nodeAddress + "/24", "dev", nodeBridge},
		{"ip", "link", "set", nodeBridge, "up"},
		// Makes Services reachable on a machine without a default route.
		{"ip", "route", "replace", serviceRange, "dev", nodeBridge},
	} {
		if _, err := host.Run(argv...); err != nil {
			return fmt.Errorf("creating the node's network: %w", err)
		}
	}
	return filterPackets()
}

// filterPackets lets pods communicate, and keeps the machine's neighbours out.
func filterPackets() error {
	for _, r := range []struct{ table, chain, from, rule string }{
		{"nat", "MLOPS-POSTROUTING", "POSTROUTING", "-s " + podRange + " ! -d " + clusterRange + " -j MASQUERADE"},
		// Docker and others set the default to forward nothing.
		{"filter", "MLOPS-FORWARD", "FORWARD", "-s " + podRange + " -j ACCEPT"},
		{"filter", "MLOPS-FORWARD", "FORWARD", "-d " + podRange + " -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT"},
		{"filter", "MLOPS-FORWARD", "FORWARD", "-d " + podRange + " -s " + clusterRange + " -j ACCEPT"},
		// A firewall such as ufw would keep pods from the API server.
		{"filter", "MLOPS-INPUT", "INPUT", "-s " + podRange + " -d " + nodeRange + " -j ACCEPT"},
		// A neighbour on the network needs only a route through this machine to
		// reach the cluster's addresses, and, since route_localnet is on, only
		// this machine's hardware address to reach the NodePorts on 127.0.0.1.
		// So packets from elsewhere to or from these addresses are dropped
		// before the NodePorts' own rules see them. Responses to pods are sent
		// to the machine's address.
		{"mangle", doorChain, "PREROUTING", "-i lo -j RETURN"},
		{"mangle", doorChain, "PREROUTING", "-d 127.0.0.0/8 -j DROP"},
		{"mangle", doorChain, "PREROUTING", "! -i mlops-+ -d " + clusterRange + " -j DROP"},
		{"mangle", doorChain, "PREROUTING", "! -i mlops-+ -s " + clusterRange + " -j DROP"},
	} {
		if err := ensureRule(r.table, r.chain, r.from, strings.Fields(r.rule)); err != nil {
			return fmt.Errorf("changing the packet filter: %w", err)
		}
	}
	return nil
}

// doorChain sees every incoming packet. Its first rule has to stay first.
const doorChain = "MLOPS-PREROUTING"

// ensureRule adds the rule to the chain, and a jump to that chain to the chain
// from, unless they exist.
func ensureRule(table, chain, from string, rule []string) error {
	iptables := func(args ...string) error {
		_, err := host.Run(append([]string{"iptables", "-w", "10", "-t", table}, args...)...)
		return err
	}
	if iptables("-n", "-L", chain) != nil {
		if err := iptables("-N", chain); err != nil {
			return err
		}
	}
	if iptables(append([]string{"-C", chain}, rule...)...) != nil {
		if err := iptables(append([]string{"-A", chain}, rule...)...); err != nil {
			return err
		}
	}
	if iptables("-C", from, "-j", chain) != nil {
		return iptables("-I", from, "-j", chain)
	}
	return nil
}

// changeSettings saves the settings once per boot and sets ours.
func (n *Node) changeSettings() error {
	boot, err := host.BootID()
	if err != nil {
		return err
	}
	var saved savedSettings
	if text, err := os.ReadFile(n.settingsPath()); err == nil {
		_ = json.Unmarshal(text, &saved) // a broken file counts as none
	}
	if saved.Boot != boot {
		saved = savedSettings{Boot: boot, Values: map[string]string{}}
		for name := range settings {
			if text, err := os.ReadFile(filepath.Join("/proc/sys", name)); err == nil {
				saved.Values[name] = strings.TrimSpace(string(text))
			}
		}
		text, err := json.MarshalIndent(saved, "", "  ")
		if err != nil {
			return fmt.Errorf("encoding the kernel settings: %w", err)
		}
		if err := writeFile(n.settingsPath(), append(text, '\n')); err != nil {
			return err
		}
	}
	for name, want := range settings {
		if want == "" {
			continue
		}
		if err := setKernel(name, want); err != nil {
			return err
		}
	}
	return nil
}

// setKernel changes a setting, unless the kernel doesn't have it.
func setKernel(name, want string) error {
	path := filepath.Join("/proc/sys", name)
	have, err := os.ReadFile(path)
	if err != nil || strings.TrimSpace(string(have)) == want {
		return nil
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		return fmt.Errorf("changing the kernel setting %s: %w", name, err)
	}
	return nil
}

// restoreSettings undoes changeSettings.
func (n *Node) restoreSettings() error {
	text, err := os.ReadFile(n.settingsPath())
	if err != nil {
		return nil // nothing was changed
	}
	boot, err := host.BootID()
	if err != nil {
		return err
	}
	var saved savedSettings
	if json.Unmarshal(text, &saved) == nil && saved.Boot == boot {
		for name, v := range saved.Values {
			if err := setKernel(name, v); err != nil {
				return err
			}
		}
	}
	if err := os.Remove(n.settingsPath()); err != nil {
		return fmt.Errorf("deleting the saved kernel settings: %w", err)
	}
	return nil
}
