package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"strings"
	"time"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mlops/internal/api"
	"mlops/internal/dataset"
	"mlops/internal/host"
	"mlops/internal/kube"
	"mlops/internal/origin"
	"mlops/internal/overview"
	"mlops/internal/program"
	"mlops/internal/retry"
	"mlops/internal/setup"
)

// up brings the platform to a served model and prints where it is. Each part
// looks first at what is there.
func up(ctx context.Context, c *config) error {
	began := time.Now()
	if err := noPassword(c.dataset); err != nil {
		return err
	}
	spec, err := c.loadSpec()
	if err != nil {
		return err
	}
	lock, err := host.TryLock(c.state.Path("lock"), "make up")
	if err != nil {
		return err
	}
	defer lock.Unlock()
	// Before minutes of building. A table of a Python package is found once that is unpacked.
	packaged := spec.Source.Package != "" && c.dataset == ""
	var table origin.Table
	if !packaged {
		if table, err = c.table(ctx, spec); err != nil {
			return err
		}
	}
	t, err := c.choose(ctx)
	if err != nil {
		return err
	}
	if err := c.importable(t); err != nil {
		return err
	}
	if err := c.keep(t); err != nil {
		return err
	}
	if t.Kind == own {
		err := c.do("cluster", func(say func(string)) (string, error) {
			_, err := c.cluster(ctx, say, "up")
			return t.String(), err
		})
		if err != nil {
			return err
		}
	}
	if err := c.images(ctx, t); err != nil {
		return err
	}
	if packaged {
		if table, err = c.table(ctx, spec); err != nil {
			return err
		}
	}
	r, err := t.release()
	if err != nil {
		return err
	}
	if err := c.install(ctx, t, r, table); err != nil {
		return err
	}
	rows, err := c.pipeline(ctx, r, spec, table)
	if err != nil {
		return err
	}
	return c.answer(ctx, t, r, spec, table, rows, time.Since(began))
}

// do shows work as a task, with its lines.
func (c *config) do(name string, work func(say func(string)) (string, error)) error {
	return c.show.Do(name, func(log *slog.Logger) (string, error) {
		return work(func(line string) { log.Info(line) })
	})
}

func (c *config) loadSpec() (*dataset.Spec, error) {
	file := c.spec
	if file == "" {
		file = filepath.Join(c.root, "workflows", "datasets", "diabetes.yaml")
	}
	spec, err := dataset.Read(file)
	if err != nil || !c.synthetic {
		return spec, program.Input(err)
	}
	if c.dataset != "" {
		return nil, program.Inputf("DATASET names a table and SYNTHETIC=1 asks for made-up rows: leave one of them out")
	}
	made, err := origin.Invent(spec, c.state.Path("synthetic"))
	if err != nil {
		return nil, err
	}
	c.spec, c.dataset = made.Path, made.Table.From
	return made.Spec, nil
}

// noPassword refuses an address with a password in it: as the pipeline's source it
// is written to ConfigMaps and workflows, which many may read.
func noPassword(address string) error {
	if u, err := url.Parse(address); err != nil || u.User == nil {
		return nil // a path, or an address that opening it will reject
	}
	return program.Inputf("DATASET holds a user or a password, which many could read in the cluster's workflows: download the table, and name its path in DATASET")
}

// table finds the data set's table, where `make images` has found it too.
func (c *config) table(ctx context.Context, spec *dataset.Spec) (table origin.Table, err error) {
	err = c.do("table", func(func(string)) (string, error) {
		table, err = origin.Places{Dataset: c.dataset, Root: c.root, Site: origin.Unpacked(c.state.Cache)}.Find(ctx, spec)
		return table.From, err
	})
	if spec.Synthetic {
		c.show.Print(origin.Warning)
	}
	return table, err
}

