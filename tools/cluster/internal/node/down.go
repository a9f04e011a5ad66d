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

// Down stops pods and services and removes what they created on the machine. It
// keeps the data if purge is empty; "all" deletes the built programs, too.
func (n *Node) Down(ctx context.Context, purge string) error {
	lock, err := n.lock(ctx, "cluster down")
	if err != nil {
		return err
	}
	defer lock.Unlock()
	start := time.Now()
	home, err := owner()
	if err != nil {
		return err
	}
	if home != "" && home != n.home {
		if len(host.Marked(markName+home)) > 0 {
			n.log.Info("leaving the running cluster alone, which belongs to another state", "home", home)
			return n.delete(purge)
		}
		n.log.Info("cleaning up after a dead cluster of another state", "home", home)
	}
	if err := n.stopSecond(); err != nil {
		return err
	}
	// First the services that would start others or pods again, then the pods, then the rest.
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
	if err := stop(watcherName, "kubelet", "controller-manager", "scheduler", "provisioner"); err != nil {
		return err
	}
	n.endPods(ctx)
	if err := stop("proxy", "containerd", "apiserver", "etcd"); err != nil {
		return err
	}
	if err := n.clean(home); err != nil {
		return err
	}
	if err := n.restoreSettings(); err != nil {
		return err
	}
	if err := n.delete(purge); err != nil {
		return err
	}
	n.log.Info("cluster is down", "took", time.Since(start).Round(100*time.Millisecond), "data", map[bool]string{true: "deleted", false: "kept in " + n.dir}[purge != ""])
	return nil
}

func (n *Node) delete(purge string) error {
	if purge == "" {
		return nil
	}
	if _, err := host.Unmount(n.dir); err != nil {
		return err
	}
	for _, name := range []string{"etcd", "containerd", "kubelet", "second", "volumes", "pki", "etc", "log", "run", "images.json"} {
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

// Kill kills all processes of the node and its pods at once without cleaning up,
// like a power failure; or the process of one service, if it is named.
func (n *Node) Kill(service string) error {
	if service != "" {
		return n.kill(service)
	}
	killed, err := n.cgroup.Kill("")
	if err != nil {
		return err
	}
	n.log.Info("killed", "processes", killed)
	return nil
}

// clean removes everything that a node has created on the machine outside of its
// data, whether it ended properly or crashed. last is the home of the machine's
// last cluster, or empty.
func (n *Node) clean(last string) error {
	killed, err := n.cgroup.Kill("")
	if err != nil {
		return fmt.Errorf("ending the node's remaining processes: %w", err)
	}
	dirs := []string{runDir, n.path("kubelet"), n.path("containerd")}
	homes := []string{n.home}
	if last != "" && last != n.home {
		homes = append(homes, last)
		for _, name := range []string{"kubelet", "containerd", secondPlace.folder} {
			dirs = append(dirs, filepath.Join(last, "cluster", name))
		}
	}
	for _, h := range homes {
		// Processes that have not been moved into the cgroup yet.
		if err := host.End(host.Marked(markName+h), syscall.SIGTERM, 5*time.Second); err != nil {
			return fmt.Errorf("ending the node's remaining processes: %w", err)
		}
	}
	if err := n.stopSecond(); err != nil {
		return err
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
	if program := foreign(); program != "" {
		n.log.Warn("keeping the chains KUBE-*, which another Kubernetes uses", "program", program)
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
		// The path of the kubelet's socket for device plugins is fixed. Folders are deleted only if they are empty.
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
			return fmt.Errorf("deleting the record of %s: %w", s.name, err)
		}
	}
	if killed+mounts+links+lines > 0 {
		n.log.Info("cleaned up", "processes", killed, "mounts", mounts, "bridges", links, "packet_filter_lines", lines)
	}
	return nil
}

// removeLogLinks deletes the symbolic links that the kubelet creates for log
// collectors, in a folder that can't be configured.
func removeLogLinks(dir string) error {
	const folder = "/var/log/containers"
	links, err := filepath.Glob(folder + "/*.log")
	if err != nil {
		return fmt.Errorf("deleting links to log files: %w", err)
	}
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && strings.HasPrefix(to, dir+"/") {
			if err := os.Remove(l); err != nil {
				return fmt.Errorf("deleting links to log files: %w", err)
			}
		}
	}
	os.Remove(folder) // if it is empty
	return nil
}
