//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"mlops/internal/kube"
	"mlops/loadtest"
)

// secondNode is the name of the node that `cluster join` starts.
const secondNode = "mlops-second"

// none may fail of the requests, in percent of those that succeed.
const none = 100

// testScaling lets the load set the number of servers, on two nodes, and takes one of
// these away.
func testScaling(t *testing.T, f *faults) {
	m := f.m
	cluster := filepath.Join(m.home, "bin", "cluster")
	t.Run("1, 2 and 4 servers", func(t *testing.T) { testServers(t, f) })
	began := time.Now()
	m.must(t, nil, cluster, "join", filepath.Join("dist", "images", "inference.tar"))
	m.noteTime(t, "second node up, with one image", time.Since(began), "")
	defer m.must(t, nil, cluster, "leave")
	upgrade := func(t *testing.T, values ...string) {
		t.Helper()
		argv := []string{m.helm(t, "4"), "upgrade", "mlops", "charts", "--reset-values", "-f", filepath.Join("dist", "values.yaml"), "-f", filepath.Join(m.home, "values.yaml"),
			"--namespace", "mlops", "--kubeconfig", m.kubeconfig(), "--wait", "--timeout", "5m"}
		for _, v := range values {
			if !strings.HasPrefix(v, "--") {
				argv = append(argv, "--set")
			}
			argv = append(argv, v)
		}
		m.must(t, nil, argv...)
	}
	// Helm 4 does not take the number of servers from the autoscaler unless it is told to.
	defer upgrade(t, "inference.replicas=1", "--server-side=true", "--force-conflicts") // the upgrades before may have been Helm 3's
	scaled := []string{"inference.autoscaling.enabled=true,inference.autoscaling.maxReplicas=4,inference.autoscaling.cpu=120m,inference.autoscaling.calmSeconds=15",
		"inference.tolerations[0].key=mlops.local/second,inference.tolerations[0].operator=Exists"}
	f.fault(t, "upgrade from one server to an autoscaler, on two nodes", none, func(t *testing.T) {
		upgrade(t, scaled...)
		f.spread(t)
	})
	t.Run("node lost", func(t *testing.T) { testNodeLost(t, f) })
	kubectl := func(t *testing.T, args ...string) {
		t.Helper()
		out := strings.Fields(m.must(t, nil, cluster, "path", "kubectl"))
		m.must(t, nil, append([]string{out[len(out)-1], "--kubeconfig", m.kubeconfig()}, args...)...)
	}
	f.observe(t, "load raises the number of servers, upgrade and drain under load, quiet lowers it", none, func(t *testing.T) time.Duration {
		var quiet time.Time
		f.servers(t, func(n int) bool { return n == 2 }) // the load so far may have raised it
		underLoad(t, 20, func() {
			began := time.Now()
			f.servers(t, func(n int) bool { return n >= 3 })
			m.noteTime(t, "load until a third server is ready", time.Since(began), "")
			upgrade(t, append(scaled, "inference.podAnnotations.rolled=once")...)
			f.spread(t)
			kubectl(t, "drain", secondNode, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=4m")
			if on := f.nodes(t)[secondNode]; on != 0 {
				t.Errorf("%d servers are on the drained node", on)
			}
			kubectl(t, "uncordon", secondNode)
			f.servers(t, func(n int) bool { return n >= 3 })
			quiet = time.Now()
		})
		f.servers(t, func(n int) bool { return n == 2 })
		return time.Since(quiet)
	})
}

// nodes counts the ready servers by node.
func (f *faults) nodes(t *testing.T) map[string]int {
	t.Helper()
	pods, err := f.r.Pods(t.Context(), "app.kubernetes.io/component=inference,app.kubernetes.io/instance="+f.r.Name)
	if err != nil {
		t.Fatal(err)
	}
	on := map[string]int{}
	for _, p := range pods {
		if kube.Ready(&p) && p.DeletionTimestamp == nil {
			on[p.Spec.NodeName]++
		}
	}
	return on
}

// spread waits until the ready servers are on both nodes, and as many on each as on
// the other or one more.
func (f *faults) spread(t *testing.T) {
	t.Helper()
	eventually(t, 2*time.Minute, func() error {
		on := f.nodes(t)
		first, second := on["mlops"], on[secondNode]
		if first == 0 || second == 0 || first-second > 1 || second-first > 1 {
			return fmt.Errorf("servers by node: %v", on)
		}
		return nil
	})
}

// servers waits for a number of ready servers.
func (f *faults) servers(t *testing.T, enough func(n int) bool) {
	t.Helper()
	eventually(t, most, func() error {
		n := 0
		for _, on := range f.nodes(t) {
			n += on
		}
		if !enough(n) {
			return fmt.Errorf("%d servers are ready", n)
		}
		return nil
	})
}

// testNodeLost pulls the second node's cable. A proxy that knows the servers, as an
// Ingress controller does, loses only the requests that were under way there. Connections
// to the Service itself may still be sent there until Kubernetes notices; then none fails
// there either.
func testNodeLost(t *testing.T, f *faults) {
	cluster := filepath.Join(f.m.home, "bin", "cluster")
	f.spread(t)
	base := f.proxied(t)
	const users = 10
	lost := 0.0
	f.observe(t, "one of two nodes lost", single, func(t *testing.T) time.Duration {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan loadtest.Report, 1)
		go func() {
			report, err := loadtest.Run(ctx, loadtest.Config{Target: base, Users: []int{users}, Think: 50 * time.Millisecond, Duration: 20 * time.Minute})
			if err != nil && len(report.Stages) == 0 {
				t.Errorf("the load test through the proxy: %v", err)
			}
			done <- report
		}()
		time.Sleep(after)
		f.m.must(t, nil, cluster, "cut")
		defer f.m.must(t, nil, cluster, "mend")
		began := time.Now()
		eventually(t, 2*time.Minute, func() error {
			node, err := f.r.Client.CoreV1().Nodes().Get(t.Context(), secondNode, metav1.GetOptions{})
			if err != nil {
				return err
			}
			for _, c := range node.Status.Conditions {
				if c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue {
					return nil
				}
			}
			return fmt.Errorf("node %s is still ready", secondNode)
		})
		f.m.noteTime(t, "node lost, until Kubernetes says so", time.Since(began), "")
		time.Sleep(after) // until the proxies of the nodes know
		// What a client has open to the lost node is of no use until its own timeout.
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		underLoad(t, users, func() {
			eventually(t, most, func() error { return f.works(t) })
		})
		took := time.Since(began)
		cancel()
		report := <-done
		lost = float64(report.Failed)
		t.Logf("through a proxy: %d of %d requests failed", report.Failed, report.Requests)
		if report.Requests < 1000 || report.Failed > users {
			t.Errorf("through a proxy %d of %d requests failed, want at most the %d that can be under way", report.Failed, report.Requests, users)
		}
		return took
	})
	f.m.note(t, "node lost: requests failed behind a proxy, of 10 users", lost, "", "10")
	eventually(t, time.Minute, func() error {
		pods, err := f.r.Pods(t.Context(), "app.kubernetes.io/component=inference,app.kubernetes.io/instance="+f.r.Name)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(pods, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil }) {
			return fmt.Errorf("servers of the lost node are still there")
		}
		return nil
	})
}

