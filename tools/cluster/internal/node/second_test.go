package node

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mlops/tools/cluster/internal/build"
)

// The two nodes of a machine share neither a folder nor a socket nor an address, but for
// what is the cluster's.
func TestNodesShareNothing(t *testing.T) {
	n := &Node{home: "/data", dir: "/data/cluster", build: &build.Builder{Dir: "/cache/node/0"}}
	of := func(p place) (found []string) {
		texts := []string{n.containerdConfig(p)}
		for _, v := range []any{cniConfig(p, 1500), n.kubeletConfig(p), n.proxyConfig(p)} {
			text, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, string(text))
		}
		for _, s := range []*service{n.runtimeService(p), n.kubeletService(p), n.proxyService(p)} {
			texts = append(texts, strings.Join(s.argv, "\n"), strings.Join(s.files, "\n"), s.name, "/"+s.group)
		}
		found = regexp.MustCompile(`/[a-z][A-Za-z0-9/._-]+|10\.213\.[0-9./]+|"mlops[a-z-]*"`).FindAllString(strings.Join(texts, "\n"), -1)
		slices.Sort(found)
		return slices.Compact(found)
	}
	first, second := of(firstPlace), of(secondPlace)
	shared := slices.DeleteFunc(slices.Clone(first), func(s string) bool {
		return !slices.Contains(second, s) || strings.HasPrefix(s, "/cache/node/0/bin") || regexp.MustCompile(`^/v[0-9]|^/healthz`).MatchString(s)
	})
	// The bridge is in the network of each.
	want := []string{`"mlops"`, `"mlops-pods"`, "/pause", "/data/cluster/pki/ca.crt", "10.213.0.0/18", "10.213.255.0/24", "10.213.64.10"}
	if others := slices.DeleteFunc(slices.Clone(shared), func(s string) bool { return slices.Contains(want, s) }); len(others) > 0 {
		t.Errorf("both nodes have %q", others)
	}
	if len(first) < 20 || len(second) < 20 {
		t.Errorf("%d and %d names were found: the expression finds too little", len(first), len(second))
	}
}
