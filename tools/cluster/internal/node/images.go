package node

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mlops/tools/cluster/internal/archive"
)

const pauseImage = "mlops.local/pause:1"

func (n *Node) dnsImage() string { return "mlops.local/coredns:" + n.build.Version("coredns") }
func (n *Node) metricsImage() string {
	return "mlops.local/metrics-server:" + n.build.Version("metrics-server")
}

// systemImages writes missing archives of the images that the cluster itself runs
// in pods, and returns the paths of all of them.
func (n *Node) systemImages() ([]string, error) {
	var paths []string
	for _, s := range []archive.Static{
		{Name: pauseImage, Path: n.build.Path("pause"), File: "pause"},
		{Name: n.dnsImage(), Path: n.build.Path("coredns"), File: "coredns"},
		{Name: n.metricsImage(), Path: n.build.Path("metrics-server"), File: "metrics-server"},
	} {
		path := filepath.Join(n.build.Dir, "images", s.File+".tar")
		paths = append(paths, path)
		if exists(path) {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, fmt.Errorf("writing images: %w", err)
		}
		if err := s.Write(path); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

// imported is the record of an imported image: the digest in its archive, and the
// one that containerd gave it. If both are unchanged, the node has the image.
type imported struct {
	Archive string `json:"archive"`
	Target  string `json:"target"`
}

// Import imports the archives' images into the node, except those that it has
// already.
func (n *Node) Import(ctx context.Context, paths ...string) error {
	lock, err := n.lock(ctx, "cluster import")
	if err != nil {
		return err
	}
	defer lock.Unlock()
	return n.importAll(ctx, firstPlace, paths)
}

func (n *Node) importAll(ctx context.Context, p place, paths []string) error {
	have, err := n.images(ctx, p)
	if err != nil {
		return fmt.Errorf("importing images (is the node running? cluster up starts it): %w", err)
	}
	keptPath := n.at(p, "images.json")
	kept := map[string]imported{}
	if text, err := os.ReadFile(keptPath); err == nil {
		_ = json.Unmarshal(text, &kept) // a broken list only costs time
	}
	for _, path := range paths {
		refs, err := archive.Refs(path)
		if err != nil {
			return err
		}
		missing := false
		for _, r := range refs {
			k, ok := kept[r.Name]
			missing = missing || !ok || k.Archive != r.Digest || have[r.Name] != k.Target
		}
		if !missing {
			continue
		}
		start := time.Now()
		if _, err := n.ctr(ctx, p, "images", "import", "--local", path); err != nil {
			return fmt.Errorf("importing images: %w", err)
		}
		if have, err = n.images(ctx, p); err != nil {
			return fmt.Errorf("importing images: %w", err)
		}
		for _, r := range refs {
			if have[r.Name] == "" {
				return fmt.Errorf("importing %s: containerd accepted it, but doesn't list %s", path, r.Name)
			}
			kept[r.Name] = imported{r.Digest, have[r.Name]}
			n.log.Info("imported", "image", r.Name, "took", time.Since(start).Round(10*time.Millisecond))
		}
		text, err := json.MarshalIndent(kept, "", "  ")
		if err != nil {
			return fmt.Errorf("encoding the list of images: %w", err)
		}
		if err := writeFile(keptPath, append(text, '\n')); err != nil {
			return err
		}
	}
	return nil
}

// images returns containerd's images: digests by name.
func (n *Node) images(ctx context.Context, p place) (map[string]string, error) {
	text, err := n.ctr(ctx, p, "images", "list")
	if err != nil {
		return nil, err
	}
	have := map[string]string{}
	for line := range strings.Lines(text) {
		// REF TYPE DIGEST SIZE PLATFORMS LABELS
		if f := strings.Fields(line); len(f) > 3 && strings.Contains(f[2], ":") {
			have[f[0]] = f[2]
		}
	}
	return have, nil
}
