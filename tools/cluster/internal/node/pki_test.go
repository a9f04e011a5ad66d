package node

import (
	"crypto/x509"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"
)

func TestCertificates(t *testing.T) {
	p := &pki{dir: t.TempDir(), now: time.Now()}
	id := identity{name: "server", ca: "ca", cn: "kube-apiserver", groups: []string{"g"}, server: true, hosts: []string{"localhost", "10.213.64.1"}}
	leaf := func() *pair {
		t.Helper()
		l, err := p.leaf(id)
		if err != nil {
			t.Fatal(err)
		}
		ca, err := p.authority("ca")
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AddCert(ca.cert)
		for _, name := range []string{"localhost", "10.213.64.1"} {
			if _, err := l.cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: p.now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
				t.Errorf("as a server at %s: %v", name, err)
			}
		}
		return l
	}
	first := leaf()
	if fi, err := os.Stat(p.path("server.key")); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v, want 0600", fi.Mode(), err)
	}
	for _, tt := range []struct {
		change func()
		same   bool
		why    string
	}{
		{func() {}, true, "asked again"},
		{func() { p.now = p.now.Add(leafLife - renewLeaf - time.Hour) }, true, "long before its end"},
		{func() { p.now = p.now.Add(2 * time.Hour) }, false, "near its end"},
		{func() { id.hosts = append(id.hosts, "10.213.255.1") }, false, "another address"},
		{func() { id.cn = "other" }, false, "another name"},
		{func() { os.WriteFile(p.path("server.crt"), []byte("junk"), 0o600) }, false, "a broken file"},
		{func() { os.Remove(p.path("server.key")) }, false, "the key gone"},
		{func() { os.Remove(p.path("ca.crt")) }, false, "another authority"},
		{func() { p.now = p.now.Add(rootLife - renewRoot) }, false, "the authority near its end"},
	} {
		tt.change()
		now := leaf()
		if now.cert.Equal(first.cert) != tt.same {
			t.Errorf("%s: got the same certificate: %v, want %v", tt.why, !tt.same, tt.same)
		}
		first = now
	}
	other, err := p.leaf(identity{name: "client", ca: "etcd-ca", cn: "apiserver"})
	if err != nil {
		t.Fatal(err)
	}
	ca, _ := p.authority("ca")
	if other.cert.CheckSignatureFrom(ca.cert) == nil {
		t.Error("etcd's clients are signed by the API server's authority")
	}
	if slices.Contains(other.cert.ExtKeyUsage, x509.ExtKeyUsageServerAuth) {
		t.Error("a client's certificate would do for a server")
	}
}

func TestAccountsKeyStays(t *testing.T) {
	p := &pki{dir: t.TempDir(), now: time.Now()}
	var keys []string
	for range 2 {
		if err := p.key("accounts"); err != nil {
			t.Fatal(err)
		}
		text, _ := os.ReadFile(p.path("accounts.key"))
		keys = append(keys, string(text))
	}
	if keys[0] == "" || keys[0] != keys[1] {
		t.Error("the key changed, and with it every token in the cluster became invalid")
	}
}

func TestNameservers(t *testing.T) {
	got := nameservers("# nameserver 9.9.9.9\nnameserver 127.0.0.53\nnameserver 10.0.0.2\noptions edns0\nnameserver fe80::1%eth0\nnameserver\n nameserver 10.0.0.3\n")
	if want := []string{"10.0.0.2", "10.0.0.3"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v: pods reach neither the machine's loopback nor IPv6", got, want)
	}
}

func TestParseStopSignal(t *testing.T) {
	const (
		// {"Version":"v1","Metadata":{"StopSignal":"SIGINT"}}
		interrupt = `{"Extensions":{"io.cri-containerd.container.metadata":{"value":"eyJWZXJzaW9uIjoidjEiLCJNZXRhZGF0YSI6eyJTdG9wU2lnbmFsIjoiU0lHSU5UIn19"}}}`
		// {"Metadata":{"StopSignal":"SIGRTMIN+3"}}
		strange = `{"Extensions":{"io.cri-containerd.container.metadata":{"value":"eyJNZXRhZGF0YSI6eyJTdG9wU2lnbmFsIjoiU0lHUlRNSU4rMyJ9fQ=="}}}`
		sandbox = `{"Extensions":{"io.cri-containerd.sandbox.metadata":{"value":""}}}`
	)
	for _, tt := range []struct {
		info string
		want syscall.Signal
		ok   bool
		why  string
	}{
		{interrupt, syscall.SIGINT, true, "named by the image"},
		{strange, syscall.SIGTERM, true, "one that we don't know"},
		{sandbox, 0, false, "what holds the pod's network ends last"},
		{"", syscall.SIGTERM, true, "nothing known"},
	} {
		if got, ok := parseStopSignal(tt.info); got != tt.want || ok != tt.ok {
			t.Errorf("%s: got %v, %v, want %v, %v", tt.why, got, ok, tt.want, tt.ok)
		}
	}
}
