//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"mlops/internal/kube"
)

// testAccounts asks Kubernetes, as each of the release's accounts, what it may do, and
// compares with docs/reference/accounts.md.
func testAccounts(t *testing.T, m *machine, r *kube.Release) {
	want := accountsPage(t, m)
	accounts, err := r.Client.CoreV1().ServiceAccounts(r.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	delete(want, r.Service("grafana")) // its image can't be had here
	everyone := rights(t, r, "default")
	for _, line := range everyone {
		if line != "clustertrustbundles.certificates.k8s.io: get list watch" && !strings.Contains(line, ".authorization.k8s.io: create") && !strings.Contains(line, ".authentication.k8s.io: create") {
			t.Errorf("every account may: %s", line)
		}
	}
	got := map[string][]string{}
	for _, a := range accounts.Items {
		if a.Name == "default" {
			continue
		}
		got[a.Name] = slices.DeleteFunc(rights(t, r, a.Name), func(line string) bool { return slices.Contains(everyone, line) })
		if len(got[a.Name]) == 0 {
			got[a.Name] = nil
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rights of the accounts (-docs/reference/accounts.md +cluster):\n%s", diff)
	}
}

// accountsPage reads the rights of each account.
func accountsPage(t *testing.T, m *machine) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(m.root, "docs", "reference", "accounts.md"))
	if err != nil {
		t.Fatal(err)
	}
	accounts := map[string][]string{}
	name, code := "", false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "## "):
			name = strings.TrimPrefix(line, "## ")
			accounts[name] = nil
		case line == "```":
			code = !code
		case code:
			accounts[name] = append(accounts[name], line)
		}
	}
	if len(accounts) < 10 {
		t.Fatalf("the page has %d accounts", len(accounts))
	}
	return accounts
}

// rights lists what an account may do in the release's namespace, a line for each
// resource, as the page does.
func rights(t *testing.T, r *kube.Release, account string) []string {
	t.Helper()
	config := rest.CopyConfig(r.Config)
	config.Impersonate = rest.ImpersonationConfig{
		UserName: fmt.Sprintf("system:serviceaccount:%s:%s", r.Namespace, account),
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + r.Namespace, "system:authenticated"},
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	// The impersonation itself works.
	self, err := client.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil || self.Status.UserInfo.Username != config.Impersonate.UserName {
		t.Fatalf("impersonating %s: %v, %v", account, self, err)
	}
	review, err := client.AuthorizationV1().SelfSubjectRulesReviews().Create(t.Context(),
		&authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: r.Namespace}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	verbs := map[string][]string{}
	for _, rule := range review.Status.ResourceRules {
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
	var lines []string
	for _, resource := range slices.Sorted(maps.Keys(verbs)) {
		v := verbs[resource]
		slices.Sort(v)
		lines = append(lines, resource+": "+strings.Join(slices.Compact(v), " "))
	}
	return lines
}
