package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"mlops/tools/cluster/internal/host"
)

// Down stops pods and services and takes away what they made on the machine.
// The data stays, unless purge says otherwise; all deletes the built programs too.
func (n *Node) Down(ctx context.Context, purge string) error {
	lock, err := n.lock(ctx, "cluster down")
	if err != nil {
		return err
	}
	defer lock.Unlock()
	start := time.Now()
	who, err := owner()
	if err != nil {
		return err
	}
	if who != "" && who != n.home {
		if len(host.Marked(markName+who)) > 0 {
			n.log.Info("not touched: the cluster that runs belongs to another state", "MLOPS_HOME", who)
			return n.delete(purge)
		}
		n.log.Info("cleaning up after a cluster of another state, which died", "MLOPS_HOME", who)
	}
	// First who would start pods again, then the pods, then the rest.
	all := n.services()
	slices.Reverse(all)
	stop := func(names ...string) error {
		var errs []error
		for _, s := range all {
			if slices.Contains(names, s.name) {
				errs = append(errs, n.stop(s))
			}
		}
		return errors.Join(errs...)
	}
	if err := stop("kubelet", "controller-manager", "scheduler", "provisioner"); err != nil {
		return err
	}
	n.endPods(ctx)
	if err := stop("proxy", "containerd", "apiserver", "etcd"); err != nil {
		return err
	}
	if err := n.clean(who); err != nil {
		return err
	}
	if err := n.restoreSettings(); err != nil {
		return err
	}
	if err := n.delete(purge); err != nil {
		return err
	}
	n.log.Info("the cluster is down", "took", time.Since(start).Round(100*time.Millisecond), "data", map[bool]string{true: "deleted", false: "kept in " + n.dir}[purge != ""])
	return nil
}

func (n *Node) delete(purge string) error {
	if purge == "" {
		return nil
	}
	if _, err := host.Unmount(n.dir); err != nil {
		return err
	}
	for _, name := range []string{"etcd", "containerd", "kubelet", "volumes", "pki", "etc", "log", "run", "images.json"} {
		if err := os.RemoveAll(n.path(name)); err != nil {
			return fmt.Errorf("deleting the cluster's data: %w", err)
		}
	}
	if err := os.Remove(n.kubeconfig()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("deleting the cluster's data: %w", err)
	}
	if purge == "all" {
		if err := os.RemoveAll(filepath.Dir(n.build.Dir)); err != nil {
			return fmt.Errorf("deleting the node's programs: %w", err)
		}
	}
	return nil
}

// Kill kills every process of the node and of its pods at once and cleans
// nothing up, as when a machine loses power.
func (n *Node) Kill() error {
	killed, err := n.cgroup.Kill("")
	if err != nil {
		return err
	}
	n.log.Info("killed", "processes", killed)
	return nil
}

// clean takes away all that a node has made on the machine outside of its data,
// be it of an ordinary end or of a sudden one. who is the home of the cluster
// that was here last, or empty.
func (n *Node) clean(who string) error {
	killed, err := n.cgroup.Kill("")
	if err != nil {
		return fmt.Errorf("ending what is left of the node: %w", err)
	}
	dirs := []string{runDir, n.path("kubelet"), n.path("containerd")}
	homes := []string{n.home}
	if who != "" && who != n.home {
		homes = append(homes, who)
		dirs = append(dirs, filepath.Join(who, "cluster", "kubelet"), filepath.Join(who, "cluster", "containerd"))
	}
	for _, h := range homes {
		// Those that died before they were in the cgroup.
		if err := host.End(host.Marked(markName+h), syscall.SIGTERM, 5*time.Second); err != nil {
			return fmt.Errorf("ending what is left of the node: %w", err)
		}
	}
	mounts, err := host.Unmount(dirs...)
	if err != nil {
		return err
	}
	links := 0
	for _, b := range []string{podBridge, nodeBridge} {
		did, err := host.RemoveBridge(b)
		if err != nil {
			return err
		}
		if did {
			links++
		}
	}
	rules, other := n.rules, false
	if who := foreign(); who != "" {
		n.log.Warn("chains KUBE-* are left to another Kubernetes, which runs here now", "it", who)
		other = true
		rules.Prefixes = slices.DeleteFunc(slices.Clone(rules.Prefixes), func(p string) bool { return p == "KUBE-" })
	}
	lines, err := rules.Remove()
	if err != nil {
		return err
	}
	if err := n.cgroup.Remove(); err != nil {
		return err
	}
	if err := os.RemoveAll(runDir); err != nil {
		return fmt.Errorf("deleting %s: %w", runDir, err)
	}
	if !other {
		// The kubelet's socket for device plugins can't be put elsewhere; the folders go where they are empty.
		for _, path := range []string{"device-plugins/kubelet.sock", "device-plugins", ""} {
			os.Remove(filepath.Join("/var/lib/kubelet", path))
		}
	}
	for _, h := range homes {
		if err := removeLogLinks(filepath.Join(h, "cluster")); err != nil {
			return err
		}
	}
	for _, s := range n.services() {
		if err := os.Remove(n.recordPath(s.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forgetting %s: %w", s.name, err)
		}
	}
	if killed+mounts+links+lines > 0 {
		n.log.Info("cleaned up", "processes", killed, "mounts", mounts, "bridges", links, "packet filter lines", lines)
	}
	return nil
}

// removeLogLinks deletes the links that the kubelet makes for collectors of logs
// in a folder that can't be configured.
func removeLogLinks(dir string) error {
	const folder = "/var/log/containers"
	links, err := filepath.Glob(folder + "/*.log")
	if err != nil {
		return fmt.Errorf("deleting links to logs: %w", err)
	}
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && strings.HasPrefix(to, dir+"/") {
			if err := os.Remove(l); err != nil {
				return fmt.Errorf("deleting links to logs: %w", err)
			}
		}
	}
	os.Remove(folder) // where it is empty
	return nil
}
