package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"mlops/tools/cluster/internal/build"
	"mlops/tools/cluster/internal/host"
)

// Up starts whatever isn't running and waits until the cluster works. If it works
// already, nothing changes.
func (n *Node) Up(ctx context.Context) error {
	lock, err := n.lock(ctx, "cluster up")
	if err != nil {
		return err
	}
	defer lock.Unlock()
	start := time.Now()
	if err := n.trimLogs(); err != nil {
		return err
	}
	if err := n.works(ctx); err == nil {
		n.log.Info("cluster is up", "kubeconfig", n.kubeconfig())
		return nil
	}
	if err := n.build.Build(ctx, build.Node()...); err != nil {
		return err
	}
	if err := host.Install(ctx, n.log, needs()); err != nil {
		return err
	}
	images, err := n.systemImages()
	if err != nil {
		return err
	}
	begun := time.Now()
	if err := n.prepare(ctx); err != nil {
		return err
	}
	if err := n.startAll(ctx, images); err != nil {
		return err
	}
	if err := n.settle(ctx); err != nil {
		return err
	}
	n.log.Info("cluster is up", "took", time.Since(start).Round(100*time.Millisecond), "start_took", time.Since(begun).Round(100*time.Millisecond), "kubeconfig", n.kubeconfig())
	return nil
}

// works returns nil if everything runs as this command would start it and responds.
func (n *Node) works(ctx context.Context) error {
	for _, s := range n.services() {
		if ok, err := n.runs(s); err != nil {
			return err
		} else if !ok {
			return fmt.Errorf("%s does not run", s.name)
		}
	}
	for _, s := range n.services() {
		if err := s.ready(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	for _, c := range n.checks() {
		if err := c.ask(ctx); err != nil {
			return fmt.Errorf("%s: %w", c.what, err)
		}
	}
	return nil
}

// prepare prepares the machine: it removes the remains of a dead node and creates
// our network, cgroups and files.
func (n *Node) prepare(ctx context.Context) error {
	home, err := owner()
	if err != nil {
		return err
	}
	if home != "" && home != n.home && len(host.Marked(markName+home)) > 0 {
		return fmt.Errorf("the cluster of MLOPS_HOME=%s runs on this machine, which can only have one at a time; stop it first: MLOPS_HOME=%s cluster down", home, home)
	}
	up, err := n.alive()
	if err != nil {
		return err
	}
	if up == 0 {
		if other := foreign(); other != "" {
			return fmt.Errorf("another Kubernetes runs on this machine: %s; two would overwrite each other's packet filter, so use that one or stop it first", other)
		}
		// The pods of a dead node are of no use without it.
		if err := n.clean(home); err != nil {
			return err
		}
		if err := n.checkFree(); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(runDir+"/s", 0o711); err != nil {
		return fmt.Errorf("creating %s: %w", runDir, err)
	}
	if err := writeFile(ownerPath, []byte(n.home+"\n")); err != nil {
		return err
	}
	if err := n.cgroup.Make(processGroup); err != nil {
		return err
	}
	if err := n.network(); err != nil {
		return err
	}
	return n.configure(firstPlace)
}

// startAll starts each service as soon as those that it needs are ready.
func (n *Node) startAll(ctx context.Context, images []string) error {
	by := map[string]*service{}
	all := n.services()
	for _, s := range all {
		by[s.name] = s
	}
	// Services to restart are stopped in the order of `cluster down`: the API server
	// takes long to stop without etcd.
	for _, s := range slices.Backward(all) {
		if ok, err := n.runs(s); err != nil {
			return err
		} else if !ok {
			if err := n.stop(s); err != nil {
				return err
			}
		}
	}
	up := func(names ...string) error {
		for _, name := range names {
			began := time.Now()
			started, err := n.start(by[name])
			if err != nil {
				return err
			}
			if err := n.await(ctx, by[name]); err != nil {
				return err
			}
			if started {
				n.log.Info("started", "service", name, "took", time.Since(began).Round(10*time.Millisecond))
			}
		}
		return nil
	}
	// containerd starts concurrently with etcd and the API server.
	runtime := make(chan error, 1)
	go func() {
		err := up("containerd")
		if err == nil {
			err = n.importAll(ctx, firstPlace, images)
		}
		runtime <- err
	}()
	err := up("etcd", "apiserver")
	if err == nil {
		err = up("controller-manager", "scheduler", "provisioner")
	}
	if err = errors.Join(err, <-runtime); err != nil {
		return err
	}
	applied := make(chan error, 1)
	go func() { applied <- n.apply(ctx) }()
	err = up("kubelet", "proxy", watcherName)
	return errors.Join(err, <-applied)
}

// check is one check that the cluster works.
type check struct {
	what string
	ask  func(ctx context.Context) error
}

// checks returns the checks. They ask the components themselves, since the state in
// the API server may be from before a component died.
func (n *Node) checks() []check {
	return []check{
		{"the node is ready", func(ctx context.Context) error { return n.nodeReady(ctx, firstPlace) }},
		{"the cluster's DNS responds", dnsResponds},
		{"metrics are available", n.metricsAvailable},
		{"the cluster's own pods are of this build", n.rolledOut},
	}
}

func (n *Node) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	for _, c := range n.checks() {
		began := time.Now()
		for {
			err := c.ask(ctx)
			if err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("waiting until %s: %w (logs: %s)", c.what, err, n.path("log"))
			case <-time.After(200 * time.Millisecond):
			}
		}
		n.log.Info(c.what, "after", time.Since(began).Round(100*time.Millisecond))
	}
	return nil
}

func (n *Node) nodeReady(ctx context.Context, p place) error {
	c, err := n.api()
	if err != nil {
		return err
	}
	var node struct {
		Status struct {
			Conditions []struct {
				Type, Status, Reason, Message string
				LastHeartbeatTime             time.Time
			}
		}
	}
	if err := c.Call(ctx, http.MethodGet, "/api/v1/nodes/"+p.name, nil, &node); err != nil {
		return err
	}
	kubelet, err := n.record("kubelet" + p.suffix)
	if err != nil || kubelet == nil {
		return errors.New("the kubelet does not run")
	}
	for _, s := range node.Status.Conditions {
		if s.Type != "Ready" {
			continue
		}
		if s.Status != "True" {
			return fmt.Errorf("%s: %s", s.Reason, s.Message)
		}
		if s.LastHeartbeatTime.Before(kubelet.Since.Truncate(time.Second)) {
			return errors.New("the kubelet has not reported since it started")
		}
		return nil
	}
	return errors.New("the kubelet has not reported yet")
}

// dnsResponds queries the Service's address, which needs the proxy, the pod network
// and the DNS server.
func dnsResponds(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, net.JoinHostPort(dnsService, "53"))
	}}
	got, err := r.LookupHost(ctx, "kubernetes.default.svc."+dnsDomain+".")
	if err == nil && (len(got) != 1 || got[0] != apiService) {
		err = fmt.Errorf("the API server resolves to %v, want %s", got, apiService)
	}
	return err
}

