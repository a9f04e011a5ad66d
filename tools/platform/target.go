package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/term"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"mlops/internal/kube"
	"mlops/internal/program"
)

// target is the cluster that holds the release. It is kept in the state, so that
// the other commands ask the same cluster.
type target struct {
	Kind       string `json:"kind"` // own, microk8s, k3s, kind, minikube, docker-desktop, rancher-desktop, or other
	Kubeconfig string `json:"kubeconfig"`
	Context    string `json:"context"`
}

// own is the kind of cluster that we build; other kinds have their contexts' names.
const (
	own            = "own"
	dockerDesktop  = "docker-desktop"
	rancherDesktop = "rancher-desktop"
)

func (t target) String() string {
	switch t.Kind {
	case own:
		return "the one-node cluster of this machine"
	case "microk8s", "k3s":
		return t.Kind
	}
	return fmt.Sprintf("context %s of %s", t.Context, t.Kubeconfig)
}

func (t target) release() (*kube.Release, error) {
	return kube.Open(t.Kubeconfig, t.Context, namespace, releaseName)
}

// kubectl is the command line that reaches a namespace.
func (t target) kubectl(namespace string) string {
	line := "kubectl --kubeconfig " + t.Kubeconfig
	if t.Context != "" {
		line += " --context " + t.Context
	}
	return line + " -n " + namespace
}

func (c *config) targetFile() string { return c.state.Path("platform.json") }

