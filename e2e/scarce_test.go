//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// testScarce takes memory, room and bandwidth away.
func testScarce(t *testing.T, f *faults) {
	f.fault(t, "the only server's container runs out of memory", single, f.exhaust)
	for _, part := range []string{"postgres", "minio"} {
		f.observe(t, "the volume of "+part+" full while the pipeline runs", always, func(t *testing.T) time.Duration {
			began := time.Now()
			f.fill(t, part)
			eventually(t, most, func() error { return f.works(t) })
			return time.Since(began)
		})
	}
	f.observe(t, "Postgres and MLflow reached at 10 Mbit/s while the pipeline runs", always, func(t *testing.T) time.Duration {
		for _, part := range []string{"postgres", "mlflow"} {
			defer f.slow(t, part, "10mbit")()
		}
		return took(f.follow(t, f.anew(t, "slow-network")))
	})
}

// hog takes memory in the control group that it is started in, until the memory of a
// process has gone.
const hog = `
import os, sys, time
def resident():
    try:
        with open("/proc/" + sys.argv[1] + "/statm") as f:
            return int(f.read().split()[1])
    except OSError:
        return 0
taken, before = [], resident()
while resident() > before / 2 and len(taken) < 4096:
    taken.append(bytearray(os.urandom(1) * (1 << 20)))
    time.sleep(0.003)
`

// exhaust takes all of the memory of the server's container, until the kernel has killed
// the server for it. What a server takes goes with it, so its parent is stopped until
// the memory that was taken here has gone too.
func (f *faults) exhaust(t *testing.T) {
	t.Helper()
	p := f.victim(t, "inference")
	var server, parent int
	for _, pid := range processes(t, p) {
		if first(pid) {
			parent = pid
		} else {
			server = pid
		}
	}
	if server == 0 || parent == 0 {
		t.Fatalf("the server is process %d and its parent %d", server, parent)
	}
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", server))
	if err != nil {
		t.Fatal(err)
	}
	group := ""
	for line := range strings.Lines(string(groups)) {
		if at := strings.SplitN(strings.TrimSpace(line), ":", 3); len(at) == 3 && at[1] == "memory" {
			group = "/sys/fs/cgroup/memory" + at[2]
		} else if len(at) == 3 && at[0] == "0" && at[1] == "" && group == "" {
			group = "/sys/fs/cgroup" + at[2]
		}
	}
	if err := syscall.Kill(parent, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(parent, syscall.SIGCONT)
	// The kernel kills the process with the highest score: a pod's, not this one.
	cmd := exec.CommandContext(t.Context(), "bash", "-c", `echo $$ > "$1/cgroup.procs" && exec python3 -c "$2" "$3"`,
		"bash", group, hog, strconv.Itoa(server))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("taking memory in %s: %v: %s", group, err, out)
	}
	if err := syscall.Kill(parent, syscall.SIGCONT); err != nil {
		t.Fatalf("the parent was killed too: %v", err)
	}
	eventually(t, 10*time.Second, func() error {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", server)); err == nil {
			return fmt.Errorf("the server %d still runs", server)
		}
		return nil
	})
}

