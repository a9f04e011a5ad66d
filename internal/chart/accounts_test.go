package chart

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

const accountsPage = "../../docs/reference/accounts.md"

// What each service account of the default release may do. On a cluster, `make e2e` asks
// Kubernetes the same and compares with this page.
func TestAccounts(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		r := render(t, helm, "mlops", "mlops")
		holders := map[string][]string{}
		for _, p := range pods(t, r) {
			name := p.meta.Labels["app.kubernetes.io/component"]
			if p.workflow {
				holders["mlops-workflow"] = []string{"Argo's own containers in the pods of workflows"}
				if slices.ContainsFunc(p.spec.Volumes, func(v corev1.Volume) bool {
					return v.Name != "exec-sa-token" && v.Projected != nil && slices.ContainsFunc(v.Projected.Sources, func(s corev1.VolumeProjection) bool { return s.ServiceAccountToken != nil })
				}) {
					holders[p.spec.ServiceAccountName] = append(holders[p.spec.ServiceAccountName], "the step "+name)
				}
			} else if *p.spec.AutomountServiceAccountToken {
				holders[p.spec.ServiceAccountName] = append(holders[p.spec.ServiceAccountName], name)
			}
		}
		var b strings.Builder
		b.WriteString("# What each service account may do\n\n" +
			"The rights of each account of a release in Kubernetes' API, in its namespace; there are none elsewhere. They are what\n" +
			"`kubectl auth can-i --list --as=system:serviceaccount:mlops:mlops-NAME` shows, without what Kubernetes grants every\n" +
			"account. A line has the resource (with its API group, and in brackets the only names that it is about) and the verbs.\n" +
			"`go test ./internal/chart -run TestAccounts -update` writes this page from the\n" +
			"chart, and `make e2e` compares it with the answers of a cluster.\n")
		for _, account := range all[*corev1.ServiceAccount](r) {
			if account.AutomountServiceAccountToken == nil || *account.AutomountServiceAccountToken {
				t.Errorf("account %s gives its token to every pod that doesn't refuse it", account.Name)
			}
			held := "in no pod"
			if h := holders[account.Name]; len(h) > 0 {
				held = strings.Join(h, ", ")
			} else if account.Name == "mlops-argo-user" {
				held = "made for people, by `kubectl create token`"
			}
			fmt.Fprintf(&b, "\n## %s\nToken: %s.\n", account.Name, held)
			if rights := rightsOf(r, account.Name); len(rights) > 0 {
				fmt.Fprintf(&b, "```\n%s\n```\n", strings.Join(rights, "\n"))
			}
		}
		if *update {
			if err := os.WriteFile(accountsPage, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		old, err := os.ReadFile(accountsPage)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.Split(string(old), "\n"), strings.Split(b.String(), "\n")); diff != "" {
			t.Errorf("%s is not what the chart grants; if that is right, run: go test ./internal/chart -run TestAccounts -update (-page +chart):\n%s", accountsPage, diff)
		}
	})
}

// rightsOf lists an account's rights, a line for each resource.
func rightsOf(r *rendering, account string) []string {
	verbs := map[string][]string{}
	for _, b := range all[*rbacv1.RoleBinding](r) {
		if !slices.ContainsFunc(b.Subjects, func(s rbacv1.Subject) bool { return s.Kind == "ServiceAccount" && s.Name == account }) {
			continue
		}
		for _, role := range all[*rbacv1.Role](r) {
			if role.Name != b.RoleRef.Name {
				continue
			}
			for _, rule := range role.Rules {
				for _, group := range rule.APIGroups {
					for _, resource := range rule.Resources {
						if group != "" {
							resource += "." + group
						}
						if len(rule.ResourceNames) > 0 {
							resource += fmt.Sprint(" ", rule.ResourceNames)
						}
						verbs[resource] = append(verbs[resource], rule.Verbs...)
					}
				}
			}
		}
	}
	var lines []string
	for _, resource := range slices.Sorted(maps.Keys(verbs)) {
		v := verbs[resource]
		slices.Sort(v)
		lines = append(lines, resource+": "+strings.Join(slices.Compact(v), " "))
	}
	return lines
}
