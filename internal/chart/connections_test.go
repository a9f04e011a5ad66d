package chart

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// The ends of connections that are not in the release.
var (
	stranger   = endpoint{name: "another pod of the namespace", pod: true, labels: map[string]string{"app": "stranger"}}
	ownFlow    = endpoint{name: "a workflow of somebody's own", pod: true, labels: map[string]string{"workflows.argoproj.io/workflow": "w"}}
	namesake   = endpoint{name: "MLflow of another release", pod: true, labels: map[string]string{"app.kubernetes.io/name": "mlops", "app.kubernetes.io/component": "mlflow", "app.kubernetes.io/instance": "other", "app.kubernetes.io/part-of": "mlops"}}
	foreign    = endpoint{name: "a pod elsewhere", pod: true, namespace: "elsewhere"}
	dns        = endpoint{name: "DNS", pod: true, namespace: "kube-system", labels: map[string]string{"k8s-app": "kube-dns"}}
	controller = endpoint{name: "the Ingress controller", pod: true, namespace: "ingress-nginx", labels: map[string]string{"app.kubernetes.io/name": "ingress-nginx"}}
	monitoring = endpoint{name: "an existing Prometheus", pod: true, namespace: "monitoring", labels: map[string]string{"app.kubernetes.io/name": "prometheus"}}
	apiServer  = endpoint{name: "Kubernetes' API", address: netip.MustParseAddr("192.168.7.1")}
	web        = endpoint{name: "the web", address: netip.MustParseAddr("203.0.113.9")}
	private    = endpoint{name: "a private address", address: netip.MustParseAddr("10.99.9.9")}
	metadata   = endpoint{name: "a cloud's metadata", address: netip.MustParseAddr("169.254.169.254")}
	client     = endpoint{name: "a client outside", address: netip.MustParseAddr("198.51.100.7")}
	outsiders  = []endpoint{stranger, ownFlow, namesake, foreign, dns, controller, monitoring, apiServer, web, private, metadata, client}
)

// knownPorts are tried on every end.
var knownPorts = []int32{22, 53, 80, 443, 1053, 2746, 3000, 3128, 5000, 5353, 5432, 6060, 6432, 6443, 8000, 8080, 8089, 8501, 9000, 9001, 9090, 9153, 16443, 31000}

// ends returns the release's pods, by component, and the outsiders.
func ends(t *testing.T, r *rendering) []endpoint {
	t.Helper()
	byName := map[string]endpoint{}
	for _, p := range pods(t, r) {
		e := endpoint{name: p.meta.Labels["app.kubernetes.io/component"], pod: true, namespace: r.namespace, labels: maps.Clone(p.meta.Labels)}
		if p.workflow {
			e.labels["workflows.argoproj.io/workflow"] = "w" // as Argo marks every pod of a workflow
		}
		for _, c := range p.spec.Containers {
			e.ports = append(e.ports, c.Ports...)
		}
		byName[e.name] = e
	}
	var all []endpoint
	for i, name := range slices.Sorted(maps.Keys(byName)) {
		e := byName[name]
		e.address = netip.AddrFrom4([4]byte{10, 42, 0, byte(i + 1)})
		all = append(all, e)
	}
	for i, e := range outsiders {
		if e.pod && e.namespace == "" {
			e.namespace = r.namespace
		}
		if e.pod {
			e.address = netip.AddrFrom4([4]byte{10, 42, 1, byte(i + 1)})
			e.namespaceLabels = map[string]string{"kubernetes.io/metadata.name": e.namespace}
		}
		all = append(all, e)
	}
	return all
}

// reach is what one end may connect to: the ports of each other end.
type reach map[string][]port

// connections lists what each end may connect to. Connections between two outsiders are
// left out: the release has no say about them.
func connections(t *testing.T, r *rendering) map[string]reach {
	t.Helper()
	policies := all[*networkingv1.NetworkPolicy](r)
	found := map[string]reach{}
	everyone := ends(t, r)
	for _, from := range everyone {
		for _, to := range everyone {
			if from.name == to.name || outside(from.name) && outside(to.name) {
				continue
			}
			numbers := slices.Clone(knownPorts)
			for _, p := range to.ports {
				numbers = append(numbers, p.ContainerPort)
			}
			slices.Sort(numbers)
			for _, number := range slices.Compact(numbers) {
				for _, protocol := range []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP} {
					at := port{number, protocol}
					if !allowed(t, policies, r.namespace, from, to, at) {
						continue
					}
					if found[from.name] == nil {
						found[from.name] = reach{}
					}
					found[from.name][to.name] = append(found[from.name][to.name], at)
				}
			}
		}
	}
	return found
}

// outside reports whether an end is none of the release's.
func outside(name string) bool {
	return slices.ContainsFunc(outsiders, func(o endpoint) bool { return o.name == name })
}

