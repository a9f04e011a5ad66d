package node

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os/exec"
	"text/template"
)

//go:embed manifests
var manifests embed.FS

// apply creates the objects that make an empty cluster usable: DNS, storage and
// metrics.
func (n *Node) apply(ctx context.Context) error {
	t, err := template.ParseFS(manifests, "manifests/*.yaml")
	if err != nil {
		return fmt.Errorf("reading manifests: %w", err)
	}
	var all bytes.Buffer
	files, err := fs.Glob(manifests, "manifests/*.yaml")
	if err != nil {
		return fmt.Errorf("reading manifests: %w", err)
	}
	values := map[string]any{
		"Domain": dnsDomain, "DNSService": dnsService, "DNSImage": n.dnsImage(), "MetricsImage": n.metricsImage(),
		"Forward": len(resolvers()) > 0,
	}
	for i := range files {
		all.WriteString("---\n")
		if err := t.ExecuteTemplate(&all, files[i][len("manifests/"):], values); err != nil {
			return fmt.Errorf("rendering manifests: %w", err)
		}
	}
	cmd := exec.CommandContext(ctx, n.build.Path("kubectl"), "--kubeconfig", n.kubeconfig(), "apply", "--server-side", "--force-conflicts", "--field-manager=mlops-cluster", "-f", "-")
	cmd.Stdin = &all
	cmd.Env = n.environ()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("applying the cluster's own objects: %w\n%s", err, bytes.TrimSpace(out))
	}
	return nil
}
