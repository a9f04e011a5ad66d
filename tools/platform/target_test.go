package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mlops/internal/dataset"
	"mlops/internal/local"
	"mlops/internal/origin"
	"mlops/internal/progress"
)

// machine is a state of its own, with programs that write down how they were
// called in place of the clusters' own tools, and a kubeconfig.
func machine(t *testing.T, kubeconfig string, programs ...string) (c *config, calls func() string) {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "calls")
	for _, p := range programs {
		script := "#!/bin/sh\necho \"" + p + " $*\" >>" + log + "\necho apiVersion: v1\n"
		if err := os.WriteFile(filepath.Join(dir, p), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "config")
	if err := os.WriteFile(file, []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	t.Setenv("KUBECONFIG", file)
	state, err := local.OpenState(filepath.Join(dir, "state"), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	c = &config{root: dir, state: state, show: progress.New(silent(t), "dumb", false)}
	t.Cleanup(c.show.Close)
	return c, func() string {
		text, _ := os.ReadFile(log)
		return string(text)
	}
}

// silent is a file for what is shown.
func silent(t *testing.T) *os.File {
	t.Helper()
	f, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func contextNamed(name, server string) string {
	return `apiVersion: v1
kind: Config
current-context: ` + name + `
contexts: [{name: ` + name + `, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "` + server + `"}}]
users: [{name: u, user: {}}]
`
}

func TestChoose(t *testing.T) {
	for _, tt := range []struct {
		why, kubeconfig string
		programs        []string
		yes             bool
		kind, context   string
		fail            string
	}{
		{"nothing is there", "", nil, false, own, "", ""},
		{"a context of this machine", contextNamed("kind-dev", "https://127.0.0.1:6443"), nil, false, "kind", "kind-dev", ""},
		{"the same goes before microk8s", contextNamed("minikube", "https://localhost:1"), []string{"microk8s"}, false, "minikube", "minikube", ""},
		{"another machine's is not taken unasked", contextNamed("prod", "https://192.0.2.7:6443"), nil, false, "", "", "YES=1"},
		{"but where that was said", contextNamed("prod", "https://192.0.2.7:6443"), nil, true, "other", "prod", ""},
		{"a profile of minikube has any name", minikubeProfile, nil, false, "minikube", "dev", ""},
		{"k3s by its usual kubeconfig", contextNamed("default", "https://127.0.0.1:6443"), []string{"k3s"}, false, "k3s", "default", ""},
		{"a context of that name, and no k3s", contextNamed("default", "https://127.0.0.1:6443"), nil, false, "other", "default", ""},
		{"another machine's of that name, beside k3s", contextNamed("default", "https://192.0.2.7:6443"), []string{"k3s"}, true, "other", "default", ""},
		{"Docker Desktop", contextNamed("docker-desktop", "https://127.0.0.1:6443"), nil, false, dockerDesktop, "docker-desktop", ""},
		{"Rancher Desktop", contextNamed("rancher-desktop", "https://127.0.0.1:6443"), nil, false, rancherDesktop, "rancher-desktop", ""},
		{"microk8s", "", []string{"microk8s"}, false, "microk8s", "", ""},
		{"k3s that can't be read", "", []string{"k3s"}, false, "", "", "k3s is installed"},
		{"no YAML", "\t{", nil, false, "", "", "kubeconfig"},
		{"a context without a cluster", strings.Replace(contextNamed("x", "https://127.0.0.1:1"), "cluster: c,", "cluster: d,", 1), nil, false, "", "", "names no cluster"},
	} {
		t.Run(tt.why, func(t *testing.T) {
			c, _ := machine(t, tt.kubeconfig, tt.programs...)
			c.yes = tt.yes
			got, err := c.choose(t.Context())
			if tt.fail != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fail) {
					t.Errorf("got %v, %v; want an error with %q", got, err, tt.fail)
				}
				return
			}
			if err != nil || got.Kind != tt.kind || got.Context != tt.context {
				t.Errorf("got %+v, %v", got, err)
			}
			if err := c.keep(got); err != nil {
				t.Fatal(err)
			}
			if kept, err := c.kept(); err != nil || *kept != got {
				t.Errorf("kept %+v, %v", kept, err)
			}
		})
	}
}

// minikubeProfile is a context as minikube writes it.
var minikubeProfile = strings.Replace(contextNamed("dev", "https://127.0.0.1:6443"), "user: u}",
	"user: u, extensions: [{name: context_info, extension: {provider: minikube.sigs.k8s.io, version: v1.37.0}}]}", 1)

// What an earlier `up` took stays, as long as it can.
func TestChooseAgain(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized) // an answer all the same
		io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Unauthorized","code":401}`)
	}))
	defer server.Close()
	for _, tt := range []struct {
		why  string
		kept target
		of   string // the kept target's server; empty: none
		want string
	}{
		{"our own, running or not", target{Kind: own}, "", own},
		{"another's that answers", target{Kind: "kind", Context: "kind-old"}, server.URL, "kind"},
		{"another's that is gone", target{Kind: "kind", Context: "kind-old"}, "http://127.0.0.1:9", "minikube"},
		{"another's whose kubeconfig is gone", target{Kind: "kind", Context: "kind-old"}, "", "minikube"},
	} {
		c, _ := machine(t, contextNamed("minikube", "https://127.0.0.1:6443"))
		tt.kept.Kubeconfig = c.state.Path("old")
		if tt.of != "" {
			if err := os.WriteFile(tt.kept.Kubeconfig, []byte(contextNamed("kind-old", tt.of)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.keep(tt.kept); err != nil {
			t.Fatal(err)
		}
		if got, err := c.choose(t.Context()); err != nil || got.Kind != tt.want {
			t.Errorf("%s: got %+v, %v", tt.why, got, err)
		}
	}
}

func TestLoad(t *testing.T) {
	for _, tt := range []struct{ kind, context, want string }{
		{"microk8s", "", "microk8s ctr image import a.tar\n"},
		{"k3s", "", "k3s ctr images import a.tar\n"},
		{"kind", "kind-dev", "kind load image-archive a.tar --name dev\n"},
		{"minikube", "minikube", "minikube image load a.tar --profile minikube\n"},
	} {
		c, calls := machine(t, "", "microk8s", "k3s", "kind", "minikube")
		if err := c.load(t.Context(), target{Kind: tt.kind, Context: tt.context}, nil, []string{"a.tar"}); err != nil {
			t.Error(err)
		}
		if got := calls(); got != tt.want {
			t.Errorf("%s: called %q, want %q", tt.kind, got, tt.want)
		}
	}
	for _, kind := range []string{"other", dockerDesktop, rancherDesktop} {
		c, _ := machine(t, "")
		if err := c.importable(target{Kind: kind, Context: "c"}); err == nil || !strings.Contains(err.Error(), "REGISTRY=") {
			t.Errorf("%s: %v", kind, err)
		}
		c.registry = "r.example.com/mlops"
		if err := c.importable(target{Kind: kind, Context: "c"}); err != nil {
			t.Errorf("%s with a registry: %v", kind, err)
		}
	}
}

// Offline a package's table is the one that `make images` has unpacked, and not a
// synthetic one.
func TestTable(t *testing.T) {
	c, _ := machine(t, "")
	path := filepath.Join(origin.Unpacked(c.state.Cache), "pkg", "t.csv")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := c.table(t.Context(), &dataset.Spec{Name: "x", Source: dataset.Source{Package: "pkg/t.csv", URL: "http://127.0.0.1:9/t.csv"}})
	if err != nil || got.URL != "file://"+path {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestNoPassword(t *testing.T) {
	for _, tt := range []struct {
		dataset string
		refused bool
	}{
		{"", false},
		{"data/a@b.csv", false},
		{"https://example.org/a@b.csv", false},
		{"https://me:secret@example.org/t.csv", true},
		{"s3://key@bucket/t.csv", true},
	} {
		err := noPassword(tt.dataset)
		if (err != nil) != tt.refused || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", tt.dataset, err)
		}
	}
}

func TestSourceOf(t *testing.T) {
	for _, tt := range []struct{ url, address, file string }{
		{"", "", ""},
		{"https://example.org/t.zip", "https://example.org/t.zip", ""},
		{"s3://bucket/t.csv", "s3://bucket/t.csv", ""},
		{"file:///data/my%20table.csv", "s3://sources/my%20table.csv", "/data/my table.csv"},
	} {
		address, file, err := sourceOf(origin.Table{URL: tt.url})
		if err != nil || address != tt.address || file != tt.file {
			t.Errorf("%s: got %q, %q, %v", tt.url, address, file, err)
		}
	}
}

func TestCommand(t *testing.T) {
	c, _ := machine(t, "")
	var told []string
	out, err := c.command(t.Context(), func(line string) { told = append(told, line) }, []string{"X=1"}, "sh", "-c", "echo a $X; echo; printf b >&2")
	if err != nil || out != "a 1\n\nb" || strings.Join(told, ",") != "a 1" {
		t.Errorf("got %q, %v, told %q", out, err, told)
	}
	if _, err = c.command(t.Context(), nil, nil, "sh", "-c", "echo why; exit 3"); err == nil || !strings.Contains(err.Error(), "why") {
		t.Errorf("a failure: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.command(ctx, nil, nil, "sleep", "60"); err != context.Canceled {
		t.Errorf("stopped: %v", err)
	}
}
