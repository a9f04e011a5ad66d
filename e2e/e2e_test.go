//go:build e2e

// Package e2e tries the whole platform on a real cluster: `make e2e`. The parts
// of TestPlatform build on each other, in their order; one that installs ends the
// test where it fails.
//
// It reads the environment: MLOPS_HOME and MLOPS_CACHE_HOME as `make demo` does
// (the test's own state is the folder e2e in MLOPS_HOME, so that caches are
// shared and nothing else), KEEP=1 (leave the cluster running at the end).
package e2e

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"mlops/internal/api"
	"mlops/internal/dataset"
	"mlops/internal/figures"
	"mlops/internal/kube"
	"mlops/internal/mlflow"
	"mlops/internal/overview"
	"mlops/internal/prepare"
)

// rows is what the source of the diabetes data set has.
const rows = 101_766

// known is the name of the Ingress, by which the first release may be called.
const known = "models.example"

var quiet = slog.New(slog.DiscardHandler)

// machine is the project's folder, the state and the programs of the test.
type machine struct {
	root, home, cache string
}

// kubeconfig is that of the test's own cluster.
func (m *machine) kubeconfig() string { return filepath.Join(m.home, "kubeconfig") }

// helm is the path of Helm 3 or 4, which the cluster's program has built.
func (m *machine) helm(t *testing.T, version string) string {
	t.Helper()
	out := strings.Fields(m.must(t, nil, filepath.Join(m.home, "bin", "cluster"), "path", "helm"+version))
	return out[len(out)-1]
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	root, err := prepare.Root()
	if err != nil {
		t.Fatal(err)
	}
	home, err := prepare.Home(os.Getenv("MLOPS_HOME"))
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{root: root, home: filepath.Join(home, "e2e"), cache: os.Getenv("MLOPS_CACHE_HOME")}
	if m.cache == "" {
		m.cache = filepath.Join(home, "cache")
	}
	return m
}