func (n *Node) metricsAvailable(ctx context.Context) error {
	c, err := n.api()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var list struct{ Items []struct{} }
	if err := c.Call(ctx, http.MethodGet, "/apis/metrics.k8s.io/v1beta1/nodes", nil, &list); err != nil {
		return err
	}
	if len(list.Items) == 0 {
		return errors.New("none yet")
	}
	return nil
}

// rolledOut checks that the running pods are those of the current manifests.
func (n *Node) rolledOut(ctx context.Context) error {
	c, err := n.api()
	if err != nil {
		return err
	}
	var list struct {
		Items []struct {
			Metadata struct {
				Name       string
				Generation int
			}
			Status struct{ ObservedGeneration, Replicas, UpdatedReplicas, AvailableReplicas int }
		}
	}
	if err := c.Call(ctx, http.MethodGet, "/apis/apps/v1/namespaces/kube-system/deployments", nil, &list); err != nil {
		return err
	}
	for _, d := range list.Items {
		if s := d.Status; s.ObservedGeneration != d.Metadata.Generation || s.UpdatedReplicas < s.Replicas || s.AvailableReplicas < 1 {
			return fmt.Errorf("deployment %s: %d pods, %d of them new, %d available", d.Metadata.Name, s.Replicas, s.UpdatedReplicas, s.AvailableReplicas)
		}
	}
	return nil
}