// String lists the ends with their ports. A port that all outsiders have open is one of
// any address.
func (r reach) String() string {
	anywhere := map[port]int{}
	for _, o := range outsiders {
		for _, p := range r[o.name] {
			anywhere[p]++
		}
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(r)) {
		for _, p := range r[name] {
			if outside(name) && anywhere[p] == len(outsiders) {
				continue
			}
			list = append(list, p.of(name))
		}
	}
	for p, n := range anywhere {
		if n == len(outsiders) {
			list = append(list, p.of("any address"))
		}
	}
	slices.Sort(list)
	text := strings.Join(list, ", ")
	return strings.Replace(text, "DNS:1053, DNS:1053/udp, DNS:53, DNS:53/udp, DNS:5353, DNS:5353/udp", "DNS", 1)
}

func (p port) of(name string) string {
	if p.protocol == corev1.ProtocolTCP {
		return fmt.Sprintf("%s:%d", name, p.number)
	}
	return fmt.Sprintf("%s:%d/udp", name, p.number)
}

const connectionsPage = "../../docs/reference/connections.md"

// installation is one whose connections the page lists.
type installation struct {
	title string
	flags []string
}

var closedAPI = set("networkPolicies.apiServer.to[0].ipBlock.cidr=192.168.7.1/32", "networkPolicies.apiServer.ports={6443}")

func installations() []installation {
	peer := func(name, namespace string) string {
		return fmt.Sprintf("networkPolicies.%s[0].namespaceSelector.matchLabels.kubernetes\\.io/metadata\\.name=%s", name, namespace)
	}
	return []installation{
		{"The default values", nil},
		{"With the address of Kubernetes' API, and every NodePort, as `make up` sets them", slices.Concat(closedAPI, set(everyNodePort...))},
		{"Behind an Ingress, with a table in the bucket and an existing Prometheus", slices.Concat(closedAPI, set("inference.service.type=ClusterIP", "ui.service.type=ClusterIP", "grafana.service.type=ClusterIP", "ingress.enabled=true",
			"pipelines.source=s3://sources/table.csv", peer("scrapers", "monitoring"), "prometheus.enabled=false", "grafana.enabled=false"))},
		{"With Postgres, S3 and MLflow elsewhere, each at one address, and a proxy", slices.Concat(closedAPI, set("postgres.enabled=false", "global.postgres.host=db.example.com", "global.postgres.port=6432", "global.postgres.existingSecret=my-postgres",
			"minio.enabled=false", "global.s3.endpoint=https://s3.example.com", "global.s3.existingSecret=my-s3", "mlflow.enabled=false", "global.mlflow.uri=http://mlflow.example.com:5000",
			"networkPolicies.existing.postgres[0].ipBlock.cidr=10.99.9.9/32", "networkPolicies.existing.s3[0].ipBlock.cidr=10.99.9.9/32", "networkPolicies.existing.mlflow[0].ipBlock.cidr=10.99.9.9/32",
			"networkPolicies.proxy.to[0].ipBlock.cidr=10.99.9.9/32"))},
	}
}

// Every pair of pods, and of a pod and an address outside, on every port: the page says
// exactly which connections the policies let through.
func TestConnections(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		var b strings.Builder
		b.WriteString(`# Who connects to whom

What the chart's NetworkPolicies allow, for each pair of the release's pods and of a pod and an end outside, each on
every port that anything here uses. Whatever is not listed is denied. A test evaluates the rendered policies and
compares: ` + "`go test ./internal/chart -run TestConnections -update`" + ` writes this page. Always allowed, as Kubernetes defines it:
the node's own connections to its pods (the kubelet's probes, ` + "`kubectl port-forward`" + `), and responses. The ends outside are
examples: "the web" is a public address, "a private address" one of 10.0.0.0/8.
`)
		for _, i := range installations() {
			fmt.Fprintf(&b, "\n## %s\n| from | to |\n|---|---|\n", i.title)
			found := connections(t, render(t, helm, "mlops", "mlops", i.flags...))
			same := map[string][]string{} // outsiders, by what they reach
			for name, to := range found {
				if outside(name) {
					same[to.String()] = append(same[to.String()], name)
				}
			}
			for to, names := range same {
				slices.Sort(names)
				title := strings.Join(names, ", ")
				if len(names) == len(outsiders) {
					title = "everyone outside"
				}
				same[to] = []string{title}
			}
			for _, to := range slices.Sorted(maps.Keys(same)) {
				fmt.Fprintf(&b, "| %s | %s |\n", same[to][0], to)
			}
			for _, name := range slices.Sorted(maps.Keys(found)) {
				if !outside(name) {
					fmt.Fprintf(&b, "| %s | %s |\n", name, found[name])
				}
			}
		}
		old, err := os.ReadFile(connectionsPage)
		if err != nil && !*update {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(connectionsPage, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
			return
		}
		if diff := cmp.Diff(strings.Split(string(old), "\n"), strings.Split(b.String(), "\n")); diff != "" {
			t.Errorf("%s is not what the policies allow; if they are right, run: go test ./internal/chart -run TestConnections -update (-page +policies):\n%s", connectionsPage, diff)
		}
	})
}

