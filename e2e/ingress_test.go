//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mlops/internal/kube"
)

// testIngress switches the Ingress on, in a dry run that the API server checks
// and then for real, and puts its rules into an nginx: the API and the page, its
// assets included, answer behind it. (An Ingress controller can't be had here.)
func testIngress(t *testing.T, m *machine) {
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		t.Fatalf("nginx is missing; .ci/run installs it: %v", err)
	}
	r := m.release(t, "mlops")
	rendered := m.must(t, nil, m.helm(t, "4"), "template", "mlops", "charts", "--namespace", "mlops", "--kubeconfig", m.kubeconfig(),
		"-f", filepath.Join("dist", "values.yaml"), "--dry-run=server", "--show-only", "templates/ingress.yaml",
		"--set", "ingress.enabled=true,ingress.className=nginx,ingress.host="+known)
	file := filepath.Join(t.TempDir(), "ingress.yaml")
	if err := os.WriteFile(file, []byte(rendered[strings.Index(rendered, "---"):]), 0o600); err != nil {
		t.Fatal(err)
	}
	kubectl := filepath.Join(m.home, "bin", "cluster")
	out := strings.Fields(m.must(t, nil, kubectl, "path", "kubectl"))
	m.must(t, nil, out[len(out)-1], "--kubeconfig", m.kubeconfig(), "-n", "mlops", "apply", "-f", file)
	list, err := r.Client.NetworkingV1().Ingresses(r.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 2 {
		t.Fatalf("%d ingresses, want one for people and one for programs; %v", len(list.Items), err)
	}
	for _, i := range list.Items {
		defer r.Client.NetworkingV1().Ingresses(r.Namespace).Delete(t.Context(), i.Name, metav1.DeleteOptions{})
	}

	base := proxy(t, nginx, r, list.Items)
	client := &http.Client{Transport: hostHeader{known}}
	get := func(path string) string {
		t.Helper()
		resp, err := client.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		return body(t, resp)
	}
	view := served(t, inference)
	if text := get("/model"); !strings.Contains(text, view.Model.RunID) {
		t.Errorf("/model behind the proxy: %s", text[:min(len(text), 200)])
	}
	resp, err := client.Post(base+"/predict", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if text := body(t, resp); !strings.Contains(text, "probability") {
		t.Errorf("/predict behind the proxy: %s", text)
	}
	if text := get("/openapi.json"); !strings.Contains(text, `"/predict"`) {
		t.Errorf("/openapi.json behind the proxy: %s", text[:min(len(text), 200)])
	}
	if text := get("/docs"); !strings.Contains(text, "/predict") {
		t.Errorf("/docs behind the proxy: %s", text[:min(len(text), 200)])
	}
	// The way without JavaScript.
	if resp, err = client.PostForm(base+"/", url.Values{"c.age": {"[70-80)"}}); err != nil {
		t.Fatal(err)
	}
	if text := body(t, resp); !strings.Contains(text, `data-state="predicted"`) {
		t.Error("the form behind the proxy is not answered with a prediction")
	}
	// A path's prefix ends where a part of it ends: this one is the page's, which
	// says in HTML that it has nothing there.
	if resp, err = client.Get(base + "/predictions"); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		t.Errorf("/predictions behind the proxy: %s, %s", resp.Status, resp.Header.Get("Content-Type"))
	}
	text := get("/")
	if !strings.Contains(text, view.Dataset.Title) {
		t.Error("the page behind the proxy does not hold its title")
	}
	assets := regexp.MustCompile(`(?:href|src)="([^"#:]+)"`).FindAllStringSubmatch(text, -1)
	if len(assets) == 0 {
		t.Error("the page names no assets")
	}
	for _, a := range assets {
		get("/" + strings.TrimPrefix(a[1], "/"))
	}
}

type hostHeader struct{ host string }

func (h hostHeader) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Host = h.host
	return http.DefaultTransport.RoundTrip(r)
}

// proxy starts an nginx with the rules of Ingresses, those of a host together, until the
// test ends.
func proxy(t *testing.T, nginx string, r *kube.Release, ingresses []networkingv1.Ingress) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	var servers strings.Builder
	paths := map[string][]networkingv1.HTTPIngressPath{}
	for _, i := range ingresses {
		for _, rule := range i.Spec.Rules {
			paths[rule.Host] = append(paths[rule.Host], rule.HTTP.Paths...)
		}
	}
	for host, list := range paths {
		fmt.Fprintf(&servers, "server {\n listen %s;\n server_name %s;\n", address, host)
		for _, p := range list {
			s, err := r.Client.CoreV1().Services(r.Namespace).Get(t.Context(), p.Backend.Service.Name, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			// Kubernetes' Prefix is of whole parts of a path, nginx's of letters.
			matches := []string{"= " + p.Path}
			if *p.PathType == networkingv1.PathTypePrefix {
				matches = append(matches, strings.TrimSuffix(p.Path, "/")+"/")
			}
			for _, match := range matches {
				fmt.Fprintf(&servers, " location %s { proxy_pass http://127.0.0.1:%d; }\n", match, s.Spec.Ports[0].NodePort)
			}
		}
		servers.WriteString("}\n")
	}
	return runNginx(t, nginx, address, servers.String())
}

// runNginx starts an nginx with these servers, which listen at the address, until the
// test ends.
func runNginx(t *testing.T, nginx, address, servers string) string {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf("daemon off; pid %[1]s/pid; error_log %[1]s/error.log; worker_processes 1;\nevents {}\nhttp {\n access_log off; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;\n%[2]s}\n", dir, servers)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(nginx, "-c", conf, "-e", filepath.Join(dir, "error.log"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
	})
	base := "http://" + address
	eventually(t, 10*time.Second, func() error {
		if cmd.ProcessState != nil {
			return fmt.Errorf("nginx has ended")
		}
		return dial(address)
	})
	return base
}

func dial(address string) error {
	c, err := net.Dial("tcp", address)
	if err == nil {
		c.Close()
	}
	return err
}