// kept returns the target of an earlier `up`, or nil.
func (c *config) kept() (*target, error) {
	text, err := os.ReadFile(c.targetFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var t target
	if err == nil {
		err = json.Unmarshal(text, &t)
	}
	if err != nil {
		return nil, fmt.Errorf("reading which cluster is used: %w", err)
	}
	return &t, nil
}

func (c *config) keep(t target) error {
	text, err := json.Marshal(t)
	if err == nil {
		err = os.WriteFile(c.targetFile(), text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("keeping which cluster is used: %w", err)
	}
	return nil
}

// choose finds the cluster to use: that of an earlier `up` if it is our own or still
// answers, so that none is left running unnoticed; else the current context (after
// a question if it is not on this machine), microk8s or k3s if they are installed,
// else one of our own.
func (c *config) choose(ctx context.Context) (target, error) {
	ownConfig := c.state.Path("kubeconfig")
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	config, err := rules.Load()
	if err != nil {
		return target{}, program.Inputf("reading the kubeconfig: %w", err)
	}
	current := config.Contexts[config.CurrentContext]
	if current != nil && current.LocationOfOrigin == ownConfig {
		current = nil
	}
	kept, err := c.kept()
	if err != nil {
		return target{}, err
	}
	if kept != nil {
		if kept.Kind == own || answers(ctx, *kept) {
			if current != nil && (kept.Context != config.CurrentContext || kept.Kubeconfig != current.LocationOfOrigin) {
				c.show.Print(fmt.Sprintf("taking %s, as the last make up did, and not the current context %s; make down PURGE=1 deletes what is there, and the next make up chooses again", *kept, config.CurrentContext))
			}
			return *kept, nil
		}
		c.show.Print(fmt.Sprintf("%s, which the last make up took, does not respond: choosing again", *kept))
	}
	if current != nil {
		cluster := config.Clusters[current.Cluster]
		t := target{Kind: kindOf(config.CurrentContext, current, cluster), Kubeconfig: current.LocationOfOrigin, Context: config.CurrentContext}
		return t, c.confirm(t, cluster)
	}
	if find("microk8s") != "" {
		text, err := c.command(ctx, nil, nil, "microk8s", "config")
		if err != nil {
			return target{}, fmt.Errorf("asking microk8s for its kubeconfig: %w", err)
		}
		path := c.state.Path("microk8s.kubeconfig")
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			return target{}, fmt.Errorf("keeping microk8s' kubeconfig: %w", err)
		}
		return target{Kind: "microk8s", Kubeconfig: path}, nil
	}
	const k3sConfig = "/etc/rancher/k3s/k3s.yaml"
	if find("k3s") != "" {
		if _, err := os.Stat(k3sConfig); err != nil {
			return target{}, program.Inputf("k3s is installed, but its kubeconfig can't be read (does it run, and may you read it?): %w", err)
		}
		return target{Kind: "k3s", Kubeconfig: k3sConfig}, nil
	}
	return target{Kind: own, Kubeconfig: ownConfig}, nil
}

// answers reports whether a cluster's API server responds, even with a refusal.
func answers(ctx context.Context, t target) bool {
	r, err := t.release()
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, err = r.Client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
	var refused apierrors.APIStatus
	return err == nil || errors.As(err, &refused)
}

// kindOf says by a context whether it is one of the local clusters into which
// images can be put by hand.
func kindOf(name string, of *api.Context, cluster *api.Cluster) string {
	switch {
	case strings.HasPrefix(name, "kind-"):
		return "kind"
	case name == "microk8s", name == dockerDesktop, name == rancherDesktop:
		return name
	case name == "minikube", ofMinikube(of):
		return "minikube"
	case name == "default" && cluster != nil && onThisMachine(cluster.Server) && find("k3s") != "":
		return "k3s" // its own kubeconfig, or a copy of it
	}
	return "other"
}

// ofMinikube reports whether minikube has written a context: of another profile
// than its first one it has a name that says nothing.
func ofMinikube(c *api.Context) bool {
	for _, e := range c.Extensions {
		if u, ok := e.(*runtime.Unknown); ok && strings.Contains(string(u.Raw), "minikube.sigs.k8s.io") {
			return true
		}
	}
	return false
}

// importable refuses, before images are built, a cluster that can get them only
// from a registry if none was named.
func (c *config) importable(t target) error {
	if c.registry != "" {
		return nil
	}
	switch t.Kind {
	case dockerDesktop, rancherDesktop:
		return program.Inputf("%s takes no image archives from this program: name a registry from which it pulls, REGISTRY=host/path; docs/operating.md says how to have one", t)
	case "other":
		return program.Inputf("%s is a cluster into which this program can't put images: name a registry from which it pulls, REGISTRY=host/path", t)
	}
	return nil
}

// confirm asks before a cluster is touched that is not on this machine.
func (c *config) confirm(t target, cluster *api.Cluster) error {
	if cluster == nil {
		return program.Inputf("context %s in %s names no cluster", t.Context, t.Kubeconfig)
	}
	if c.yes || onThisMachine(cluster.Server) {
		return nil
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return program.Inputf("the current context %s is a cluster at %s, which is not this machine: set YES=1 to install there, or choose another context", t.Context, cluster.Server)
	}
	fmt.Printf("Install into the cluster of context %s at %s? [y/N] ", t.Context, cluster.Server)
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil || !strings.HasPrefix(strings.ToLower(strings.TrimSpace(answer)), "y") {
		return program.Inputf("not installed: the answer was not yes")
	}
	return nil
}

// onThisMachine reports whether an API server's address is one of this machine.
func onThisMachine(server string) bool {
	u, err := url.Parse(server)
	if err != nil {
		return false
	}
	host := u.Hostname()
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	if ip == nil {
		return false
	}
	if ip.IsLoopback() {
		return true
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.Equal(ip) {
			return true
		}
	}
	return false
}

// load puts image archives onto the cluster's node.
func (c *config) load(ctx context.Context, t target, say func(string), archives []string) error {
	switch t.Kind {
	case own:
		_, err := c.cluster(ctx, say, append([]string{"import"}, archives...)...)
		return err
	}
	if err := c.importable(t); err != nil {
		return err
	}
	for _, a := range archives {
		var argv []string
		switch t.Kind {
		case "microk8s":
			argv = []string{"microk8s", "ctr", "image", "import", a}
		case "k3s":
			argv = []string{"k3s", "ctr", "images", "import", a}
		case "kind":
			argv = []string{"kind", "load", "image-archive", a, "--name", strings.TrimPrefix(t.Context, "kind-")}
		case "minikube":
			argv = []string{"minikube", "image", "load", a, "--profile", t.Context}
		}
		if _, err := c.command(ctx, say, nil, argv...); err != nil {
			return fmt.Errorf("putting %s onto the node: %w", filepath.Base(a), err)
		}
	}
	return nil
}

// cluster runs the tool of our own cluster, built first if necessary.
func (c *config) cluster(ctx context.Context, say func(string), args ...string) (string, error) {
	bin := c.state.Path("bin", "cluster")
	if err := os.MkdirAll(filepath.Dir(bin), 0o755); err != nil {
		return "", fmt.Errorf("making the folder for programs: %w", err)
	}
	if !c.built {
		if _, err := c.command(ctx, nil, []string{"CGO_ENABLED=0"}, "go", "build", "-C", filepath.Join("tools", "cluster"), "-trimpath", "-buildvcs=false", "-o", bin, "."); err != nil {
			return "", fmt.Errorf("building the cluster's tool: %w", err)
		}
		c.built = true
	}
	env := []string{"MLOPS_HOME=" + c.state.Dir, "MLOPS_CACHE_HOME=" + c.state.Cache}
	return c.command(ctx, say, env, append([]string{bin}, args...)...)
}
