package chart

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
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
		backups := &corev1.PersistentVolumeClaim{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"},
			ObjectMeta: metav1.ObjectMeta{Name: "mlops-backups", Namespace: "mlops", Annotations: owner, Labels: map[string]string{"app.kubernetes.io/managed-by": "Helm"}},
			Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: new("fast"),
				Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")}}}}
		volume := func(size, class string) []string {
			return set("pipelines.backup.to=/backups", "pipelines.backup.volume.size="+size, "pipelines.backup.volume.storageClass="+class)
		}
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
			{"the same backups", backups, volume("10240Mi", "fast"), ""},
			{"more room for backups", backups, volume("20Gi", "fast"), ""},
			{"less room for backups", backups, volume("5Gi", "fast"), "pipelines.backup.volume.size is 5Gi, but the volume has 10Gi"},
			{"another class for backups", backups, volume("10Gi", "slow"), "pipelines.backup.volume: the storage class is now \"slow\", but the volume was made with \"fast\""},
			{"the default class for backups", backups, volume("10Gi", ""), ""},
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
