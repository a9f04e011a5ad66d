package build

import (
	"log/slog"
	"strings"
	"testing"
	"testing/fstest"
)

const mod = `module mlops/tools/cluster

go 1.26.7

require k8s.io/kubernetes v1.37.2

require (
	github.com/containerd/containerd/v2 v2.4.2 // indirect
	github.com/prometheus/prometheus v0.316.0 // indirect
	helm.sh/helm/v3 v3.22.0 // indirect
)

replace (
	k8s.io/api => k8s.io/api v0.37.2
)
`

func TestFlagsStateTheVersionsOfGoMod(t *testing.T) {
	v := versions(mod)
	for _, tt := range []struct{ program, want string }{
		{"kube", "-X k8s.io/component-base/version.gitVersion=v1.37.2 -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37"},
		{"helm3", "helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=37"},
		{"helm3", "helm.sh/helm/v3/internal/version.version=v3.22.0"},
		{"containerd", "containerd/v2/version.Version=2.4.2"},
		{"prometheus", "version.Version=3.16.0"},
	} {
		p, err := Find(tt.program)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.flags(v); !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %q, want in it %q", tt.program, got, tt.want)
		}
	}
	if _, err := Find("kubeadm"); err == nil || !strings.Contains(err.Error(), "kubectl") {
		t.Errorf("a program that there is not: got %v, want the list of those that are", err)
	}
}

func TestDigestFollowsTheSource(t *testing.T) {
	dir := func(change map[string]string) string {
		fs := fstest.MapFS{"go.mod": {Data: []byte(mod)}, "go.sum": {}, "node/etcd/main.go": {Data: []byte("package main")}}
		for name, text := range change {
			fs[name] = &fstest.MapFile{Data: []byte(text)}
		}
		b, err := New(fs, "/cache", slog.Default())
		if err != nil {
			t.Fatal(err)
		}
		return b.Dir
	}
	base := dir(nil)
	if !strings.HasPrefix(base, "/cache/node/") {
		t.Errorf("got %q", base)
	}
	for _, tt := range []struct {
		change map[string]string
		same   bool
		why    string
	}{
		{nil, true, "nothing"},
		{map[string]string{"node/etcd/main_test.go": "package main"}, true, "a test"},
		{map[string]string{"node/etcd/main.go": "package main // other"}, false, "a program"},
		{map[string]string{"go.sum": "x v1.0.0 h1:abc="}, false, "go.sum"},
		{map[string]string{"go.mod": strings.Replace(mod, "v1.37.2", "v1.37.3", 1)}, false, "a version"},
	} {
		if got := dir(tt.change); (got == base) != tt.same {
			t.Errorf("changed %s: got %q, before %q", tt.why, got, base)
		}
	}
}
