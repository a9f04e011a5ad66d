package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"mlops/tools/cluster/internal/host"
)

// services returns the node's processes in the order in which they start.
func (n *Node) services() []*service {
	pki := func(names ...string) []string {
		var files []string
		for _, f := range names {
			files = append(files, n.path("pki", f))
		}
		return files
	}
	kube := n.build.Path("kube")
	return []*service{
		{
			name: "etcd",
			argv: []string{n.build.Path("etcd"), "--name=" + nodeName, "--data-dir=" + n.path("etcd"),
				fmt.Sprintf("--listen-client-urls=https://127.0.0.1:%d", etcdPort),
				fmt.Sprintf("--advertise-client-urls=https://127.0.0.1:%d", etcdPort),
				fmt.Sprintf("--listen-peer-urls=https://127.0.0.1:%d", etcdPeerPort),
				fmt.Sprintf("--initial-advertise-peer-urls=https://127.0.0.1:%d", etcdPeerPort),
				fmt.Sprintf("--initial-cluster=%s=https://127.0.0.1:%d", nodeName, etcdPeerPort),
				fmt.Sprintf("--listen-metrics-urls=http://127.0.0.1:%d", etcdHealthPort),
				"--client-cert-auth", "--cert-file=" + n.path("pki", "etcd.crt"), "--key-file=" + n.path("pki", "etcd.key"), "--trusted-ca-file=" + n.path("pki", "etcd-ca.crt"),
				"--peer-client-cert-auth", "--peer-cert-file=" + n.path("pki", "etcd.crt"), "--peer-key-file=" + n.path("pki", "etcd.key"), "--peer-trusted-ca-file=" + n.path("pki", "etcd-ca.crt"),
				"--heartbeat-interval=250", "--election-timeout=1250", // nobody else votes
				"--quota-backend-bytes=2147483648", "--log-level=warn"},
			files: pki("etcd.crt", "etcd-ca.crt"),
			ready: func(ctx context.Context) error {
				return httpOK(ctx, fmt.Sprintf("http://127.0.0.1:%d/health", etcdHealthPort))
			},
			limit: time.Minute, grace: 10 * time.Second,
		},
		n.runtimeService(firstPlace),
		{
			name: "apiserver",
			argv: []string{kube, "apiserver",
				"--bind-address=" + nodeAddress, "--advertise-address=" + nodeAddress, fmt.Sprintf("--secure-port=%d", apiPort),
				"--tls-cert-file=" + n.path("pki", "apiserver.crt"), "--tls-private-key-file=" + n.path("pki", "apiserver.key"),
				"--cert-dir=" + n.path("pki"), "--client-ca-file=" + n.path("pki", "ca.crt"),
				fmt.Sprintf("--etcd-servers=https://127.0.0.1:%d", etcdPort), "--etcd-cafile=" + n.path("pki", "etcd-ca.crt"),
				"--etcd-certfile=" + n.path("pki", "etcd-client.crt"), "--etcd-keyfile=" + n.path("pki", "etcd-client.key"),
				"--kubelet-certificate-authority=" + n.path("pki", "ca.crt"),
				"--kubelet-client-certificate=" + n.path("pki", "kubelet-client.crt"), "--kubelet-client-key=" + n.path("pki", "kubelet-client.key"),
				"--kubelet-preferred-address-types=InternalIP", // the node's name is in no DNS
				"--service-account-issuer=https://kubernetes.default.svc." + dnsDomain,
				"--service-account-key-file=" + n.path("pki", "accounts.pub"), "--service-account-signing-key-file=" + n.path("pki", "accounts.key"),
				"--service-cluster-ip-range=" + serviceRange,
				"--requestheader-client-ca-file=" + n.path("pki", "front-ca.crt"), "--requestheader-allowed-names=front-proxy",
				"--requestheader-extra-headers-prefix=X-Remote-Extra-", "--requestheader-group-headers=X-Remote-Group", "--requestheader-username-headers=X-Remote-User",
				"--proxy-client-cert-file=" + n.path("pki", "front-proxy.crt"), "--proxy-client-key-file=" + n.path("pki", "front-proxy.key"),
				"--enable-aggregator-routing", "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
				"--anonymous-auth=false", "--allow-privileged", "--profiling=false"},
			files: pki("apiserver.crt", "ca.crt", "etcd-ca.crt", "etcd-client.crt", "kubelet-client.crt", "accounts.pub", "front-ca.crt", "front-proxy.crt"),
			ready: n.apiReady,
			// Clients that watch keep it from ending; it holds nothing that
			// isn't in etcd.
			limit: 2 * time.Minute, grace: 3 * time.Second,
		},
		{
			name: "controller-manager",
			argv: []string{kube, "controller-manager", "--kubeconfig=" + n.path("etc", "controller-manager.kubeconfig"),
				"--service-account-private-key-file=" + n.path("pki", "accounts.key"), "--root-ca-file=" + n.path("pki", "ca.crt"),
				"--cluster-signing-cert-file=" + n.path("pki", "ca.crt"), "--cluster-signing-key-file=" + n.path("pki", "ca.key"),
				"--use-service-account-credentials", "--leader-elect=false", "--secure-port=0", "--profiling=false",
				"--service-cluster-ip-range=" + serviceRange, "--cluster-cidr=" + podRange, "--allocate-node-cidrs=false"},
			files: append(pki("ca.crt", "accounts.pub"), n.path("etc", "controller-manager.kubeconfig")),
			ready: n.running("controller-manager"),
			limit: time.Minute, grace: 5 * time.Second,
		},
		{
			name: "scheduler",
			argv: []string{kube, "scheduler", "--kubeconfig=" + n.path("etc", "scheduler.kubeconfig"),
				"--leader-elect=false", "--secure-port=0", "--profiling=false"},
			files: []string{n.path("etc", "scheduler.kubeconfig")},
			ready: n.running("scheduler"),
			limit: time.Minute, grace: 5 * time.Second,
		},
		n.kubeletService(firstPlace),
		n.proxyService(firstPlace),
		{
			name:  "provisioner",
			argv:  []string{n.build.Path("provisioner"), "-kubeconfig=" + n.path("etc", "provisioner.kubeconfig"), "-folder=" + n.path("volumes"), "-node=" + nodeName},
			files: []string{n.path("etc", "provisioner.kubeconfig")},
			ready: n.running("provisioner"),
			limit: time.Minute, grace: 5 * time.Second,
		},
		n.watcher(),
	}
}

