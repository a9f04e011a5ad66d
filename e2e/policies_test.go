//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"mlops/internal/kube"
	"mlops/internal/versions"
)

const netpol = "kube-network-policies"

// testPolicies has the cluster enforce NetworkPolicies, connects from each of the
// release's pods to every port of every other, and compares what succeeds with
// docs/reference/connections.md. Then the pipeline runs once under them.
func testPolicies(t *testing.T, f *faults) {
	m, r := f.m, f.r
	m.enforce(t, r)
	from := map[string]*corev1.Pod{}
	for _, part := range []string{"argo-controller", "argo-server", "inference", "loadtest", "minio", "mlflow", "postgres", "postgres-exporter", "prometheus", "ui"} {
		from[part] = f.victim(t, part)
	}
	to := maps.Clone(from)
	// Pods that come and go, or that are nobody's, are stood in for by ones that wait.
	for _, step := range []string{"load-raw-data", "process-data", "load-val-test-data", "train-model", "promote-best-model", "score-batch", "backup", "restore", "setup"} {
		labels := map[string]string{"app.kubernetes.io/name": "mlops", "app.kubernetes.io/part-of": "mlops", "app.kubernetes.io/component": step}
		if step == "setup" {
			labels["app.kubernetes.io/instance"] = r.Name
		} else {
			labels["workflows.argoproj.io/workflow"] = "w"
		}
		from[step] = idle(t, r, step, labels)
	}
	const stranger, outsider = "another pod of the namespace", "everyone outside"
	from[stranger] = idle(t, r, "stranger", map[string]string{"app": "stranger"})
	elsewhere := m.namespace(t, "elsewhere")
	from[outsider] = idle(t, elsewhere, "outsider", nil)
	resolver, err := r.Client.CoreV1().Pods("kube-system").List(t.Context(), metav1.ListOptions{LabelSelector: "k8s-app=kube-dns"})
	if err != nil || len(resolver.Items) == 0 {
		t.Fatalf("no DNS: %v", err)
	}
	to["DNS"] = &resolver.Items[0]

	want := connectionsPage(t, m)
	delete(want, "grafana") // its image can't be had here
	for _, name := range slices.Collect(maps.Keys(want)) {
		if from[name] == nil { // load-test and test are Jobs of their own, of no workflow
			delete(want, name)
		}
	}
	// make up opens MLflow's, Argo's and the load tester's NodePorts, not Prometheus'.
	want[outsider] = slices.DeleteFunc(want[outsider], func(to string) bool { return strings.HasPrefix(to, "prometheus:") })
	want[stranger] = want[outsider]
	var got map[string][]string
	// The enforcer hears of new pods a little later.
	for try := 0; try < 3; try++ {
		got = connections(t, from, to)
		for _, name := range []string{stranger, outsider} { // whom the release's policies do not select
			got[name] = slices.DeleteFunc(got[name], func(to string) bool { return strings.HasPrefix(to, "DNS") })
		}
		if cmp.Equal(want, got) {
			break
		}
		time.Sleep(3 * time.Second)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("connections (-docs/reference/connections.md +cluster):\n%s", diff)
	} else {
		t.Logf("%d pods connected to %d ports of %d others each, as the page says", len(from), len(triedPorts), len(to))
	}

	api, err := r.Client.CoreV1().Endpoints("default").Get(t.Context(), "kubernetes", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	address := net.JoinHostPort(api.Subsets[0].Addresses[0].IP, strconv.Itoa(int(api.Subsets[0].Ports[0].Port)))
	// The set-up Job needs it for a first run only, which make up starts itself.
	for name, may := range map[string]bool{"argo-controller": true, "argo-server": true, "train-model": true, "setup": false, "inference": false, "loadtest": false, "ui": false, "mlflow": false, "prometheus": false, "postgres": false} {
		if reached := reaches(t, anyProcess(t, from[name]), address); reached != may {
			t.Errorf("%s reaches Kubernetes' API: %v, want %v", name, reached, may)
		}
	}

	f.observe(t, "the pipeline with enforced network policies", always, func(t *testing.T) time.Duration {
		return took(f.follow(t, f.anew(t, "enforced")))
	})
}

// enforce runs a program on the node that drops what NetworkPolicies don't allow, until
// the test ends.
func (m *machine) enforce(t *testing.T, r *kube.Release) {
	t.Helper()
	dir := t.TempDir()
	m.must(t, nil, "go", "run", "-trimpath", "-buildvcs=false", "./tools/images", "-out", dir, netpol)
	m.must(t, nil, filepath.Join(m.home, "bin", "cluster"), "import", filepath.Join(dir, "images", netpol+".tar"))
	name := metav1.ObjectMeta{Name: netpol}
	system := metav1.ObjectMeta{Name: netpol, Namespace: "kube-system"}
	labels := map[string]string{"k8s-app": netpol}
	daemon := &appsv1.DaemonSet{ObjectMeta: system, Spec: appsv1.DaemonSetSpec{
		Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
			HostNetwork: true, ServiceAccountName: netpol, TerminationGracePeriodSeconds: ptr.To(int64(1)),
			Containers: []corev1.Container{{
				Name: netpol, Image: "mlops.local/" + netpol + ":" + versions.NetPol, ImagePullPolicy: corev1.PullNever,
				// Without it, what its queue should decide passes.
				Args:            []string{"--hostname-override=$(NODE)", "--fail-open", "--disable-nri", "--nfqueue-id=98", "--metrics-bind-address=127.0.0.1:17498"},
				Env:             []corev1.EnvVar{{Name: "NODE", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nodeName"}}}},
				SecurityContext: &corev1.SecurityContext{Privileged: ptr.To(true)},
			}},
		}},
	}}
	client := r.Client
	account, err := client.CoreV1().ServiceAccounts("kube-system").Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: system}, metav1.CreateOptions{})
	if err == nil {
		_, err = client.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: name, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"pods", "namespaces", "nodes"}, Verbs: []string{"get", "list", "watch"}},
			{APIGroups: []string{"networking.k8s.io"}, Resources: []string{"networkpolicies"}, Verbs: []string{"list", "watch"}},
		}}, metav1.CreateOptions{})
	}
	if err == nil {
		_, err = client.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: name,
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: netpol},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: account.Name, Namespace: account.Namespace}}}, metav1.CreateOptions{})
	}
	if err == nil {
		_, err = client.AppsV1().DaemonSets("kube-system").Create(t.Context(), daemon, metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.unenforce(t, r) })
	eventually(t, time.Minute, func() error {
		d, err := client.AppsV1().DaemonSets("kube-system").Get(t.Context(), netpol, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if d.Status.NumberReady != 1 {
			return fmt.Errorf("%s: %+v", netpol, d.Status)
		}
		queues, err := os.ReadFile("/proc/net/netfilter/nfnetlink_queue")
		if err == nil && !regexp.MustCompile(`(?m)^ *98 `).Match(queues) {
			err = fmt.Errorf("%s reads no queue:\n%s", netpol, queues)
		}
		return err
	})
	for _, rule := range queued {
		m.must(t, nil, append([]string{"iptables", "-w", "10", "-t", "mangle"}, strings.Fields(rule)...)...)
	}
}

