package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"mlops/internal/dataset"
	"mlops/internal/kube"
	"mlops/internal/origin"
)

// installLimit is how long a release may take until all its services are ready.
const installLimit = 15 * time.Minute

// valuesFile is the values that building the images has written.
func (c *config) valuesFile() string { return filepath.Join(c.root, "dist", "values.yaml") }

// images builds the images, and puts them onto the node or into the registry.
func (c *config) images(ctx context.Context, t target) error {
	err := c.do("images", func(say func(string)) (string, error) {
		argv := []string{"go", "run", "-trimpath", "-buildvcs=false", "./tools/images"}
		if c.registry != "" {
			argv = append(argv, "-push", c.registry)
		}
		_, err := c.command(ctx, say, []string{"CGO_ENABLED=0", "MLOPS_HOME=" + c.state.Dir, "MLOPS_CACHE_HOME=" + c.state.Cache}, argv...)
		return "", err
	})
	if err != nil || c.registry != "" {
		return err
	}
	return c.do("images onto the node", func(say func(string)) (string, error) {
		archives, err := filepath.Glob(filepath.Join(c.root, "dist", "images", "*.tar"))
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%d images", len(archives)), c.load(ctx, t, say, archives)
	})
}

// install installs or upgrades the release, unless the one that is there was
// made of the same chart and values, and waits until it is ready.
func (c *config) install(ctx context.Context, t target, r *kube.Release, table origin.Table) error {
	text, err := c.values(ctx, t, r, table)
	if err != nil {
		return err
	}
	digest, err := c.installDigest(text)
	if err != nil {
		return err
	}
	file := c.state.Path("values.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return fmt.Errorf("writing the release's values: %w", err)
	}
	return c.do("release", func(say func(string)) (string, error) {
		known, err := r.Notes(ctx, notes)
		if err != nil {
			return "", err
		}
		// The note isn't Helm's, and outlives a `helm uninstall` by hand.
		_, succeeded, err := r.Installed(ctx)
		if err != nil {
			return "", err
		}
		if err := c.restrict(ctx, r); err != nil {
			return "", err
		}
		if !succeeded || known["install"] != digest {
			helm, err := c.helm(ctx, say)
			if err != nil {
				return "", err
			}
			chart := []string{releaseName, "charts", "--namespace", namespace, "-f", c.valuesFile(), "-f", file}
			err = c.room(ctx, r, func() (string, error) {
				return c.command(ctx, nil, nil, append([]string{helm, "template"}, chart...)...)
			})
			if err != nil {
				return "", err
			}
			argv := append([]string{helm, "upgrade", "--install"}, append(chart, "--create-namespace", "--kubeconfig", t.Kubeconfig)...)
			if t.Context != "" {
				argv = append(argv, "--kube-context", t.Context)
			}
			if _, err := c.command(ctx, nil, nil, argv...); err != nil {
				return "", err
			}
			if err := r.Note(ctx, notes, "install", digest); err != nil {
				return "", err
			}
		}
		return "all services are ready", awaitReady(ctx, r, say)
	})
}

// restrictedLabel makes Kubernetes refuse every pod that could take over its node.
const restrictedLabel = "pod-security.kubernetes.io/enforce"

// restrict makes the release's namespace where there is none, and has it enforce
// the restricted Pod Security Standard: whoever may start a workflow must not be
// able to start a privileged pod. Without the right to do that on another's
// cluster it says so and goes on.
func (c *config) restrict(ctx context.Context, r *kube.Release) error {
	api := r.Client.CoreV1().Namespaces()
	labels := map[string]string{restrictedLabel: "restricted"}
	space, err := api.Get(ctx, r.Namespace, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		_, err = api.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: r.Namespace, Labels: labels}}, metav1.CreateOptions{})
	case err == nil && space.Labels[restrictedLabel] != "restricted":
		var patch []byte
		if patch, err = json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels}}); err == nil {
			_, err = api.Patch(ctx, r.Namespace, types.MergePatchType, patch, metav1.PatchOptions{})
		}
	}
	if apierrors.IsForbidden(err) {
		c.show.Print(fmt.Sprintf("this account can't label the namespace; ask its owner to: kubectl label --overwrite namespace %s %s=restricted", r.Namespace, restrictedLabel))
		return nil
	}
	if err != nil {
		return fmt.Errorf("making namespace %s restricted: %w", r.Namespace, err)
	}
	return nil
}

// values are what `up` says of the release besides the images that were built. A
// file carries them, since Helm would take the commas, braces and backslashes of
// an address on its command line for its own.
func (c *config) values(ctx context.Context, t target, r *kube.Release, table origin.Table) ([]byte, error) {
	address, _, err := sourceOf(table)
	if err != nil {
		return nil, err
	}
	global := map[string]any{}
	if c.registry != "" {
		global["images"] = map[string]any{"registry": c.registry}
	}
	if c.spec != "" {
		text, err := dataset.ReadFile(c.spec)
		if err != nil {
			return nil, err
		}
		global["dataset"] = map[string]any{"spec": string(text)}
	}
	policies := map[string]any{}
	// The addresses of another cluster's API server may change between two upgrades.
	if t.Kind == own {
		if policies["apiServer"], err = apiServer(ctx, r); err != nil {
			return nil, err
		}
	}
	values := map[string]any{
		"global": global,
		// The NodePorts of our own cluster lead here from this machine only; another
		// cluster's may be open to a whole network. Prometheus, which has no login,
		// stays inside.
		"nodePorts": map[string]any{
			"mlflow":   map[string]any{"enabled": t.Kind == own},
			"argo":     map[string]any{"enabled": t.Kind == own},
			"loadtest": map[string]any{"enabled": t.Kind == own},
		},
		// The pipeline is run from here, where its progress can be shown; the
		// schedules go on with the same source.
		"pipelines":       map[string]any{"runOnInstall": false, "source": address},
		"setup":           map[string]any{"source": map[string]any{"image": ""}},
		"networkPolicies": policies,
	}
	// What other clusters' nodes are called is not known here.
	if t.Kind == own && len(c.hosts) > 0 {
		values["inference"] = map[string]any{"allowedHosts": c.hosts}
		values["ui"] = map[string]any{"allowedHosts": c.hosts}
	}
	return yaml.Marshal(values)
}

