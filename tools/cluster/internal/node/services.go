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
		{
			name:  "containerd",
			argv:  []string{n.build.Path("containerd"), "--config", n.path("etc", "containerd.toml")},
			files: []string{n.path("etc", "containerd.toml")},
			ready: func(ctx context.Context) error {
				_, err := n.ctr(ctx, "version")
				return err
			},
			limit: time.Minute, grace: 10 * time.Second,
		},
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
		{
			name: "kubelet",
			argv: []string{kube, "kubelet", "--config=" + n.path("etc", "kubelet.json"), "--kubeconfig=" + n.path("etc", "kubelet.kubeconfig"),
				"--hostname-override=" + nodeName, "--node-ip=" + nodeAddress, "--root-dir=" + n.path("kubelet"), "--cert-dir=" + n.path("kubelet", "pki")},
			files: append(pki("kubelet.crt", "ca.crt"), n.path("etc", "kubelet.json"), n.path("etc", "kubelet.kubeconfig")),
			ready: func(ctx context.Context) error {
				return httpOK(ctx, fmt.Sprintf("http://127.0.0.1:%d/healthz", kubeletHealth))
			},
			limit: time.Minute, grace: 10 * time.Second,
		},
		{
			name:  "proxy",
			argv:  []string{kube, "proxy", "--config=" + n.path("etc", "proxy.json")},
			files: []string{n.path("etc", "proxy.json"), n.path("etc", "proxy.kubeconfig")},
			ready: func(ctx context.Context) error {
				return httpOK(ctx, fmt.Sprintf("http://127.0.0.1:%d/livez", proxyHealth))
			},
			limit: time.Minute, grace: 5 * time.Second,
		},
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

// ctr runs containerd's client.
func (n *Node) ctr(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	return host.Output(ctx, append([]string{n.build.Path("ctr"), "--address", runDir + "/containerd.sock", "--namespace", namespaceImages}, args...)...)
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