// run runs a command in the project's folder with the test's state, and returns
// what it wrote; its lines go to the test's log as they come.
func (m *machine) run(t *testing.T, env []string, argv ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = m.root
	for _, e := range os.Environ() {
		// The user's own choices must not reach the test's platform.
		switch name, _, _ := strings.Cut(e, "="); name {
		case "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "SPEC", "DATASET", "PURGE", "REGISTRY", "KUBECONFIG":
		default:
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(cmd.Env, "MLOPS_HOME="+m.home, "MLOPS_CACHE_HOME="+m.cache, "KUBECONFIG="+m.kubeconfig(), "MLOPS_HOSTS=localhost,"+known)
	cmd.Env = append(cmd.Env, env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	var all bytes.Buffer
	cmd.Stdout = io.MultiWriter(&all, os.Stdout)
	cmd.Stderr = cmd.Stdout
	err := cmd.Run()
	return all.String(), err
}

// must is run where nothing can go on after a failure.
func (m *machine) must(t *testing.T, env []string, argv ...string) string {
	t.Helper()
	out, err := m.run(t, env, argv...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, tail(out))
	}
	return out
}

func tail(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

// release connects to a release on the test's cluster.
func (m *machine) release(t *testing.T, namespace string) *kube.Release {
	t.Helper()
	r, err := kube.Open(m.kubeconfig(), "", namespace, "mlops")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// forward leads to a service until the test ends, and returns its base URL.
func forward(t *testing.T, r *kube.Release, service string, port int) string {
	t.Helper()
	return forwarded(t, r, service, port).URL
}

// forwarded is forward with the transport that a service with TLS needs.
func forwarded(t *testing.T, r *kube.Release, service string, port int) *kube.Forward {
	t.Helper()
	var f *kube.Forward
	eventually(t, time.Minute, func() (err error) {
		f, err = r.Forward(t.Context(), r.Service(service), port, 0)
		return err
	})
	t.Cleanup(f.Close)
	return f
}

// stepsClient is a client of a release's MLflow with the login of the workflows' steps.
func stepsClient(t *testing.T, r *kube.Release) *mlflow.Client {
	t.Helper()
	user, password, err := r.MLflowLogin(t.Context(), "steps")
	if err != nil {
		t.Fatal(err)
	}
	tracking := forwarded(t, r, "mlflow", 5000)
	client, err := mlflow.New(tracking.URL, mlflow.Options{Transport: tracking.Transport, Username: user, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// eventually waits until check finds nothing wrong.
func eventually(t *testing.T, limit time.Duration, check func() error) {
	t.Helper()
	began := time.Now()
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Since(began) > limit {
			t.Fatalf("after %v still: %v", limit, err)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(context.Cause(t.Context()))
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// databases connects to a release's Postgres until the test ends.
func databases(t *testing.T, r *kube.Release) overview.Databases {
	t.Helper()
	connect, closed, err := r.Databases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closed)
	return connect
}

// owned leads to a release's databases with the role that owns them.
func owned(t *testing.T, r *kube.Release) overview.Databases {
	t.Helper()
	address, closed, err := r.Postgres(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closed)
	return func(ctx context.Context, database string) (*pgx.Conn, error) {
		return pgx.Connect(ctx, address(database))
	}
}

// checkRows holds the rows of a data set against the lines of its source, and
// returns them.
func checkRows(t *testing.T, r *kube.Release, name string, want int64) overview.Rows {
	t.Helper()
	n, err := databases(t, r).Count(t.Context(), name)
	if err == nil {
		err = n.Check(want)
	}
	if err != nil {
		t.Errorf("rows of %s: %v", name, err)
	}
	t.Logf("rows of %s: %+v", name, n)
	return n
}

// served returns what the server at base has in service, once its answers hold
// the scores that are stored with it.
func served(t *testing.T, base string) *api.Model {
	t.Helper()
	var view *api.Model
	eventually(t, time.Minute, func() (err error) { view, err = api.NewClient(base, nil).Model(t.Context()); return err })
	if err := overview.Scores(t.Context(), api.NewClient(base, nil), view); err != nil {
		t.Error(err)
	}
	return view
}

// spec reads one of the project's data sets.
func (m *machine) spec(t *testing.T, name string) (*dataset.Spec, string) {
	t.Helper()
	path := filepath.Join(m.root, "workflows", "datasets", name+".yaml")
	spec, err := dataset.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	return spec, path
}

// note adds a figure to bench.json, which `make bench` shows with its own.
func (m *machine) note(t *testing.T, name string, value float64, unit, reach string) {
	t.Helper()
	r, err := figures.Read(filepath.Join(m.root, "bench.json"))
	if err == nil {
		err = r.Add("cluster", figures.Figure{Name: name, Value: value, Unit: unit, Reach: reach, How: "make e2e"})
	}
	if err != nil {
		t.Error(err)
	}
	t.Logf("FIGURE %s: %.4g %s (target: %s)", name, value, unit, reach)
}

// noteTime is note for what took some time.
func (m *machine) noteTime(t *testing.T, name string, took time.Duration, reach string) {
	t.Helper()
	m.note(t, name, took.Seconds(), "s", reach)
}

// drop deletes all tables of a data set, so that its rows can arrive again.
func drop(t *testing.T, connect overview.Databases, name string) {
	t.Helper()
	for _, database := range []string{"raw", "clean"} {
		conn, err := connect(t.Context(), database)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		found, err := conn.Query(t.Context(), "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND (tablename = $1 OR starts_with(tablename, $1 || '_'))", name)
		if err != nil {
			t.Fatal(err)
		}
		tables, err := pgx.CollectRows(found, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range tables {
			if _, err := conn.Exec(t.Context(), "DROP TABLE "+pgx.Identifier{table}.Sanitize()+" CASCADE"); err != nil {
				t.Fatal(err)
			}
		}
	}
}