// proxied starts a proxy in front of the servers as they are, which asks them by their
// pods' addresses and another one if the first can't be reached or breaks off, as the
// chart's annotation tells ingress-nginx. It ends with the test.
func (f *faults) proxied(t *testing.T) string {
	t.Helper()
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		t.Fatalf("nginx is missing; .ci/run installs it: %v", err)
	}
	pods, err := f.r.Pods(t.Context(), "app.kubernetes.io/component=inference,app.kubernetes.io/instance="+f.r.Name)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	text, err := os.ReadFile(filepath.Join(f.m.root, "charts", "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var values struct {
		Ingress struct {
			API struct{ Annotations map[string]string }
		}
	}
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	again := values.Ingress.API.Annotations["nginx.ingress.kubernetes.io/proxy-next-upstream"]
	if again == "" {
		t.Fatal("the chart doesn't tell ingress-nginx to ask another server")
	}
	var servers strings.Builder
	servers.WriteString("upstream servers {\n")
	for _, p := range pods {
		if kube.Ready(&p) {
			fmt.Fprintf(&servers, " server %s:8000 max_fails=1 fail_timeout=10s;\n", p.Status.PodIP)
		}
	}
	fmt.Fprintf(&servers, "}\nserver {\n listen %s;\n location / { proxy_pass http://servers; proxy_set_header Host $http_host; proxy_next_upstream %s; proxy_connect_timeout 1s; proxy_read_timeout 5s; }\n}\n", address, again)
	return runNginx(t, nginx, address, servers.String())
}

// testServers measures one, two and four servers on one node. They share its cores, with
// each other and with the users, so this says what more servers cost, not what more nodes
// bring.
func testServers(t *testing.T, f *faults) {
	defer func() {
		f.scale(t, "inference", 1)
		f.servers(t, func(n int) bool { return n == 1 })
	}()
	for _, n := range []int{1, 2, 4} {
		f.scale(t, "inference", n)
		f.servers(t, func(ready int) bool { return ready == n })
		report, err := loadtest.Run(t.Context(), loadtest.Config{Target: inference, Users: []int{50}, Duration: 15 * time.Second})
		if err != nil || len(report.Stages) != 1 {
			t.Fatalf("the load test: %d stages, %v", len(report.Stages), err)
		}
		s := report.Stages[0]
		if s.Failed > 0 {
			t.Errorf("%d servers: %d of %d requests failed", n, s.Failed, s.Requests)
		}
		t.Logf("%d servers, 50 users: %.0f requests/s, p50 %.2f ms, p95 %.2f ms, p99 %.2f ms", n, s.PerSecond, s.Latency.P50, s.Latency.P95, s.Latency.P99)
		f.m.note(t, fmt.Sprintf("%d servers on one node, 50 users", n), s.PerSecond, "requests/s", "")
		f.m.note(t, fmt.Sprintf("%d servers on one node, 50 users, p99", n), s.Latency.P99, "ms", "")
	}
}