// apiServer returns the values that let pods connect to Kubernetes' API at its own
// addresses only.
func apiServer(ctx context.Context, r *kube.Release) (map[string]any, error) {
	slices, err := r.Client.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=kubernetes"})
	if err != nil {
		return nil, fmt.Errorf("looking up the addresses of Kubernetes' API: %w", err)
	}
	var peers, ports []any
	for _, s := range slices.Items {
		for _, p := range s.Ports {
			ports = append(ports, *p.Port)
		}
		for _, e := range s.Endpoints {
			for _, text := range e.Addresses {
				a, err := netip.ParseAddr(text)
				if err != nil {
					return nil, fmt.Errorf("reading the address of Kubernetes' API: %w", err)
				}
				peers = append(peers, map[string]any{"ipBlock": map[string]any{"cidr": netip.PrefixFrom(a, a.BitLen()).String()}})
			}
		}
	}
	if len(peers) == 0 || len(ports) == 0 {
		return nil, errors.New("looking up the addresses of Kubernetes' API: the cluster knows none")
	}
	return map[string]any{"to": peers, "ports": ports}, nil
}

// helm returns the path of Helm: the user's own, or one that is built.
func (c *config) helm(ctx context.Context, say func(string)) (string, error) {
	if path := find("helm"); path != "" {
		return path, nil
	}
	out, err := c.cluster(ctx, say, "path", "helm4")
	if err != nil {
		return "", fmt.Errorf("building Helm: %w", err)
	}
	all := strings.Split(out, "\n")
	return all[len(all)-1], nil
}

// installDigest is the digest of everything that a release is made of.
func (c *config) installDigest(values []byte) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%q\n", values)
	files := []string{c.valuesFile()}
	for _, dir := range []string{"charts", "workflows", filepath.Join("dashboards", "json")} {
		err := filepath.WalkDir(filepath.Join(c.root, dir), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				files = append(files, path)
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("reading the chart: %w", err)
		}
	}
	slices.Sort(files)
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			return "", fmt.Errorf("reading the chart: %w", err)
		}
		rel, _ := filepath.Rel(c.root, path)
		fmt.Fprintf(h, "%q\n", rel)
		_, err = io.Copy(h, f)
		f.Close()
		if err != nil {
			return "", fmt.Errorf("reading the chart: %w", err)
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// digestOf is a digest of a text, short enough for a label.
func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])[:16]
}

// awaitReady waits until all the release's services are ready, and says what it
// waits for.
func awaitReady(ctx context.Context, r *kube.Release, say func(string)) error {
	told := ""
	return until(ctx, installLimit, func(ctx context.Context) error {
		waits, err := unready(ctx, r)
		if err != nil {
			return err
		}
		if len(waits) == 0 {
			return nil
		}
		text := "waiting for " + strings.Join(waits, "; ")
		if text != told {
			told = text
			say(text)
		}
		return errors.New(text)
	})
}

// unready lists what of the release is not ready yet, each with the reason that
// its pods give.
func unready(ctx context.Context, r *kube.Release) ([]string, error) {
	selector := metav1.ListOptions{LabelSelector: "app.kubernetes.io/instance=" + r.Name}
	deployments, err := r.Client.AppsV1().Deployments(r.Namespace).List(ctx, selector)
	if err != nil {
		return nil, fmt.Errorf("listing deployments: %w", err)
	}
	sets, err := r.Client.AppsV1().StatefulSets(r.Namespace).List(ctx, selector)
	if err != nil {
		return nil, fmt.Errorf("listing stateful sets: %w", err)
	}
	jobs, err := r.Client.BatchV1().Jobs(r.Namespace).List(ctx, selector)
	if err != nil {
		return nil, fmt.Errorf("listing jobs: %w", err)
	}
	pods, err := r.Pods(ctx, selector.LabelSelector)
	if err != nil {
		return nil, err
	}
	if len(deployments.Items)+len(sets.Items)+len(jobs.Items) == 0 {
		return []string{"release " + r.Name + ", which has no services"}, nil
	}
	var waits []string
	wait := func(name string) { waits = append(waits, name+why(ctx, r, pods, name)) }
	for _, d := range deployments.Items {
		if !rolledOut(&d) {
			wait(d.Name)
		}
	}
	for _, s := range sets.Items {
		if s.Status.ObservedGeneration < s.Generation || s.Spec.Replicas != nil && (s.Status.ReadyReplicas < *s.Spec.Replicas || s.Status.UpdatedReplicas < *s.Spec.Replicas) {
			wait(s.Name)
		}
	}
	for _, j := range jobs.Items {
		if j.Status.Succeeded == 0 {
			wait(j.Name)
		}
	}
	return waits, nil
}

func rolledOut(d *appsv1.Deployment) bool {
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	return d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedReplicas >= want && d.Status.AvailableReplicas >= want && d.Status.Replicas <= want
}