// In every installation: no outsider reaches what holds data, nothing reaches a cloud's
// metadata, and Postgres and MinIO connect to nothing.
func TestOutsidersStayOut(t *testing.T) {
	t.Parallel()
	eachScenario(t, func(t *testing.T, r *rendering) {
		policies := all[*networkingv1.NetworkPolicy](r)
		if len(policies) == 0 {
			return // switched off
		}
		everyone := ends(t, r)
		reaches := func(from, to endpoint, number int32) bool {
			return allowed(t, policies, r.namespace, from, to, port{number, corev1.ProtocolTCP})
		}
		for _, from := range everyone {
			for _, to := range everyone {
				switch {
				case from.name == to.name:
				case outside(from.name) && slices.Contains([]string{"postgres", "minio", "argo-controller", "setup", "train-model"}, to.name),
					from.name == "postgres", from.name == "minio":
					for _, number := range []int32{22, 443, 5432, 6443, 9000, 9001, 9090} {
						if reaches(from, to, number) {
							t.Errorf("%s reaches %s on port %d", from.name, to.name, number)
						}
					}
				case !outside(from.name) && to.name == metadata.name && reaches(from, to, 80):
					t.Errorf("%s reaches %s", from.name, to.name)
				}
			}
		}
	})
}

// address finds host and port in an argument or a variable.
var address = regexp.MustCompile(`^(http|https|tcp|postgres)://([^/?#]+)`)

// In every installation, the policies let each pod reach the addresses that its arguments
// and variables name.
func TestPodsReachWhatTheyAreTold(t *testing.T) {
	t.Parallel()
	eachScenario(t, func(t *testing.T, r *rendering) {
		policies := all[*networkingv1.NetworkPolicy](r)
		everyone := ends(t, r)
		by := func(name string) endpoint {
			return everyone[slices.IndexFunc(everyone, func(e endpoint) bool { return e.name == name })]
		}
		services := map[string]*corev1.Service{}
		for _, s := range all[*corev1.Service](r) {
			services[s.Name] = s
		}
		checked := 0
		for _, p := range pods(t, r) {
			from := by(p.meta.Labels["app.kubernetes.io/component"])
			for target := range told(t, r, p) {
				host, text, _ := strings.Cut(target, ":")
				if host == "127.0.0.1" {
					continue // another container of the pod
				}
				number, err := strconv.ParseInt(text, 10, 32)
				if err != nil {
					t.Fatalf("%s: address %q: %v", p, target, err)
				}
				to := web
				if s, ok := services[host]; ok {
					to = by(s.Spec.Selector["app.kubernetes.io/component"])
				} else if strings.HasPrefix(host, r.release+"-") {
					t.Errorf("%s is told to use %s, which is not in the release", p, target)
					continue
				}
				checked++
				if !allowed(t, policies, r.namespace, from, to, port{int32(number), corev1.ProtocolTCP}) {
					t.Errorf("%s can't reach %s", p, target)
				}
				if !allowed(t, policies, r.namespace, from, by(dns.name), port{53, corev1.ProtocolUDP}) {
					t.Errorf("%s can't resolve %s", p, target)
				}
			}
		}
		if checked == 0 {
			t.Error("no address was found")
		}
	})
}

// told returns the addresses, as host:port, that a pod's containers are given. Every step
// is given the address of everything, so of those only what it uses counts: an address
// whose login it has.
func told(t *testing.T, r *rendering, p pod) map[string]bool {
	t.Helper()
	found, there := map[string]bool{}, generated(r)
	for _, c := range p.containers() {
		values := map[string]string{}
		secrets := ""
		for _, e := range c.EnvFrom {
			if e.ConfigMapRef != nil {
				maps.Copy(values, one[*corev1.ConfigMap](t, r, e.ConfigMapRef.Name).Data)
			}
			if e.SecretRef != nil && (e.SecretRef.Optional == nil || !*e.SecretRef.Optional || there[e.SecretRef.Name] != nil || strings.HasPrefix(e.SecretRef.Name, "my-")) {
				secrets += " " + e.SecretRef.Name
			}
		}
		if p.workflow && !strings.Contains(secrets, "mlflow") && !strings.Contains(secrets, "my-login") {
			delete(values, "MLFLOW_TRACKING_URI")
		}
		if p.workflow && !strings.Contains(secrets, "s3") {
			delete(values, "AWS_ENDPOINT_URL")
		}
		for _, e := range c.Env {
			values[e.Name] = e.Value
		}
		for i, a := range c.Args {
			values[fmt.Sprint("argument ", i)] = strings.TrimPrefix(a, "--target=")
		}
		if values["PGHOST"] != "" {
			found[values["PGHOST"]+":"+values["PGPORT"]] = true
		}
		for _, v := range values {
			m := address.FindString(v)
			if m == "" {
				continue
			}
			u, err := url.Parse(m)
			if err != nil {
				t.Fatal(err)
			}
			number := u.Port()
			if number == "" {
				number = map[string]string{"http": "80", "https": "443", "postgres": "5432"}[u.Scheme]
			}
			found[u.Hostname()+":"+number] = true
		}
	}
	return found
}
