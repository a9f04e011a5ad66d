package build

import (
	"fmt"
	"slices"
	"strings"
)

// Program is one of the node's programs.
type Program struct {
	Name    string
	Package string
	Module  string   // the program reports this module's version; empty: our own program
	Set     []string // variables set by the linker: name=value, where {v} is Module's version, {n} the same without the v
	Cgo     bool
	Tags    string
	Node    bool // a node can't run without it
}

const (
	kubernetes = "k8s.io/kubernetes"
	containerd = "github.com/containerd/containerd/v2"
	cni        = "github.com/containernetworking/plugins"
)

// kubeVersion sets the version that Kubernetes' programs report. Their default is
// v0.0.0-master, with which every chart's kubeVersion refuses the cluster.
var kubeVersion = []string{
	"k8s.io/component-base/version.gitVersion={v}", "k8s.io/component-base/version.gitMajor={major}", "k8s.io/component-base/version.gitMinor={minor}",
	"k8s.io/component-base/version.gitCommit=", "k8s.io/component-base/version.gitTreeState=clean",
	"k8s.io/client-go/pkg/version.gitVersion={v}",
}

// Programs lists all programs in the order in which they are built: those that
// share packages with Kubernetes come after it.
var Programs = []Program{
	{Name: "kube", Package: "./node/kube", Module: kubernetes, Set: kubeVersion, Node: true},
	{Name: "kubectl", Package: "k8s.io/kubernetes/cmd/kubectl", Module: kubernetes, Set: kubeVersion, Node: true},
	{Name: "etcd", Package: "./node/etcd", Module: "go.etcd.io/etcd/server/v3", Node: true},
	{Name: "containerd", Package: containerd + "/cmd/containerd", Module: containerd, Set: []string{containerd + "/version.Version={n}"}, Node: true},
	{Name: "containerd-shim-runc-v2", Package: containerd + "/cmd/containerd-shim-runc-v2", Module: containerd, Set: []string{containerd + "/version.Version={n}"}, Node: true},
	{Name: "ctr", Package: containerd + "/cmd/ctr", Module: containerd, Set: []string{containerd + "/version.Version={n}"}, Node: true},
	{Name: "runc", Package: "github.com/opencontainers/runc", Module: "github.com/opencontainers/runc", Cgo: true, Tags: "seccomp osusergo netgo", Node: true},
	{Name: "bridge", Package: cni + "/plugins/main/bridge", Module: cni, Set: []string{cni + "/pkg/utils/buildversion.BuildVersion={v}"}, Node: true},
	{Name: "host-local", Package: cni + "/plugins/ipam/host-local", Module: cni, Set: []string{cni + "/pkg/utils/buildversion.BuildVersion={v}"}, Node: true},
	{Name: "loopback", Package: cni + "/plugins/main/loopback", Module: cni, Set: []string{cni + "/pkg/utils/buildversion.BuildVersion={v}"}, Node: true},
	{Name: "portmap", Package: cni + "/plugins/meta/portmap", Module: cni, Set: []string{cni + "/pkg/utils/buildversion.BuildVersion={v}"}, Node: true},
	{Name: "coredns", Package: "./node/coredns", Module: "github.com/coredns/coredns", Node: true},
	{Name: "metrics-server", Package: "sigs.k8s.io/metrics-server/cmd/metrics-server", Module: "sigs.k8s.io/metrics-server", Set: []string{"k8s.io/client-go/pkg/version.gitVersion={v}"}, Node: true},
	{Name: "pause", Package: "./node/pause", Node: true},
	{Name: "provisioner", Package: "./node/provisioner", Node: true},
	{Name: "helm4", Package: "helm.sh/helm/v4/cmd/helm", Module: "helm.sh/helm/v4", Set: []string{"helm.sh/helm/v4/internal/version.version={v}"}},
	// Without its link flags Helm 3 believes that Kubernetes is 1.20.
	{Name: "helm3", Package: "helm.sh/helm/v3/cmd/helm", Module: "helm.sh/helm/v3", Set: []string{
		"helm.sh/helm/v3/internal/version.version={v}",
		"helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor={kubeMajor}", "helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor={kubeMinor}",
		"helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor={kubeMajor}", "helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor={kubeMinor}",
	}},
	// Prometheus' module v0.316.0 is its release 3.16.0.
	{Name: "prometheus", Package: "github.com/prometheus/prometheus/cmd/prometheus", Module: "github.com/prometheus/prometheus", Set: []string{"github.com/prometheus/common/version.Version={release}"}},
}

// Find returns the program of that name.
func Find(name string) (Program, error) {
	i := slices.IndexFunc(Programs, func(p Program) bool { return p.Name == name })
	if i < 0 {
		var names []string
		for _, p := range Programs {
			names = append(names, p.Name)
		}
		return Program{}, fmt.Errorf("unknown program %q, want one of %s", name, strings.Join(names, ", "))
	}
	return Programs[i], nil
}

// Node returns the names of the programs without which a node can't run.
func Node() []string {
	var names []string
	for _, p := range Programs {
		if p.Node {
			names = append(names, p.Name)
		}
	}
	return names
}

// flags returns the linker's flags, with versions from go.mod.
func (p Program) flags(versions map[string]string) string {
	v := versions[p.Module]
	number := strings.TrimPrefix(v, "v")
	major, rest, _ := strings.Cut(number, ".")
	minor, patch, _ := strings.Cut(rest, ".")
	kube := strings.Split(strings.TrimPrefix(versions[kubernetes], "v"), ".")
	release := number
	if major == "0" && len(minor) > 2 {
		release = minor[:1] + "." + strings.TrimLeft(minor[1:], "0") + "." + patch
	}
	r := strings.NewReplacer("{v}", v, "{n}", number, "{major}", major, "{minor}", minor, "{release}", release,
		"{kubeMajor}", kube[0], "{kubeMinor}", kube[min(1, len(kube)-1)])
	flags := []string{"-s", "-w"}
	for _, s := range p.Set {
		flags = append(flags, "-X", r.Replace(s))
	}
	if p.Cgo {
		// Static, so that it runs on machines without the library.
		flags = append(flags, "-linkmode=external", "-extldflags=-static")
	}
	return strings.Join(flags, " ")
}
