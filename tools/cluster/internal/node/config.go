package node

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"mlops/tools/cluster/internal/host"
	"mlops/tools/cluster/node/api"
)

// configure writes the certificates and all files that the services of a node read.
func (n *Node) configure(p place) error {
	if err := n.certificates(); err != nil {
		return err
	}
	var resolv strings.Builder
	for _, s := range resolvers() {
		fmt.Fprintf(&resolv, "nameserver %s\n", s)
	}
	files := map[string]string{"containerd.toml": n.containerdConfig(p), "resolv.conf": resolv.String()}
	for name, v := range map[string]any{
		"cni/10-mlops.conflist": cniConfig(p, host.MTU()),
		"kubelet.json":          n.kubeletConfig(p),
		"proxy.json":            n.proxyConfig(p),
	} {
		text, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return fmt.Errorf("encoding %s: %w", name, err)
		}
		files[name] = string(text) + "\n"
	}
	for name, text := range files {
		if err := writeFile(n.at(p, "etc", name), []byte(text)); err != nil {
			return err
		}
	}
	return nil
}

// certificates creates missing certificates. There are three authorities, so that
// the API server's clients are no clients of etcd and can't pose as its proxy.
func (n *Node) certificates() error {
	p := &pki{dir: n.path("pki"), now: time.Now()}
	if err := p.key("accounts"); err != nil {
		return err
	}
	for _, id := range []identity{
		{name: "etcd", ca: "etcd-ca", cn: "etcd", server: true, hosts: []string{"localhost", "127.0.0.1"}},
		{name: "etcd-client", ca: "etcd-ca", cn: "apiserver"},
		{name: "front-proxy", ca: "front-ca", cn: "front-proxy"},
		{name: "apiserver", ca: "ca", cn: "kube-apiserver", server: true, hosts: []string{
			"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + dnsDomain, "localhost", "127.0.0.1", apiService, nodeAddress}},
		{name: "kubelet-client", ca: "ca", cn: "kube-apiserver-kubelet-client", groups: []string{"system:masters"}},
		{name: "kubelet", ca: "ca", cn: "system:node:" + nodeName, groups: []string{"system:nodes"}, server: true, hosts: []string{nodeName, nodeAddress}},
		{name: "kubelet-second", ca: "ca", cn: "system:node:" + secondPlace.name, groups: []string{"system:nodes"}, server: true, hosts: []string{secondPlace.name, secondPlace.address}},
	} {
		if _, err := p.leaf(id); err != nil {
			return err
		}
	}
	ca, err := p.authority("ca")
	if err != nil {
		return err
	}
	for path, id := range map[string]identity{
		n.kubeconfig(): {name: "admin", cn: "mlops-admin", groups: []string{"system:masters"}},
		n.path("etc", "controller-manager.kubeconfig"): {name: "controller-manager", cn: "system:kube-controller-manager"},
		n.path("etc", "scheduler.kubeconfig"):          {name: "scheduler", cn: "system:kube-scheduler"},
		n.path("etc", "proxy.kubeconfig"):              {name: "proxy", cn: "system:kube-proxy"},
		n.path("etc", "provisioner.kubeconfig"):        {name: "provisioner", cn: "mlops:provisioner"},
		n.path("etc", "kubelet.kubeconfig"):            {name: "kubelet-user", cn: "system:node:" + nodeName, groups: []string{"system:nodes"}},
		n.at(secondPlace, "etc", "proxy.kubeconfig"):   {name: "proxy", cn: "system:kube-proxy"},
		n.at(secondPlace, "etc", "kubelet.kubeconfig"): {name: "kubelet-second-user", cn: "system:node:" + secondPlace.name, groups: []string{"system:nodes"}},
	} {
		id.ca = "ca"
		leaf, err := p.leaf(id)
		if err != nil {
			return err
		}
		text, err := json.MarshalIndent(api.NewKubeconfig("mlops", "mlops-"+id.name, fmt.Sprintf("https://%s:%d", nodeAddress, apiPort), ca.pem, leaf.pem, leaf.keyP), "", "  ")
		if err != nil {
			return fmt.Errorf("encoding kubeconfig: %w", err)
		}
		if err := writeFile(path, append(text, '\n')); err != nil {
			return err
		}
	}
	return nil
}

// resolvers returns the DNS servers that pods can reach. Servers on the machine's
// loopback are not among them; systemd-resolved lists those behind it in a file of
// its own.
func resolvers() []string {
	for _, path := range []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"} {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if servers := nameservers(string(text)); len(servers) > 0 {
			return servers
		}
	}
	return nil
}

func nameservers(text string) []string {
	var servers []string
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) >= 2 && f[0] == "nameserver" && !strings.HasPrefix(f[1], "127.") && !strings.Contains(f[1], ":") {
			servers = append(servers, f[1])
		}
	}
	return servers
}