// sourceOf is what the pipeline reads: the address of the table, or where a
// local file is in the bucket.
func sourceOf(table origin.Table) (address, file string, err error) {
	if table.URL == "" {
		return "", "", nil
	}
	u, err := url.Parse(table.URL)
	if err != nil {
		return "", "", fmt.Errorf("the table's address: %w", err)
	}
	if u.Scheme != "file" {
		return table.URL, "", nil
	}
	return (&url.URL{Scheme: "s3", Host: sourceBucket, Path: "/" + path.Base(u.Path)}).String(), u.Path, nil
}

// The chart's default names of the buckets.
const (
	sourceBucket = "sources"
	mlflowBucket = "mlflow"
)

// Labels and keys by which `up` knows what it has done.
const (
	sourceLabel = "mlops/source" // of a workflow: digest of the source's file or address
	notes       = "up"           // the release's ConfigMap with keys install and source
)

// pipeline brings the source to MinIO and runs the pipeline, unless that was
// done with this source and a version is in production. It returns what the steps said
// of the rows.
func (c *config) pipeline(ctx context.Context, r *kube.Release, spec *dataset.Spec, table origin.Table) (*overview.Journey, error) {
	address, file, err := sourceOf(table)
	if err != nil {
		return nil, err
	}
	digest := digestOf(address)
	if file != "" {
		err := c.do("source", func(func(string)) (said string, err error) {
			digest, said, err = upload(ctx, r, file)
			return said, err
		})
		if err != nil {
			return nil, err
		}
	}
	digest = digestOf(spec.Name + digest)
	known, err := r.Notes(ctx, notes)
	if err != nil {
		return nil, err
	}
	earlier, err := r.Workflows(ctx, sourceLabel+"="+digest)
	if err != nil {
		return nil, err
	}
	if known["source"] == digest {
		if len(earlier) == 0 {
			return &overview.Journey{}, nil // it was deleted some days after its end
		}
		return journey(earlier[0])
	}
	name := ""
	if len(earlier) > 0 && (!earlier[0].Status.Fulfilled() || earlier[0].Status.Phase == wfv1.WorkflowSucceeded) {
		name = earlier[0].Name
	} else {
		name, err = r.Submit(ctx, "pipeline-up-", "pipeline", map[string]string{"source": address, "load": "true", "all": "true"}, map[string]string{sourceLabel: digest})
		if err != nil {
			return nil, err
		}
	}
	c.show.Print("workflow " + name)
	ended, err := r.Follow(ctx, name, c.show.Observe)
	if err != nil {
		return nil, err
	}
	if err := r.Note(ctx, notes, "source", digest); err != nil {
		return nil, err
	}
	return journey(ended)
}

// journey is what the steps of a workflow said of the rows.
func journey(w *wfv1.Workflow) (*overview.Journey, error) {
	j := &overview.Journey{}
	for _, outputs := range kube.Outputs(w) {
		if err := j.Add(outputs); err != nil {
			return nil, err
		}
	}
	return j, nil
}

func upload(ctx context.Context, r *kube.Release, file string) (digest, said string, err error) {
	store, closed, err := objects(ctx, r)
	if err != nil {
		return "", "", err
	}
	defer closed()
	digest, put, err := setup.Upload(ctx, store, sourceBucket, file)
	if err != nil {
		return "", "", fmt.Errorf("putting %s into MinIO: %w", file, err)
	}
	if put {
		return digest, "put " + filepath.Base(file) + " into MinIO", nil
	}
	return digest, filepath.Base(file) + " is in MinIO", nil
}