// fill moves the volume of a part to a small disk, lets the pipeline fail for want of
// room, and makes room: the pipeline then ends well.
func (f *faults) fill(t *testing.T, part string) {
	t.Helper()
	claim := "data-" + f.r.Service(part) + "-0"
	pvc, err := f.r.Client.CoreV1().PersistentVolumeClaims(f.r.Namespace).Get(t.Context(), claim, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pv, err := f.r.Client.CoreV1().PersistentVolumes().Get(t.Context(), pvc.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	dir := pv.Spec.Local.Path
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	down := func() {
		f.scale(t, part, 0)
		eventually(t, time.Minute, func() error {
			pods, err := f.r.Pods(t.Context(), "app.kubernetes.io/component="+part+",app.kubernetes.io/instance="+f.r.Name)
			if err == nil && len(pods) > 0 {
				err = fmt.Errorf("%s still runs", pods[0].Name)
			}
			return err
		})
	}
	up := func() {
		f.scale(t, part, 1)
		eventually(t, time.Minute, func() error { return f.works(t) })
	}
	down()
	f.m.must(t, nil, "mount", "-t", "tmpfs", "-o", "size=8g", "tmpfs", disk)
	f.m.must(t, nil, "cp", "-a", dir+"/.", disk+"/")
	f.m.must(t, nil, "chown", "--reference="+dir, disk)
	f.m.must(t, nil, "chmod", "--reference="+dir, disk)
	f.m.must(t, nil, "mount", "--bind", disk, dir)
	defer func() {
		down()
		f.m.must(t, nil, "umount", dir)
		f.m.must(t, nil, "find", dir, "-mindepth", "1", "-delete")
		f.m.must(t, nil, "cp", "-a", disk+"/.", dir+"/")
		f.m.must(t, nil, "umount", disk)
		up()
	}()
	up()
	source := f.fresh(t, "full-"+part)
	if part == "postgres" {
		admin, err := f.admin(t, "raw")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := admin.Exec(t.Context(), "CHECKPOINT"); err != nil { // the dropped tables' room is free then
			t.Fatal(err)
		}
		admin.Close(t.Context())
	}
	used := strings.Fields(f.m.must(t, nil, "df", "--output=used", "-k", disk))
	kib, err := strconv.Atoi(used[len(used)-1])
	if err != nil {
		t.Fatal(err)
	}
	// Room for what services do when idle, not for a table or a model.
	f.m.must(t, nil, "mount", "-o", fmt.Sprintf("remount,size=%dk", kib+room[part]), disk)
	parameters := map[string]string{"source": source}
	name, err := f.r.Submit(t.Context(), "full-"+part+"-", "pipeline", parameters, nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := f.r.Follow(t.Context(), name, nil)
	if err == nil {
		t.Errorf("the pipeline ended well on a full disk of %s", part)
	} else if part == "postgres" && !strings.Contains(err.Error(), "volume is full") {
		t.Errorf("the pipeline does not say that the volume is full: %v", err)
	}
	if w != nil {
		t.Logf("on a full disk: %s after %s: %v", w.Status.Phase, took(w), err)
	}
	served(t, inference)
	f.m.must(t, nil, "mount", "-o", "remount,size=8g", disk)
	eventually(t, time.Minute, func() error { return f.works(t) })
	again, err := f.r.Submit(t.Context(), name+"-again", "pipeline", parameters, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.follow(t, again)
}

// room is how much a disk that is about to be full has left, in KiB.
var room = map[string]int{"postgres": 24 << 10, "minio": 2 << 10}

// slow bounds the rate of what a part sends and gets, until the function it returns is
// called.
func (f *faults) slow(t *testing.T, part, rate string) (undo func()) {
	t.Helper()
	p := f.victim(t, part)
	link := veth(t, p)
	f.m.must(t, nil, "tc", "qdisc", "add", "dev", link, "root", "tbf", "rate", rate, "burst", "32kbit", "latency", "400ms")
	return func() { f.m.must(t, nil, "tc", "qdisc", "del", "dev", link, "root") }
}

// veth is the end of a pod's network on this machine.
func veth(t *testing.T, p *corev1.Pod) string {
	t.Helper()
	pid := anyProcess(t, p)
	index, err := exec.CommandContext(t.Context(), "nsenter", "-t", strconv.Itoa(pid), "-n", "ip", "-o", "link", "show", "dev", "eth0").Output()
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(index), "eth0@if")
	number, _, _ := strings.Cut(after, ":")
	links, err := filepath.Glob("/sys/class/net/*/ifindex")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range links {
		if text, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(text)) == number && number != "" {
			return filepath.Base(filepath.Dir(path))
		}
	}
	t.Fatalf("no link %q of pod %s: %s", number, p.Name, index)
	return ""
}