// secondServices returns those of the second node.
func (n *Node) secondServices() []*service {
	return []*service{n.runtimeService(secondPlace), n.kubeletService(secondPlace), n.proxyService(secondPlace)}
}

func (n *Node) runtimeService(p place) *service {
	return &service{
		name:  "containerd" + p.suffix,
		argv:  p.inside(n.build.Path("containerd"), "--config", n.at(p, "etc", "containerd.toml")),
		files: []string{n.at(p, "etc", "containerd.toml")},
		group: p.group(processGroup),
		ready: func(ctx context.Context) error {
			_, err := n.ctr(ctx, p, "version")
			return err
		},
		limit: time.Minute, grace: 10 * time.Second,
	}
}

func (n *Node) kubeletService(p place) *service {
	return &service{
		name: "kubelet" + p.suffix,
		argv: p.inside(n.build.Path("kube"), "kubelet", "--config="+n.at(p, "etc", "kubelet.json"), "--kubeconfig="+n.at(p, "etc", "kubelet.kubeconfig"),
			"--hostname-override="+p.name, "--node-ip="+p.address, "--root-dir="+n.at(p, "kubelet"), "--cert-dir="+n.at(p, "kubelet", "pki")),
		env:   []string{"CONTAINERD_ADDRESS=" + p.run + "/containerd.sock"}, // for the names on its metrics of containers
		files: []string{n.path("pki", "kubelet"+p.suffix+".crt"), n.path("pki", "ca.crt"), n.at(p, "etc", "kubelet.json"), n.at(p, "etc", "kubelet.kubeconfig")},
		group: p.group(processGroup),
		ready: func(ctx context.Context) error {
			return httpOK(ctx, fmt.Sprintf("http://%s:%d/healthz", p.health, kubeletHealth))
		},
		limit: time.Minute, grace: 10 * time.Second,
	}
}

func (n *Node) proxyService(p place) *service {
	return &service{
		name:  "proxy" + p.suffix,
		argv:  p.inside(n.build.Path("kube"), "proxy", "--config="+n.at(p, "etc", "proxy.json")),
		files: []string{n.at(p, "etc", "proxy.json"), n.at(p, "etc", "proxy.kubeconfig")},
		group: p.group(processGroup),
		ready: func(ctx context.Context) error {
			return httpOK(ctx, fmt.Sprintf("http://%s:%d/livez", p.health, proxyHealth))
		},
		limit: time.Minute, grace: 5 * time.Second,
	}
}

// running is the readiness check of a service without a port: it is ready while
// it runs.
func (n *Node) running(name string) func(context.Context) error {
	return func(context.Context) error {
		r, err := n.record(name)
		if err == nil && (r == nil || !r.Alive()) {
			err = errors.New("it does not run")
		}
		return err
	}
}

func (n *Node) apiReady(ctx context.Context) error {
	c, err := n.api()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return c.Call(ctx, http.MethodGet, "/readyz", nil, new(string))
}

// ctr runs the client of a node's containerd.
func (n *Node) ctr(ctx context.Context, p place, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	return host.Output(ctx, append([]string{n.build.Path("ctr"), "--address", p.run + "/containerd.sock", "--namespace", namespaceImages}, args...)...)
}

// httpOK returns nil if the URL, of a service on this machine, responds with
// 200.
func httpOK(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return nil
}

// alive counts the services that run; those of an earlier build count, too.
func (n *Node) alive() (int, error) {
	up := 0
	for _, s := range n.services() {
		r, err := n.record(s.name)
		if err != nil {
			return 0, err
		}
		if r != nil && r.Alive() {
			up++
		}
	}
	return up, nil
}

// exists reports whether there is a file.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
