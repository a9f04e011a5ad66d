//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"mlops/internal/api"
	"mlops/internal/kube"
	"mlops/internal/mlflow"
	"mlops/internal/overview"
	"mlops/internal/registry"
	"mlops/loadtest"
)

// outcome is a row of the table of faults.
type outcome struct {
	fault            string
	replicas         int // of inference
	requests, failed int64
	longest          time.Duration // until a successful response
	recovery         time.Duration // from the fault until everything worked again
	exact            bool          // rows, versions and predictions
}

// share is how many of the requests succeeded, in percent.
func (o outcome) share() float64 {
	if o.requests == 0 {
		return 0
	}
	return 100 * (1 - float64(o.failed)/float64(o.requests))
}

// most is how long the platform may take to work again after a fault.
const most = 5 * time.Minute

// after is how long requests go on once it does.
const after = 3 * time.Second

// fault breaks something while ten users ask for predictions, waits without a hand on
// it until everything works again, and holds rows, versions and predictions against
// those from before. At least the share least of the requests, in percent, has to
// succeed.
func (f *faults) fault(t *testing.T, name string, least float64, inject func(t *testing.T)) {
	t.Helper()
	f.observe(t, name, least, func(t *testing.T) time.Duration {
		began := time.Now()
		inject(t)
		eventually(t, most, func() error { return f.works(t) })
		return time.Since(began)
	})
}

// observe is fault where inject also waits, and returns how long the recovery took.
func (f *faults) observe(t *testing.T, name string, least float64, inject func(t *testing.T) time.Duration) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		o := outcome{fault: name, replicas: len(readyServers(t, f.r))}
		defer func() {
			o.exact = !t.Failed()
			f.outcomes = append(f.outcomes, o)
		}()
		view := served(t, inference)
		records := firstRecords(t, f.table, predicted)
		was := predictions(t, inference, records)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan loadtest.Report, 1)
		go func() {
			report, err := loadtest.Run(ctx, loadtest.Config{Target: f.base, Users: []int{10}, Think: 20 * time.Millisecond, Duration: 20 * time.Minute})
			if err != nil && len(report.Stages) == 0 {
				t.Errorf("the load test: %v", err)
			}
			done <- report
		}()
		time.Sleep(after)
		o.recovery = inject(t)
		time.Sleep(after)
		cancel()
		report := <-done
		for _, s := range report.Stages {
			o.requests, o.failed, o.longest = s.Requests, s.Failed, time.Duration(s.Latency.Max*float64(time.Millisecond))
			if len(s.Failures) > 0 {
				t.Logf("%d failed, the first: %+v", s.Failed, s.Failures[0])
			}
		}
		t.Logf("%d of %d requests failed, the longest took %v, recovery after %v", o.failed, o.requests, o.longest.Round(time.Millisecond), o.recovery.Round(100*time.Millisecond))
		if o.share() < least {
			t.Errorf("%.3f %% of the requests succeeded, want %.2f %%", o.share(), least)
		}
		f.whole(t)
		if again := served(t, inference); again.Model.RunID == view.Model.RunID && !bytes.Equal(was, predictions(t, inference, records)) {
			t.Errorf("%d records are answered otherwise than before", predicted)
		}
	})
}

// works returns what of the release does not work yet.
func (f *faults) works(t *testing.T) error {
	selector := metav1.ListOptions{LabelSelector: "app.kubernetes.io/instance=" + f.r.Name}
	deployments, err := f.r.Client.AppsV1().Deployments(f.r.Namespace).List(t.Context(), selector)
	if err != nil {
		return err
	}
	sets, err := f.r.Client.AppsV1().StatefulSets(f.r.Namespace).List(t.Context(), selector)
	if err != nil {
		return err
	}
	if len(deployments.Items) == 0 || len(sets.Items) == 0 {
		return fmt.Errorf("the release has %d deployments and %d stateful sets", len(deployments.Items), len(sets.Items))
	}
	for _, d := range deployments.Items {
		if s := d.Status; s.ObservedGeneration < d.Generation || s.ReadyReplicas != *d.Spec.Replicas || s.Replicas != *d.Spec.Replicas {
			return fmt.Errorf("deployment %s: %d of %d pods are ready", d.Name, s.ReadyReplicas, *d.Spec.Replicas)
		}
	}
	for _, d := range sets.Items {
		if s := d.Status; s.ObservedGeneration < d.Generation || s.ReadyReplicas != *d.Spec.Replicas {
			return fmt.Errorf("stateful set %s: %d of %d pods are ready", d.Name, s.ReadyReplicas, *d.Spec.Replicas)
		}
	}
	// A pod that has died is ready until the kubelet has looked again.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	user, password, err := f.r.MLflowLogin(ctx, "steps")
	if err != nil {
		return err
	}
	forwarded, err := f.r.Forward(ctx, f.r.Service("mlflow"), 5000, 0)
	if err != nil {
		return err
	}
	defer forwarded.Close()
	client, err := mlflow.New(forwarded.URL, mlflow.Options{Transport: forwarded.Transport, Username: user, Password: password, Tries: 1})
	if err != nil {
		return err
	}
	reg := registry.New(client, f.spec.Model)
	production, err := reg.Production(ctx)
	if err != nil {
		return err
	}
	if _, err := reg.Load(ctx, production); err != nil { // by way of the S3 store
		return err
	}
	if _, err := api.NewClient(inference, nil).Model(ctx); err != nil {
		return err
	}
	connect, closed, err := f.r.Databases(ctx)
	if err != nil {
		return err
	}
	defer closed()
	_, err = overview.Databases(connect).Count(ctx, f.spec.Name)
	return err
}

