package node

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mlops/tools/cluster/internal/host"
	"mlops/tools/cluster/node/api"
)

// secondLink is the end of the second node's cable that is in the machine's network.
// The packet filter knows our interfaces by the beginning of their names.
const secondLink = "mlops-second"

// secondTaint keeps pods off the second node, which has few images and no volumes,
// unless they tolerate it.
const secondTaint = "mlops.local/second"

// Join starts the second node in a network namespace of its own, with the images of
// these archives. It is there to try what needs more than one node: how pods spread,
// drains, the loss of a node. Nobody starts its services again.
func (n *Node) Join(ctx context.Context, archives ...string) error {
	lock, err := n.lock(ctx, "cluster join")
	if err != nil {
		return err
	}
	defer lock.Unlock()
	began := time.Now()
	if err := n.works(ctx); err != nil {
		return fmt.Errorf("the first node does not work (cluster up starts it): %w", err)
	}
	if !host.HasProgram("nsenter")() {
		return fmt.Errorf("a second node needs the program nsenter (package util-linux)")
	}
	system, err := n.systemImages()
	if err != nil {
		return err
	}
	p := secondPlace
	if err := os.MkdirAll(p.run+"/s", 0o711); err != nil {
		return fmt.Errorf("creating %s: %w", p.run, err)
	}
	if err := os.MkdirAll(n.at(p), 0o700); err != nil {
		return fmt.Errorf("creating the second node's folder: %w", err)
	}
	for _, group := range []string{p.cgroup, p.group(processGroup)} {
		if err := n.cgroup.Make(group); err != nil {
			return err
		}
	}
	if err := n.secondNetwork(); err != nil {
		return err
	}
	if err := n.configure(p); err != nil {
		return err
	}
	for i, s := range n.secondServices() {
		if ok, err := n.runs(s); err != nil {
			return err
		} else if !ok {
			if err := n.stop(s); err != nil {
				return err
			}
		}
		if _, err := n.start(s); err != nil {
			return err
		}
		if err := n.await(ctx, s); err != nil {
			return err
		}
		if i == 0 { // containerd
			if err := n.importAll(ctx, p, append(system, archives...)); err != nil {
				return err
			}
		}
	}
	limit := time.Now().Add(time.Minute)
	for err = n.nodeReady(ctx, p); err != nil; err = n.nodeReady(ctx, p) {
		if time.Now().After(limit) || ctx.Err() != nil {
			return fmt.Errorf("waiting until the second node is ready: %w (logs: %s)", err, n.path("log"))
		}
		time.Sleep(200 * time.Millisecond)
	}
	n.log.Info("second node is up", "node", p.name, "took", time.Since(began).Round(100*time.Millisecond), "tolerate", secondTaint)
	return nil
}

// secondNetwork creates what is missing of the second node's network: a namespace, and
// a cable from there into the bridge that carries the nodes' addresses.
func (n *Node) secondNetwork() error {
	p := secondPlace
	if !exists("/var/run/netns/" + p.netns) {
		if _, err := host.Run("ip", "netns", "add", p.netns); err != nil {
			return fmt.Errorf("creating the second node's network: %w", err)
		}
	}
	var lines []string
	if !host.HasLink(secondLink) {
		lines = append(lines, "ip link add "+secondLink+" type veth peer name eth0 netns "+p.netns)
	}
	for _, line := range append(lines,
		"ip link set "+secondLink+" master "+nodeBridge+" up",
		"ip -n "+p.netns+" link set lo up",
		"ip -n "+p.netns+" address replace "+p.address+"/24 dev eth0",
		"ip -n "+p.netns+" link set eth0 up",
		"ip -n "+p.netns+" route replace default via "+nodeAddress,
		"ip route replace "+p.pods+" via "+p.address+" dev "+nodeBridge,
	) {
		if _, err := host.Run(strings.Fields(line)...); err != nil {
			return fmt.Errorf("creating the second node's network: %w", err)
		}
	}
	for name, value := range settings {
		if value == "" || !strings.HasPrefix(name, "net/") {
			continue
		}
		path := filepath.Join("/proc/sys", name) // which shows the settings of the reader's network
		if _, err := host.Run(p.inside("sh", "-c", "test ! -e "+path+" || echo "+value+" > "+path)...); err != nil {
			return fmt.Errorf("changing the second node's kernel settings: %w", err)
		}
	}
	return nil
}

// Cut takes the second node off the network, as a cable that is pulled does; Mend puts
// it back.
func (n *Node) Cut() error { return setSecondLink("down") }

// Mend undoes Cut.
func (n *Node) Mend() error { return setSecondLink("up") }

func setSecondLink(state string) error {
	if !host.HasLink(secondLink) {
		return fmt.Errorf("there is no second node; cluster join starts one")
	}
	if _, err := host.Run("ip", "link", "set", secondLink, state); err != nil {
		return fmt.Errorf("changing the second node's network: %w", err)
	}
	return nil
}

// Leave stops the second node, if there is one, and deletes it from the cluster with
// its data.
func (n *Node) Leave(ctx context.Context) error {
	lock, err := n.lock(ctx, "cluster leave")
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if err := n.stopSecond(); err != nil {
		return err
	}
	c, err := n.api()
	if err != nil {
		return err
	}
	if err := c.Call(ctx, http.MethodDelete, "/api/v1/nodes/"+secondPlace.name, nil, nil); err != nil && !api.IsCode(err, http.StatusNotFound) {
		return fmt.Errorf("deleting the second node: %w", err)
	}
	n.log.Info("second node is gone", "node", secondPlace.name)
	return nil
}

// stopSecond stops the second node's services and pods and removes what they created
// on the machine, with its data: it has none that anybody would miss.
func (n *Node) stopSecond() error {
	p := secondPlace
	for _, s := range slices.Backward(n.secondServices()) {
		if err := n.stop(s); err != nil {
			return err
		}
	}
	if _, err := n.cgroup.Kill(p.cgroup); err != nil {
		return fmt.Errorf("ending the second node's remaining processes: %w", err)
	}
	if _, err := host.Unmount(p.run, n.at(p)); err != nil {
		return err
	}
	if host.HasLink(secondLink) {
		if _, err := host.Run("ip", "link", "del", secondLink); err != nil {
			return fmt.Errorf("deleting the second node's network: %w", err)
		}
	}
	if exists("/var/run/netns/" + p.netns) {
		if _, err := host.Run("ip", "netns", "del", p.netns); err != nil {
			return fmt.Errorf("deleting the second node's network: %w", err)
		}
	}
	for _, dir := range []string{p.run, n.at(p)} {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("deleting the second node's data: %w", err)
		}
	}
	if err := removeLogLinks(n.at(p)); err != nil {
		return err
	}
	return nil
}
