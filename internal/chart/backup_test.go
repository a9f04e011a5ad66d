package chart

import (
	"maps"
	"slices"
	"testing"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"mlops/internal/kube"
)

const recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"

// The values of pipelines.backup reach the workflows, the schedule and the volume.
func TestBackup(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		r := render(t, helm, "mlops", "mlops", set("pipelines.backup.to=/backups/mlops", "pipelines.backup.keep=3", "global.tls.enabled=true", "pipelines.backup.recipient="+recipient,
			"pipelines.backup.volume.size=7Gi", "pipelines.backup.volume.storageClass=slow", "pipelines.schedules.backup=0 5 * * *")...)
		w := one[*wfv1.WorkflowTemplate](t, r, "backup")
		if diff := cmp.Diff(map[string]string{"to": "/backups/mlops", "keep": "3"}, arguments(w)); diff != "" {
			t.Errorf("parameters of backup (-want +got):\n%s", diff)
		}
		if got := arguments(one[*wfv1.WorkflowTemplate](t, render(t, helm, "mlops", "mlops", set("pipelines.backup.keep=0")...), "backup"))["keep"]; got != "0" {
			t.Errorf("keep=0 becomes %s", got)
		}
		if got := arguments(one[*wfv1.WorkflowTemplate](t, r, "restore"))["from"]; got != "/backups/mlops" {
			t.Errorf("restore reads from %q", got)
		}
		if c := one[*wfv1.CronWorkflow](t, r, "backup"); c.Spec.WorkflowSpec.WorkflowTemplateRef.Name != "backup" || c.Spec.Schedules[0] != "0 5 * * *" {
			t.Errorf("schedule %v", c.Spec)
		}
		claim := one[*corev1.PersistentVolumeClaim](t, r, "mlops-backups")
		if size := claim.Spec.Resources.Requests.Storage().String(); size != "7Gi" || *claim.Spec.StorageClassName != "slow" || claim.Annotations["helm.sh/resource-policy"] != "keep" {
			t.Errorf("the claim: %s of %s, annotations %v", size, *claim.Spec.StorageClassName, claim.Annotations)
		}
		// With a recipient, every Secret that the release makes is in the backup, but
		// only then.
		mounted := map[string]bool{}
		for _, v := range w.Spec.Templates[0].Volumes {
			if v.Secret != nil {
				mounted[v.Secret.SecretName] = true
			}
		}
		if diff := cmp.Diff(slices.Sorted(maps.Keys(generated(r))), slices.Sorted(maps.Keys(mounted))); diff != "" {
			t.Errorf("Secrets that the release makes against those in a backup (-want +got):\n%s", diff)
		}
		for _, w := range all[*wfv1.WorkflowTemplate](render(t, helm, "mlops", "mlops")) {
			for _, v := range w.Spec.Templates[0].Volumes {
				if v.Secret != nil {
					t.Errorf("%s mounts Secret %s without a recipient", w.Name, v.Secret.SecretName)
				}
			}
		}

		// What is not the release's own: only what it has is backed up.
		for _, test := range []struct {
			flags              []string
			databases, buckets string
		}{
			{nil, "argo mlflow clean raw", "mlflow sources"},
			{set("argo.enabled=false"), "mlflow clean raw", "mlflow sources"},
			{set("mlflow.enabled=false", "global.mlflow.uri=http://mlflow", "minio.enabled=false", "global.s3.endpoint=http://s3", "global.s3.existingSecret=a", "global.s3.buckets.sources=tables"), "argo clean raw", "tables"},
		} {
			config := one[*corev1.ConfigMap](t, render(t, helm, "mlops", "mlops", test.flags...), "mlops-backup").Data
			if config["MLOPS_DATABASES"] != test.databases || config["MLOPS_BUCKETS"] != test.buckets {
				t.Errorf("%v: databases %s, buckets %s", test.flags, config["MLOPS_DATABASES"], config["MLOPS_BUCKETS"])
			}
		}
		elsewhere := set("postgres.enabled=false", "global.postgres.host=db", "global.postgres.appSecret=a", "global.postgres.mlflowSecret=b", "global.postgres.argoSecret=c")
		for _, w := range all[*wfv1.WorkflowTemplate](render(t, helm, "mlops", "mlops", elsewhere...)) {
			if w.Name == "backup" || w.Name == "restore" {
				t.Errorf("%s is there without a login that may read all databases", w.Name)
			}
		}
		for want, values := range map[string][]string{
			"pipelines.schedules.backup: set pipelines.backup.to":            {"pipelines.schedules.backup=@daily"},
			"pipelines.backup.to=/backups: set pipelines.backup.volume.size": {"pipelines.backup.to=/backups"},
			"pipelines.backup.endpoint: set pipelines.backup.existingSecret": {"pipelines.backup.to=s3://backups", "pipelines.backup.endpoint=https://s3.example.com"},
			"'/pipelines/backup/recipient'":                                  {"pipelines.backup.recipient=me"},
			"'/pipelines/backup/to'":                                         {"pipelines.backup.to=/tmp/backups"},
		} {
			refused(t, helm, "mlops", want, set(values...)...)
		}
		refused(t, helm, "mlops", "this release lacks global.postgres.existingSecret", append(elsewhere, set("pipelines.backup.to=s3://backups")...)...)
	})
}

func arguments(w *wfv1.WorkflowTemplate) map[string]string {
	found := map[string]string{}
	for _, p := range w.Spec.Arguments.Parameters {
		found[p.Name] = p.Value.String()
	}
	return found
}

// The account of the workflow restore may restart what a restore restarts, and each of these
// is a deployment of the chart.
func TestRestoreRestarts(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		r := render(t, helm, "mlops", "mlops")
		var want []string
		for _, name := range kube.Restored {
			want = append(want, one[*appsv1.Deployment](t, r, "mlops-"+name).Name)
		}
		for _, rule := range one[*rbacv1.Role](t, r, "mlops-restore").Rules {
			if slices.Contains(rule.Resources, "deployments") {
				if diff := cmp.Diff(want, rule.ResourceNames); diff != "" {
					t.Errorf("deployments (-want +got):\n%s", diff)
				}
				return
			}
		}
		t.Error("no rule about deployments")
	})
}