// queued are the rules that give the enforcer the first packet of each connection of a
// pod. It makes rules of nftables itself, in which not every kernel has queues, and
// none for what pods send to the node.
var queued = []string{
	"-N MLOPS-E2E-OUT",
	"-A MLOPS-E2E-OUT -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN",
	"-A MLOPS-E2E-OUT -m owner --uid-owner 0 -j RETURN", // the node's own: the kubelet's probes
	"-A MLOPS-E2E-OUT -s 10.213.0.0/18 -j NFQUEUE --queue-num 98 --queue-bypass",
	"-A MLOPS-E2E-OUT -d 10.213.0.0/18 -j NFQUEUE --queue-num 98 --queue-bypass",
	"-A POSTROUTING -j MLOPS-E2E-OUT",
	"-N MLOPS-E2E-IN",
	"-A MLOPS-E2E-IN -s 10.213.0.0/18 -m conntrack --ctstate NEW -j NFQUEUE --queue-num 98 --queue-bypass",
	"-A INPUT -j MLOPS-E2E-IN",
}

// unenforce takes away what enforce made.
func (m *machine) unenforce(t *testing.T, r *kube.Release) {
	ctx := context.WithoutCancel(t.Context())
	var failed []error
	failed = append(failed, r.Client.AppsV1().DaemonSets("kube-system").Delete(ctx, netpol, metav1.DeleteOptions{}),
		r.Client.CoreV1().ServiceAccounts("kube-system").Delete(ctx, netpol, metav1.DeleteOptions{}),
		r.Client.RbacV1().ClusterRoleBindings().Delete(ctx, netpol, metav1.DeleteOptions{}),
		r.Client.RbacV1().ClusterRoles().Delete(ctx, netpol, metav1.DeleteOptions{}))
	for _, undo := range []string{"-D POSTROUTING -j MLOPS-E2E-OUT", "-D INPUT -j MLOPS-E2E-IN", "-F MLOPS-E2E-OUT", "-F MLOPS-E2E-IN", "-X MLOPS-E2E-OUT", "-X MLOPS-E2E-IN"} {
		failed = append(failed, exec.Command("iptables", append([]string{"-w", "10", "-t", "mangle"}, strings.Fields(undo)...)...).Run())
	}
	// The program's own rules, where the kernel takes them, stay behind when it ends.
	if err := exec.Command("nft", "delete", "table", "inet", netpol).Run(); err != nil {
		t.Logf("%s has left no rules of nftables: %v", netpol, err)
	}
	if err := errors.Join(slices.DeleteFunc(failed, apierrors.IsNotFound)...); err != nil {
		t.Errorf("removing what enforced the policies: %v", err)
	}
}

