package host

import (
	"slices"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
)

func TestMountsBelow(t *testing.T) {
	const table = `22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
31 22 0:27 / /sys/fs/cgroup/unified rw,relatime shared:9 master:1 - cgroup2 cgroup2 rw
40 22 0:40 / /home/a\040b/cluster/kubelet/pods/1 rw,relatime - tmpfs tmpfs rw
41 40 0:41 / /home/a\040b/cluster/kubelet/pods/1/sub rw,relatime - tmpfs tmpfs rw
42 22 0:42 / /home/a\040b/cluster/kubelet-of-others rw,relatime - tmpfs tmpfs rw
43 22 0:4 net:[4026532] /run/mlops-cluster/netns/x//deleted rw shared:5 - nsfs nsfs rw`
	ms, err := mountinfo.GetMountsFromReader(strings.NewReader(table), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(ms) != 7 {
		t.Fatalf("mounts: got %d, want 7: %v", len(ms), ms)
	}
	if ms[2].FSType != "cgroup2" {
		t.Errorf("type behind two optional fields: got %q, want cgroup2", ms[2].FSType)
	}
	want := []string{"/run/mlops-cluster/netns/x", "/home/a b/cluster/kubelet/pods/1/sub", "/home/a b/cluster/kubelet/pods/1"}
	if got := below(ms, []string{"/home/a b/cluster/kubelet", "/run/mlops-cluster"}); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q: the last mounted first, and nothing whose name only begins alike", got, want)
	}
}
