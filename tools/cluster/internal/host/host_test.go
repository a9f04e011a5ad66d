package host

import (
	"net/netip"
	"strings"
	"testing"
)

// The output of iptables-save on a machine with our cluster, Docker and podman.
const saved = `*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:CNI-DN-0123 - [0:0]
:CNI-DN-9999 - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
:CNI-HOSTPORT-MASQ - [0:0]
:DOCKER - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-SERVICES - [0:0]
:MLOPS-POSTROUTING - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -j MLOPS-POSTROUTING
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -m comment --comment "like -j KUBE-SERVICES" -j MASQUERADE
-A CNI-DN-0123 -p tcp -m tcp --dport 18080 -j DNAT --to-destination 10.213.0.4:8080
-A CNI-DN-9999 -p tcp -m tcp --dport 9999 -j DNAT --to-destination 10.88.0.4:80
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"mlops\" id: \"aa\"" -m multiport --dports 18080 -j CNI-DN-0123
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"podman\" id: \"bb\"" -m multiport --dports 9999 -j CNI-DN-9999
-A KUBE-SERVICES -d 10.213.64.1/32 -j KUBE-POSTROUTING
COMMIT
*filter
:INPUT ACCEPT [0:0]
-A INPUT -j ACCEPT
COMMIT
`

func TestUndoLeavesWhatIsNotOurs(t *testing.T) {
	r := Rules{Prefixes: []string{"KUBE-", "MLOPS-"}, Network: "mlops"}
	want := `*nat
-D PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-D POSTROUTING -j MLOPS-POSTROUTING
-D CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"mlops\" id: \"aa\"" -m multiport --dports 18080 -j CNI-DN-0123
-F CNI-DN-0123
-F KUBE-POSTROUTING
-F KUBE-SERVICES
-F MLOPS-POSTROUTING
-X CNI-DN-0123
-X KUBE-POSTROUTING
-X KUBE-SERVICES
-X MLOPS-POSTROUTING
COMMIT
`
	if got := r.undo(saved); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := r.undo("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j ACCEPT\nCOMMIT\n"); got != "" {
		t.Errorf("where nothing is ours: got %q, want nothing", got)
	}
}

func TestUndoTakesSharedChainsThatNobodyUses(t *testing.T) {
	var lines []string
	for line := range strings.Lines(saved) {
		if !strings.Contains(line, "podman") && !strings.Contains(line, "9999") {
			lines = append(lines, line)
		}
	}
	got := Rules{Network: "mlops"}.undo(strings.Join(lines, ""))
	for _, want := range []string{"-D PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT", "-X CNI-HOSTPORT-DNAT", "-X CNI-HOSTPORT-MASQ", "-X CNI-DN-0123"} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	if strings.Contains(got, "KUBE-") || strings.Contains(got, "DOCKER") {
		t.Errorf("took others' chains:\n%s", got)
	}
}

func TestOverlaps(t *testing.T) {
	const routes = `default via 192.0.2.1 dev eth0
10.0.0.0/7 via 192.0.2.1 dev vpn0
10.213.64.0/18 dev mlops-node scope link
192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.2`
	cluster := netip.MustParsePrefix("10.213.0.0/16")
	for _, tt := range []struct {
		routes, want, why string
	}{
		{routes, "", "our own, a default and one nearly so"},
		{routes + "\n10.213.7.1 dev tun0 scope link", "10.213.7.1 dev tun0 scope link", "one address in it"},
		{routes + "\n10.128.0.0/9 via 10.1.1.1 dev tun0", "10.128.0.0/9 via 10.1.1.1 dev tun0", "a range around it"},
		{routes + "\nunreachable 10.213.0.0/24", "", "a line that begins with a word"},
	} {
		if got := Overlaps(tt.routes, cluster, "mlops-node"); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.why, got, tt.want)
		}
	}
}