// idle makes a pod that does nothing, deleted when the test ends.
func idle(t *testing.T, r *kube.Release, name string, labels map[string]string) *corev1.Pod {
	t.Helper()
	pods := r.Client.CoreV1().Pods(r.Namespace)
	_, err := pods.Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "idle-" + name, Labels: labels}, Spec: corev1.PodSpec{
		AutomountServiceAccountToken: ptr.To(false), TerminationGracePeriodSeconds: ptr.To(int64(1)),
		SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To(int64(65532)), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
		Containers: []corev1.Container{{Name: "idle", Image: "mlops.local/pause:1", ImagePullPolicy: corev1.PullNever,
			SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: ptr.To(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}}},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pods.Delete(context.WithoutCancel(t.Context()), "idle-"+name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
	var p *corev1.Pod
	eventually(t, time.Minute, func() (err error) {
		if p, err = pods.Get(t.Context(), "idle-"+name, metav1.GetOptions{}); err == nil && !kube.Ready(p) {
			err = fmt.Errorf("%s: %+v", p.Name, p.Status.ContainerStatuses)
		}
		return err
	})
	return p
}

// triedPorts are those that pods of the release or of DNS listen on, and some that none does.
var triedPorts = []int{22, 53, 2746, 3000, 5000, 5432, 6060, 8000, 8080, 8089, 8501, 9000, 9001, 9090, 9187, 17249}

// connections connects from each pod to every port of each other.
func connections(t *testing.T, from, to map[string]*corev1.Pod) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	var all sync.WaitGroup
	var one sync.Mutex
	slots := make(chan struct{}, 200)
	for name, source := range from {
		pid := anyProcess(t, source)
		for other, target := range to {
			if name == other {
				continue
			}
			for _, port := range triedPorts {
				slots <- struct{}{}
				all.Go(func() {
					defer func() { <-slots }()
					if !reaches(t, pid, net.JoinHostPort(target.Status.PodIP, strconv.Itoa(port))) {
						return
					}
					one.Lock()
					defer one.Unlock()
					at := fmt.Sprintf("%s:%d", other, port)
					if at == "DNS:53" {
						at = "DNS" // as the page has it
					}
					found[name] = append(found[name], at)
				})
			}
		}
	}
	all.Wait()
	for _, list := range found {
		slices.Sort(list)
	}
	return found
}

// reaches reports whether a packet from the network of a process comes to an address: it
// is let in, or refused because nobody listens. One that is dropped gets no answer.
func reaches(t *testing.T, pid int, address string) bool {
	t.Helper()
	done := make(chan bool, 1)
	// The thread that enters the pod's network is not used for anything else, and ends
	// with its goroutine.
	go func() {
		runtime.LockOSThread()
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
		if err == nil {
			defer ns.Close()
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		}
		if err != nil {
			t.Errorf("entering the network of process %d: %v", pid, err)
			done <- false
			return
		}
		c, err := (&net.Dialer{Timeout: 1500 * time.Millisecond}).Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		done <- err == nil || errors.Is(err, syscall.ECONNREFUSED)
	}()
	return <-done
}

var onPage = regexp.MustCompile(`^\| ([^|]+) \| ([^|]+) \|$`)

// connectionsPage reads whom each end may connect to on the cluster of `make up`, without
// the ends that are not pods.
func connectionsPage(t *testing.T, m *machine) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(m.root, "docs", "reference", "connections.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## With the address of Kubernetes' API")
	section, _, _ = strings.Cut(section, "\n## ")
	page := map[string][]string{}
	for line := range strings.Lines(section) {
		row := onPage.FindStringSubmatch(strings.TrimSpace(line))
		if row == nil || row[1] == "from" || row[1] == "---" {
			continue
		}
		for to := range strings.SplitSeq(row[2], ", ") {
			other, _, _ := strings.Cut(to, ":")
			if other == "Kubernetes' API" || other == "the web" || other == "a client outside" || other == "grafana" {
				continue
			}
			page[row[1]] = append(page[row[1]], to)
		}
		slices.Sort(page[row[1]])
	}
	if len(page) < 10 {
		t.Fatalf("the page has %d rows", len(page))
	}
	return page
}
