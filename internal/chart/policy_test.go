package chart

import (
	"net/netip"
	"slices"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8slabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// endpoint is an end of a connection: a pod, or an address that is none.
type endpoint struct {
	name            string
	pod             bool
	labels          map[string]string
	namespace       string
	namespaceLabels map[string]string
	address         netip.Addr
	ports           []corev1.ContainerPort
}

// port is what a connection goes to.
type port struct {
	number   int32
	protocol corev1.Protocol
}

// allowed reports whether the policies of a namespace let a connection through, as
// Kubernetes defines it: both ends have to allow it, and a pod that no policy selects for
// a direction allows everything in it.
func allowed(t *testing.T, policies []*networkingv1.NetworkPolicy, namespace string, from, to endpoint, at port) bool {
	t.Helper()
	return admitted(t, policies, namespace, networkingv1.PolicyTypeEgress, from, to, to, at) &&
		admitted(t, policies, namespace, networkingv1.PolicyTypeIngress, to, from, to, at)
}

// admitted is one end's view of a connection with its peer; the port is the target's.
func admitted(t *testing.T, policies []*networkingv1.NetworkPolicy, namespace string, direction networkingv1.PolicyType, self, peer, target endpoint, at port) bool {
	t.Helper()
	if !self.pod || self.namespace != namespace {
		return true // no policy of this namespace is about it
	}
	isolated := false
	for _, p := range policies {
		if !slices.Contains(p.Spec.PolicyTypes, direction) || !selects(t, &p.Spec.PodSelector, self.labels) {
			continue
		}
		isolated = true
		if direction == networkingv1.PolicyTypeIngress {
			for _, rule := range p.Spec.Ingress {
				if portMatches(rule.Ports, target, at) && peerMatches(t, rule.From, namespace, peer) {
					return true
				}
			}
			continue
		}
		for _, rule := range p.Spec.Egress {
			if portMatches(rule.Ports, target, at) && peerMatches(t, rule.To, namespace, peer) {
				return true
			}
		}
	}
	return !isolated
}

func portMatches(ports []networkingv1.NetworkPolicyPort, target endpoint, at port) bool {
	return len(ports) == 0 || slices.ContainsFunc(ports, func(p networkingv1.NetworkPolicyPort) bool {
		protocol := corev1.ProtocolTCP
		if p.Protocol != nil {
			protocol = *p.Protocol
		}
		switch {
		case protocol != at.protocol:
			return false
		case p.Port == nil:
			return true
		case p.Port.Type == intstr.String:
			return slices.ContainsFunc(target.ports, func(c corev1.ContainerPort) bool {
				return c.Name == p.Port.StrVal && c.ContainerPort == at.number
			})
		case p.EndPort != nil:
			return at.number >= p.Port.IntVal && at.number <= *p.EndPort
		}
		return p.Port.IntVal == at.number
	})
}

func peerMatches(t *testing.T, peers []networkingv1.NetworkPolicyPeer, namespace string, e endpoint) bool {
	t.Helper()
	return len(peers) == 0 || slices.ContainsFunc(peers, func(p networkingv1.NetworkPolicyPeer) bool {
		if p.IPBlock != nil {
			return within(t, p.IPBlock.CIDR, e.address) && !slices.ContainsFunc(p.IPBlock.Except, func(c string) bool { return within(t, c, e.address) })
		}
		if !e.pod {
			return false
		}
		if p.NamespaceSelector == nil {
			return e.namespace == namespace && selects(t, p.PodSelector, e.labels)
		}
		return selects(t, p.NamespaceSelector, e.namespaceLabels) && (p.PodSelector == nil || selects(t, p.PodSelector, e.labels))
	})
}

// selectors caches what is parsed for every pair.
var selectors sync.Map

func selects(t *testing.T, s *metav1.LabelSelector, labels map[string]string) bool {
	t.Helper()
	selector, ok := selectors.Load(s)
	if !ok {
		parsed, err := metav1.LabelSelectorAsSelector(s)
		if err != nil {
			t.Fatal(err)
		}
		selectors.Store(s, parsed)
		selector = parsed
	}
	return selector.(k8slabels.Selector).Matches(k8slabels.Set(labels))
}

func within(t *testing.T, cidr string, a netip.Addr) bool {
	t.Helper()
	p, err := netip.ParsePrefix(cidr)
	if err != nil {
		t.Fatal(err)
	}
	return p.Contains(a)
}

// The evaluator itself, on the cases that Kubernetes' documentation explains.
func TestPoliciesAreEvaluated(t *testing.T) {
	t.Parallel()
	tcp, udp, end := corev1.ProtocolTCP, corev1.ProtocolUDP, int32(90)
	number, name := intstr.FromInt32(80), intstr.FromString("http")
	a := endpoint{pod: true, namespace: "n", labels: map[string]string{"app": "a"}, address: netip.MustParseAddr("10.0.0.1")}
	b := endpoint{pod: true, namespace: "n", labels: map[string]string{"app": "b"}, address: netip.MustParseAddr("10.0.0.2"), ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 80}}}
	elsewhere := endpoint{pod: true, namespace: "m", namespaceLabels: map[string]string{"team": "m"}, labels: a.labels, address: netip.MustParseAddr("10.0.0.3")}
	machine := endpoint{address: netip.MustParseAddr("192.0.2.1")}
	appA := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "a"}}
	policy := func(app string, types []networkingv1.PolicyType, in []networkingv1.NetworkPolicyIngressRule, out []networkingv1.NetworkPolicyEgressRule) *networkingv1.NetworkPolicy {
		return &networkingv1.NetworkPolicy{Spec: networkingv1.NetworkPolicySpec{PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}, PolicyTypes: types, Ingress: in, Egress: out}}
	}
	ingress, egress := []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}, []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}
	from := func(ports []networkingv1.NetworkPolicyPort, peers ...networkingv1.NetworkPolicyPeer) *networkingv1.NetworkPolicy {
		return policy("b", ingress, []networkingv1.NetworkPolicyIngressRule{{Ports: ports, From: peers}}, nil)
	}
	for _, tt := range []struct {
		name     string
		policies []*networkingv1.NetworkPolicy
		from, to endpoint
		at       port
		want     bool
	}{
		{"no policy", nil, a, b, port{80, tcp}, true},
		{"nobody may connect", []*networkingv1.NetworkPolicy{policy("b", ingress, nil, nil)}, a, b, port{80, tcp}, false},
		{"a policy for another pod", []*networkingv1.NetworkPolicy{policy("a", ingress, nil, nil)}, a, b, port{80, tcp}, true},
		{"it may connect to nothing", []*networkingv1.NetworkPolicy{policy("a", egress, nil, nil)}, a, b, port{80, tcp}, false},
		{"policies add up", []*networkingv1.NetworkPolicy{policy("b", ingress, nil, nil), from(nil)}, a, b, port{80, tcp}, true},
		{"both ends have to allow it", []*networkingv1.NetworkPolicy{policy("a", egress, nil, nil), from(nil)}, a, b, port{80, tcp}, false},
		{"a pod of this namespace", []*networkingv1.NetworkPolicy{from(nil, networkingv1.NetworkPolicyPeer{PodSelector: appA})}, a, b, port{80, tcp}, true},
		{"its namesake elsewhere", []*networkingv1.NetworkPolicy{from(nil, networkingv1.NetworkPolicyPeer{PodSelector: appA})}, elsewhere, b, port{80, tcp}, false},
		{"every namespace", []*networkingv1.NetworkPolicy{from(nil, networkingv1.NetworkPolicyPeer{PodSelector: appA, NamespaceSelector: &metav1.LabelSelector{}})}, elsewhere, b, port{80, tcp}, true},
		{"every namespace is no machine", []*networkingv1.NetworkPolicy{from(nil, networkingv1.NetworkPolicyPeer{NamespaceSelector: &metav1.LabelSelector{}})}, machine, b, port{80, tcp}, false},
		{"an address", []*networkingv1.NetworkPolicy{from(nil, networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: "192.0.2.0/24"}})}, machine, b, port{80, tcp}, true},
		{"but that one", []*networkingv1.NetworkPolicy{from(nil, networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: "192.0.2.0/24", Except: []string{"192.0.2.1/32"}}})}, machine, b, port{80, tcp}, false},
		{"a port", []*networkingv1.NetworkPolicy{from([]networkingv1.NetworkPolicyPort{{Port: &number}})}, a, b, port{80, tcp}, true},
		{"another port", []*networkingv1.NetworkPolicy{from([]networkingv1.NetworkPolicyPort{{Port: &number}})}, a, b, port{81, tcp}, false},
		{"another protocol", []*networkingv1.NetworkPolicy{from([]networkingv1.NetworkPolicyPort{{Port: &number, Protocol: &udp}})}, a, b, port{80, tcp}, false},
		{"a port's name", []*networkingv1.NetworkPolicy{from([]networkingv1.NetworkPolicyPort{{Port: &name}})}, a, b, port{80, tcp}, true},
		{"a range of ports", []*networkingv1.NetworkPolicy{from([]networkingv1.NetworkPolicyPort{{Port: &number, EndPort: &end}})}, a, b, port{85, tcp}, true},
		{"beyond the range", []*networkingv1.NetworkPolicy{from([]networkingv1.NetworkPolicyPort{{Port: &number, EndPort: &end}})}, a, b, port{91, tcp}, false},
	} {
		if got := allowed(t, tt.policies, "n", tt.from, tt.to, tt.at); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