func (n *Node) containerdConfig(p place) string {
	return fmt.Sprintf(`version = 4
root = %q
state = %q
# All snapshotters except overlayfs, and plugins that create folders and sockets outside of ours.
disabled_plugins = ["io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.erofs", "io.containerd.snapshotter.v1.zfs", "io.containerd.differ.v1.erofs", "io.containerd.internal.v1.opt", "io.containerd.image-verifier.v1.bindir", "io.containerd.tracing.processor.v1.otlp"]

[plugins."io.containerd.server.v1.grpc"]
  address = %q
[plugins."io.containerd.server.v1.ttrpc"]
  address = %q
[plugins."io.containerd.shim.v1.manager"]
  socket_dir = %q
[plugins."io.containerd.nri.v1.nri"]
  disable = true
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = %q
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = %v
  netns_mounts_under_state_dir = true
  cdi_spec_dirs = []
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    runtime_path = %q
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      BinaryName = %q
      Root = %q
      SystemdCgroup = false
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = [%q]
    conf_dir = %q
`, n.at(p, "containerd"), p.run+"/containerd", p.run+"/containerd.sock", p.run+"/containerd.sock.ttrpc", p.run+"/s",
		pauseImage, !host.Can(host.SysResource), n.build.Path("containerd-shim-runc-v2"), n.build.Path("runc"), p.run+"/runc", n.build.Bin(), n.at(p, "etc", "cni"))
}

func cniConfig(p place, mtu int) map[string]any {
	return map[string]any{
		"cniVersion": "1.0.0",
		"name":       cniNetwork,
		"plugins": []any{
			map[string]any{
				"type": "bridge", "bridge": podBridge, "isGateway": true, "hairpinMode": true, "mtu": mtu,
				"ipam": map[string]any{
					"type":    "host-local",
					"ranges":  []any{[]any{map[string]string{"subnet": p.pods}}},
					"routes":  []any{map[string]string{"dst": "0.0.0.0/0"}},
					"dataDir": p.run + "/ipam",
				},
			},
			map[string]any{"type": "portmap", "backend": "iptables", "capabilities": map[string]bool{"portMappings": true}},
		},
	}
}

func (n *Node) kubeletConfig(p place) map[string]any {
	config := map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"address": p.address, "port": kubeletPort, "readOnlyPort": 0,
		"healthzBindAddress": p.health, "healthzPort": kubeletHealth,
		"authentication": map[string]any{
			"anonymous": map[string]any{"enabled": false},
			"webhook":   map[string]any{"enabled": true},
			"x509":      map[string]any{"clientCAFile": n.path("pki", "ca.crt")},
		},
		"authorization":            map[string]any{"mode": "Webhook"},
		"tlsCertFile":              n.path("pki", "kubelet"+p.suffix+".crt"),
		"tlsPrivateKeyFile":        n.path("pki", "kubelet"+p.suffix+".key"),
		"containerRuntimeEndpoint": "unix://" + p.run + "/containerd.sock",
		"cgroupDriver":             "cgroupfs", "cgroupRoot": "/" + cgroupName + strings.TrimSuffix("/"+p.cgroup, "/"), "failCgroupV1": false,
		"clusterDNS": []string{dnsService}, "clusterDomain": dnsDomain,
		"resolvConf":      n.at(p, "etc", "resolv.conf"),
		"failSwapOn":      false,
		"podLogsDir":      n.at(p, "log", "pods"),
		"volumePluginDir": n.at(p, "kubelet", "plugins-exec"),
		// Images can't be pulled again, so none is ever deleted.
		"imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99,
		"evictionHard":        map[string]string{"memory.available": "100Mi", "nodefs.available": "1Gi", "imagefs.available": "1Gi", "nodefs.inodesFree": "1%"},
		"containerLogMaxSize": "10Mi", "containerLogMaxFiles": 3,
		"serializeImagePulls":       false,
		"nodeStatusReportFrequency": "1m",
		"logging":                   map[string]any{"format": "text"},
	}
	if p == secondPlace {
		config["registerWithTaints"] = []any{map[string]string{"key": secondTaint, "effect": "NoSchedule"}}
	}
	return config
}

func (n *Node) proxyConfig(p place) map[string]any {
	return map[string]any{
		"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
		"clientConnection": map[string]any{"kubeconfig": n.at(p, "etc", "proxy.kubeconfig")},
		"hostnameOverride": p.name,
		"mode":             "iptables", "clusterCIDR": podRange,
		"bindAddress":        p.address,
		"healthzBindAddress": fmt.Sprintf("%s:%d", p.health, proxyHealth),
		"metricsBindAddress": fmt.Sprintf("127.0.0.1:%d", proxyMetrics),
		// By default the proxy would leave out 127.0.0.1 and include the network card.
		"nodePortAddresses": []string{"127.0.0.0/8", nodeRange},
		"iptables":          map[string]any{"localhostNodePorts": true, "minSyncPeriod": "500ms", "syncPeriod": "5m"},
		// 0 keeps the machine's settings.
		"conntrack": map[string]any{"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
	}
}
