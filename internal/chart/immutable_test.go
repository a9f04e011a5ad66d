package chart

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What Kubernetes can't change of what is installed is refused with the way out.
func TestImmutable(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		r := render(t, helm, "mlops", "mlops", set("postgres.persistence.size=1.5Gi", "postgres.persistence.storageClass=fast")...)
		// Others share the rendering.
		postgres := one[*appsv1.StatefulSet](t, r, "mlops-postgres").DeepCopy()
		inference := one[*appsv1.Deployment](t, r, "mlops-inference").DeepCopy()
		postgres.APIVersion, postgres.Kind = "apps/v1", "StatefulSet"
		inference.APIVersion, inference.Kind = "apps/v1", "Deployment"
		owner := map[string]string{"meta.helm.sh/release-name": "mlops", "meta.helm.sh/release-namespace": "mlops"}
		postgres.Annotations, inference.Annotations = owner, owner
		earlier := inference.DeepCopy()
		earlier.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app.kubernetes.io/name": "inference", "app.kubernetes.io/instance": "mlops"}}
		for _, test := range []struct {
			name      string
			installed metav1.Object
			values    []string
			want      string
		}{
			{"the same", postgres, set("postgres.persistence.size=1.5Gi", "postgres.persistence.storageClass=fast"), ""},
			{"the same size in other words", postgres, set("postgres.persistence.size=1536Mi", "postgres.persistence.storageClass=fast"), ""},
			{"a larger volume", postgres, set("postgres.persistence.size=2Gi", "postgres.persistence.storageClass=fast"), "postgres.persistence.size is 2Gi, but the volume was installed with 1536Mi"},
			{"another class", postgres, set("postgres.persistence.size=1.5Gi"), "postgres: the storage class is now \"\", but the volume was installed with \"fast\""},
			{"a part that is not wanted any more", postgres, set("postgres.enabled=false", "global.postgres.host=db", "global.postgres.existingSecret=a"), ""},
			{"the same labels", inference, nil, ""},
			{"labels of an earlier version", earlier, nil, "kubectl -n mlops delete deployment,statefulset -l app.kubernetes.io/instance=mlops"},
		} {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				url, _ := cluster(t, nil, test.installed)
				args := append([]string{"template", "mlops", dir, "--namespace", "mlops", "--dry-run=server", "--disable-openapi-validation", "--kube-apiserver", url, "--kube-version", kubeVersion}, test.values...)
				_, err := run(t, helm, args...)
				if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v, want %q", err, test.want)
				}
			})
		}
	})
}