// answer waits until the version in production is served and prints the
// addresses and one prediction.
func (c *config) answer(ctx context.Context, t target, r *kube.Release, spec *dataset.Spec, table origin.Table, rows *overview.Journey, took time.Duration) error {
	base, transport, err := address(ctx, r, "inference", "/healthz")
	shown := base
	if err != nil {
		// A node that can't be reached from here: ask by way of the API server.
		f, err := r.Forward(ctx, r.Service("inference"), 8000, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		base, transport, shown = f.URL, f.Transport, f.Scheme()+"://localhost:8000"
	}
	key, err := r.APIKey(ctx)
	if err != nil {
		return err
	}
	server := api.NewClient(base, &http.Client{Transport: transport, Timeout: 30 * time.Second}).WithKey(key)
	var view *api.Model
	err = c.do("serving", func(func(string)) (string, error) {
		err := until(ctx, time.Minute, func(ctx context.Context) (err error) {
			view, err = server.Model(ctx)
			return err
		})
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("version %s of %s", view.Model.Number, view.Model.Name), nil
	})
	if err != nil {
		return err
	}
	databases, closed, err := r.Databases(ctx)
	if err != nil {
		return err
	}
	defer closed()
	example, err := overview.Example(ctx, server, view, spec, databases)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("\n%s\n\n%s\n%s\n%s", view.Dataset.Title, addresses(ctx, r, t.kubectl(r.Namespace)), rows, strings.ReplaceAll(example, base, shown))
	if spec.Synthetic {
		text += "  " + origin.Warning + "\n\n"
	}
	text += fmt.Sprintf("  On %s, release %s in namespace %s; %s get pods\n", t, r.Name, r.Namespace, t.kubectl(r.Namespace))
	text += fmt.Sprintf("  Ready after %s. make status shows what is running, make forward forwards local ports to it, make down stops it.\n", took.Round(100*time.Millisecond))
	c.show.Print(text)
	return nil
}

// addresses lists where the release's services are: at a NodePort that answers
// from this machine, else at the port of localhost that `make forward` leads there.
func addresses(ctx context.Context, r *kube.Release, kubectl string) string {
	var text strings.Builder
	for _, s := range services {
		if s.nodePort == "" {
			continue
		}
		if a, _, err := address(ctx, r, s.nodePort, s.path); err == nil {
			fmt.Fprintf(&text, "  %-11s %s%s\n", s.title, a, s.loginLine(r, kubectl))
		} else if there, err := r.Client.CoreV1().Services(r.Namespace).Get(ctx, r.Service(s.service), metav1.GetOptions{}); err == nil {
			scheme, _, err := r.Scheme(ctx, there)
			if err != nil {
				scheme = "https"
			}
			fmt.Fprintf(&text, "  %-11s %s://localhost:%d while make forward runs%s\n", s.title, scheme, s.local, s.loginLine(r, kubectl))
		}
	}
	return text.String()
}

// address is where a service's NodePort answers from this machine, with the transport to it.
func address(ctx context.Context, r *kube.Release, service, path string) (base string, transport http.RoundTripper, err error) {
	s, err := r.Client.CoreV1().Services(r.Namespace).Get(ctx, r.Service(service), metav1.GetOptions{})
	if err != nil {
		return "", nil, fmt.Errorf("looking for service %s: %w", r.Service(service), err)
	}
	if len(s.Spec.Ports) == 0 || s.Spec.Ports[0].NodePort == 0 {
		return "", nil, fmt.Errorf("service %s has no NodePort; make forward leads to it", r.Service(service))
	}
	scheme, transport, err := r.Scheme(ctx, s)
	if err != nil {
		return "", nil, err
	}
	hosts := []string{"localhost"}
	nodes, err := r.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err == nil {
		for _, n := range nodes.Items {
			for _, a := range n.Status.Addresses {
				hosts = append(hosts, a.Address)
			}
		}
	}
	var last error
	for _, h := range hosts {
		base := fmt.Sprintf("%s://%s:%d", scheme, h, s.Spec.Ports[0].NodePort)
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
		if err == nil {
			var resp *http.Response
			if resp, err = (&http.Client{Transport: transport}).Do(req); err == nil {
				resp.Body.Close()
			}
		}
		cancel()
		if err == nil {
			return base, transport, nil
		}
		last = err
	}
	return "", nil, fmt.Errorf("the NodePort of %s does not respond: %w", s.Name, last)
}

// until does work until it succeeds, for at most limit.
func until(ctx context.Context, limit time.Duration, work func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("gave up after %v", limit))
	defer cancel()
	return retry.Do(ctx, retry.Policy{Factor: 1}, work)
}