// victim is a ready pod of a part of the release.
func (f *faults) victim(t *testing.T, part string) *corev1.Pod {
	t.Helper()
	pods, err := f.r.Pods(t.Context(), "app.kubernetes.io/component="+part+",app.kubernetes.io/instance="+f.r.Name)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(pods, func(p corev1.Pod) bool { return kube.Ready(&p) })
	if i < 0 {
		t.Fatalf("none of %d pods of %s is ready", len(pods), part)
	}
	return &pods[i]
}

// remove deletes a pod as a drained node does, and waits until it has gone.
func (f *faults) remove(t *testing.T, part string) {
	t.Helper()
	p := f.victim(t, part)
	if err := f.r.Client.CoreV1().Pods(f.r.Namespace).Delete(t.Context(), p.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Minute, func() error {
		now, err := f.r.Client.CoreV1().Pods(f.r.Namespace).Get(t.Context(), p.Name, metav1.GetOptions{})
		if err == nil && now.UID == p.UID {
			return fmt.Errorf("pod %s is still there", p.Name)
		}
		return nil
	})
}

// processes returns the IDs on this machine of all processes of a pod.
func processes(t *testing.T, p *corev1.Pod) []int {
	t.Helper()
	var pids []int
	for _, c := range p.Status.ContainerStatuses {
		_, id, _ := strings.Cut(c.ContainerID, "://")
		groups, err := filepath.Glob("/proc/[0-9]*/cgroup")
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range groups {
			text, err := os.ReadFile(path)
			if err != nil || id == "" || !strings.Contains(string(text), id) {
				continue // it has ended since, or is another's
			}
			var pid int
			if _, err := fmt.Sscanf(path, "/proc/%d/cgroup", &pid); err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// anyProcess is one of them.
func anyProcess(t *testing.T, p *corev1.Pod) int {
	t.Helper()
	pids := processes(t, p)
	if len(pids) == 0 {
		t.Fatalf("pod %s has no process on this machine", p.Name)
	}
	return pids[0]
}

// signal sends a signal to all processes of a pod.
func (f *faults) signal(t *testing.T, p *corev1.Pod, sig syscall.Signal) {
	t.Helper()
	sent := 0
	for _, pid := range processes(t, p) {
		if err := syscall.Kill(pid, sig); err == nil {
			sent++
		}
	}
	if sent == 0 {
		t.Fatalf("no process of pod %s got a signal", p.Name)
	}
}

var firstPID = regexp.MustCompile(`(?m)^NSpid:.*\s1$`)

// first reports whether a process is the first one of its container.
func first(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err != nil || firstPID.Match(text)
}

// killServer kills the process that serves predictions, but not its parent, and waits
// until there is another one.
func (f *faults) killServer(t *testing.T) {
	t.Helper()
	p := f.victim(t, "inference")
	var was []int
	eventually(t, 10*time.Second, func() error { // what the API says of a pod may be old
		p = f.victim(t, "inference")
		if was = slices.DeleteFunc(processes(t, p), first); len(was) != 1 {
			return fmt.Errorf("pod %s has the processes %v beside its first, want one: %+v", p.Name, was, p.Status.ContainerStatuses)
		}
		return nil
	})
	if err := syscall.Kill(was[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, func() error {
		if now := slices.DeleteFunc(processes(t, p), first); len(now) != 1 || now[0] == was[0] {
			return fmt.Errorf("the server's processes are %v", now)
		}
		return nil
	})
}

// crash kills a pod's processes, and waits until its container was started again.
func (f *faults) crash(t *testing.T, part string) {
	t.Helper()
	p := f.victim(t, part)
	f.signal(t, p, syscall.SIGKILL)
	eventually(t, 2*time.Minute, func() error {
		now, err := f.r.Client.CoreV1().Pods(f.r.Namespace).Get(t.Context(), p.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if now.UID == p.UID && now.Status.ContainerStatuses[0].RestartCount == p.Status.ContainerStatuses[0].RestartCount {
			return fmt.Errorf("pod %s was not started again", p.Name)
		}
		return nil
	})
}

// freeze stops a pod's processes for a while: a node that hangs, or a disk that does.
func (f *faults) freeze(t *testing.T, part string, d time.Duration) {
	t.Helper()
	p := f.victim(t, part)
	f.signal(t, p, syscall.SIGSTOP)
	time.Sleep(d)
	f.signal(t, p, syscall.SIGCONT)
}

// away takes parts of the release away for a while, as a network does that is cut.
func (f *faults) away(t *testing.T, d time.Duration, parts ...string) {
	t.Helper()
	for _, part := range parts {
		f.scale(t, part, 0)
	}
	time.Sleep(d)
	for _, part := range parts {
		f.scale(t, part, 1)
	}
}

// scale sets how many pods a part of the release has.
func (f *faults) scale(t *testing.T, part string, n int) {
	t.Helper()
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, n)
	apps := f.r.Client.AppsV1()
	_, err := apps.Deployments(f.r.Namespace).Patch(t.Context(), f.r.Service(part), types.MergePatchType, patch, metav1.PatchOptions{})
	if apierrors.IsNotFound(err) {
		_, err = apps.StatefulSets(f.r.Namespace).Patch(t.Context(), f.r.Service(part), types.MergePatchType, patch, metav1.PatchOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// admin connects to a database of the release as Postgres' superuser.
func (f *faults) admin(t *testing.T, database string) (*pgx.Conn, error) {
	t.Helper()
	secret, err := f.r.Secret(t.Context(), "postgres")
	if err != nil {
		return nil, err
	}
	u := url.URL{Scheme: "postgres", User: url.UserPassword("postgres", secret["postgres-password"]), Path: "/" + database, RawQuery: "sslmode=prefer"}
	u.Host = strings.TrimPrefix(forward(t, f.r, "postgres", 5432), "http://")
	return pgx.Connect(t.Context(), u.String())
}

// scaled runs a test with two servers instead of one.
func (f *faults) scaled(t *testing.T, test func()) {
	t.Helper()
	scale := func(n int) {
		f.scale(t, "inference", n)
		eventually(t, 2*time.Minute, func() error {
			if ready := readyServers(t, f.r); len(ready) != n {
				return fmt.Errorf("%d servers are ready, want %d", len(ready), n)
			}
			return nil
		})
	}
	scale(2)
	defer scale(1)
	test()
}

// report writes the table, for people and for the documents.
func (f *faults) report(t *testing.T) {
	t.Helper()
	var text, page strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "fault\tservers\tfailed\tof\tsucceeded\tlongest\trecovery\texact")
	fmt.Fprintf(&page, "| fault | servers | failed of requests | longest response | until all works | exact |\n|---|---|---|---|---|---|\n")
	exact := 0
	for _, o := range f.outcomes {
		word := "no"
		if o.exact {
			word = "yes"
			exact++
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%.3f %%\t%v\t%v\t%s\n", o.fault, o.replicas, o.failed, o.requests, o.share(), o.longest.Round(time.Millisecond), o.recovery.Round(100*time.Millisecond), word)
		fmt.Fprintf(&page, "| %s | %d | %d of %d | %.0f ms | %.1f s | %s |\n", o.fault, o.replicas, o.failed, o.requests, float64(o.longest.Microseconds())/1000, o.recovery.Seconds(), word)
	}
	w.Flush()
	t.Logf("%d of %d faults left rows, versions and predictions exact\n%s", exact, len(f.outcomes), text.String())
	if err := os.WriteFile(filepath.Join(f.m.root, "dist", "faults.md"), []byte(page.String()), 0o644); err != nil {
		t.Error(err)
	}
	f.m.note(t, "faults with rows, versions and predictions exact", float64(exact), fmt.Sprintf("of %d", len(f.outcomes)), "25 of 25")
}
