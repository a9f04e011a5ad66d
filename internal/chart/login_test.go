package chart

import (
	"path"
	"slices"
	"strings"
	"testing"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"mlops/internal/signature"
)

// fromSecrets are the Secrets that a container takes all its variables from.
func fromSecrets(c corev1.Container) []string {
	var names []string
	for _, e := range c.EnvFrom {
		if e.SecretRef != nil {
			names = append(names, e.SecretRef.Name)
		}
	}
	return names
}

// Every program that talks to Postgres, MLflow or S3 has a login of its own, with no more
// rights than it needs.
func TestLogins(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		for _, test := range []struct {
			name  string
			flags []string
			want  map[string][]string
		}{
			{"the release's own", nil, map[string][]string{
				"mlflow": {"mlops-postgres-mlflow", "mlops-s3-mlflow", "mlops-mlflow-admin"}, "inference": {"mlops-mlflow-inference", "mlops-signers", "mlops-postgres-serve"}, "ui": nil, "loadtest": {"mlops-loadtest"},
				"load-raw-data": {"mlops-postgres-load", "mlops-s3-loader"}, "process-data": {"mlops-postgres-clean"}, "load-val-test-data": {"mlops-postgres-split"},
				"candidates": {"mlops-postgres-train", "mlops-mlflow-steps"}, "train": {"mlops-postgres-train", "mlops-mlflow-steps"}, "promote-best-model": {"mlops-postgres-promote", "mlops-mlflow-steps", "mlops-signing", "mlops-signers"}, "rollback-model": {"mlops-postgres-promote", "mlops-mlflow-steps", "mlops-signers"}, "pin-model": {"mlops-postgres-promote", "mlops-mlflow-steps"}, "challenge-model": {"mlops-postgres-promote", "mlops-mlflow-steps", "mlops-signing", "mlops-signers"}, "adopt-model": {"mlops-postgres-promote", "mlops-mlflow-steps", "mlops-signing", "mlops-signers"}, "retain-models": {"mlops-postgres-promote", "mlops-mlflow-steps"},
				"score-batch": {"mlops-postgres-score", "mlops-s3-scorer", "mlops-internal-key"},
			}},
			{"others'", set("mlflow.enabled=false", "global.mlflow.uri=https://m.example.com", "global.mlflow.existingSecret=their-mlflow", "global.mlflow.inferenceSecret=their-reader",
				"minio.enabled=false", "global.s3.endpoint=https://s3.example.com", "global.s3.existingSecret=their-s3", "global.s3.loaderSecret=their-loader"), map[string][]string{
				"inference": {"their-reader", "mlops-signers", "mlops-postgres-serve"}, "ui": nil,
				"load-raw-data": {"mlops-postgres-load", "their-loader"}, "process-data": {"mlops-postgres-clean"}, "load-val-test-data": {"mlops-postgres-split"},
				"candidates": {"mlops-postgres-train", "their-mlflow"}, "train": {"mlops-postgres-train", "their-mlflow"}, "promote-best-model": {"mlops-postgres-promote", "their-mlflow", "mlops-signing", "mlops-signers"}, "rollback-model": {"mlops-postgres-promote", "their-mlflow", "mlops-signers"}, "pin-model": {"mlops-postgres-promote", "their-mlflow"}, "challenge-model": {"mlops-postgres-promote", "their-mlflow", "mlops-signing", "mlops-signers"}, "adopt-model": {"mlops-postgres-promote", "their-mlflow", "mlops-signing", "mlops-signers"}, "retain-models": {"mlops-postgres-promote", "their-mlflow"},
				"score-batch": {"mlops-postgres-score", "their-s3", "mlops-internal-key"},
			}},
			{"one Postgres role for all, another for one", set("global.postgres.appSecret=their-app", "global.postgres.roles.train.secret=their-train"), map[string][]string{
				"load-raw-data": {"their-app", "mlops-s3-loader"}, "process-data": {"their-app"}, "train": {"their-train", "mlops-mlflow-steps"},
			}},
			{"one for all", set("mlflow.enabled=false", "global.mlflow.uri=https://m.example.com", "global.mlflow.existingSecret=their-mlflow"), map[string][]string{"inference": {"their-mlflow", "mlops-signers", "mlops-postgres-serve"}, "promote-best-model": {"mlops-postgres-promote", "their-mlflow", "mlops-signing", "mlops-signers"}, "rollback-model": {"mlops-postgres-promote", "their-mlflow", "mlops-signers"}, "pin-model": {"mlops-postgres-promote", "their-mlflow"}, "challenge-model": {"mlops-postgres-promote", "their-mlflow", "mlops-signing", "mlops-signers"}, "adopt-model": {"mlops-postgres-promote", "their-mlflow", "mlops-signing", "mlops-signers"}, "retain-models": {"mlops-postgres-promote", "their-mlflow"}}},
			{"no login", set("global.mlflow.login=false"), map[string][]string{"mlflow": {"mlops-postgres-mlflow", "mlops-s3-mlflow"}, "inference": {"mlops-signers", "mlops-postgres-serve"}}},
		} {
			r := render(t, helm, "mlops", "mlops", test.flags...)
			got := map[string][]string{}
			for _, d := range all[*appsv1.Deployment](r) {
				got[strings.TrimPrefix(d.Name, "mlops-")] = fromSecrets(d.Spec.Template.Spec.Containers[0])
			}
			for _, w := range all[*wfv1.WorkflowTemplate](r) {
				for _, template := range w.Spec.Templates {
					if template.Container != nil {
						got[template.Name] = fromSecrets(*template.Container)
					}
				}
			}
			for who, want := range test.want {
				if diff := cmp.Diff(want, got[who]); diff != "" {
					t.Errorf("%s: the Secrets of %s (-want +got):\n%s", test.name, who, diff)
				}
			}
		}
	})
}

// MLflow answers its own names and those that the values give, and nothing that only
// begins like one.
func TestMLflowNames(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		r := render(t, helm, "mlops", "team", set("mlflow.allowedHosts={mlflow.example.com,192.0.2.7:30500}")...)
		args := one[*appsv1.Deployment](t, r, "mlops-mlflow").Spec.Template.Spec.Containers[0].Args
		if !slices.Contains(args, "--app-name=basic-auth") {
			t.Errorf("MLflow is started with %q and asks for no login", args)
		}
		list := func(flag string) []string {
			for _, a := range args {
				if text, ok := strings.CutPrefix(a, flag+"="); ok {
					return strings.Split(text, ",")
				}
			}
			t.Fatalf("MLflow is started with %q, want %s", args, flag)
			return nil
		}
		matches := func(patterns []string, name string) bool {
			return slices.ContainsFunc(patterns, func(p string) bool {
				if !strings.Contains(p, "*") {
					return p == name
				}
				ok, err := path.Match(p, name)
				return ok && err == nil
			})
		}
		for name, want := range map[string]bool{
			"mlops-mlflow:5000": true, "mlops-mlflow.team.svc.cluster.local:5000": true, "localhost:41234": true, "127.0.0.1:5000": true, "mlflow.example.com": true, "192.0.2.7:30500": true,
			"10.evil.example": false, "10.0.0.7:30500": false, "192.168.evil.example": false, "172.16.evil.example": false, "mlflow.example.com.evil.example": false, "localhost.evil.example": false, "": false,
		} {
			if got := matches(list("--allowed-hosts"), name); got != want {
				t.Errorf("host %q is answered: %v, want %v", name, got, want)
			}
		}
		for name, want := range map[string]bool{
			"https://mlflow.example.com": true, "http://192.0.2.7:30500": true, "http://10.evil.example": false, "http://192.168.evil.example": false, "https://mlflow.example.com.evil.example": false, "null": false,
		} {
			if got := matches(list("--cors-allowed-origins"), name); got != want {
				t.Errorf("origin %q is accepted: %v, want %v", name, got, want)
			}
		}
	})
}

// Only promotion has the private key, the choice of a challenger, which is signed too, and set-up at an upgrade; inference has what it trusts. Upgrades keep
// both, and a key that is lost is made again beside the ones that are trusted.
func TestSigningKeys(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		first := renderWith(t, helm, nil)
		keys := func(r *rendering) (*corev1.Secret, *corev1.Secret, *signature.Signer, signature.Trusted) {
			t.Helper()
			private, public := one[*corev1.Secret](t, r, "mlops-signing"), one[*corev1.Secret](t, r, "mlops-signers")
			signer, err := signature.ReadSigner(private.Data["MLOPS_SIGNING_KEY"])
			if err != nil {
				t.Fatal(err)
			}
			trusted, err := signature.ReadTrusted(public.Data["MLOPS_SIGNERS"])
			if err != nil {
				t.Fatal(err)
			}
			return private, public, signer, trusted
		}
		private, public, signer, trusted := keys(first)
		subject := signature.Subject{Model: "m", Version: 1}
		sum := signer.Sign(subject)
		if err := trusted.Verify(subject, sum); err != nil || len(trusted) != 1 {
			t.Errorf("%d trusted keys, the key's own signature: %v", len(trusted), err)
		}
		for _, o := range first.objects {
			if o.kind != "Secret" && strings.Contains(o.text, "mlops-signing") && !slices.Contains([]string{"promote-best-model", "challenge-model", "adopt-model"}, o.meta.GetName()) {
				t.Errorf("%s has the signing key", o)
			}
		}
		// An upgrade may find a version that a release before there were signatures has
		// put into production.
		if !strings.Contains(setupJob(t, render(t, helm, "mlops", "mlops", "--is-upgrade")), "mlops-signing") {
			t.Error("at an upgrade, the set-up Job lacks the signing key")
		}
		owned := map[string]*corev1.Secret{}
		for _, s := range []*corev1.Secret{private, public} {
			s = s.DeepCopy()
			s.Annotations["meta.helm.sh/release-name"], s.Annotations["meta.helm.sh/release-namespace"] = "mlops", "mlops"
			owned[s.Name] = s
		}
		same, sameTrusted, _, _ := keys(renderWith(t, helm, owned))
		if !cmp.Equal(same.Data, private.Data) || !cmp.Equal(sameTrusted.Data, public.Data) {
			t.Error("an upgrade makes other keys")
		}
		delete(owned, "mlops-signing")
		_, _, other, both := keys(renderWith(t, helm, owned))
		if err := both.Verify(subject, sum); err != nil {
			t.Errorf("what the lost key has signed: %v", err)
		}
		if err := both.Verify(subject, other.Sign(subject)); err != nil || len(both) != 2 {
			t.Errorf("%d trusted keys, the new key's signature: %v", len(both), err)
		}
	})
}

// setupJob is the text of the set-up Job.
func setupJob(t *testing.T, r *rendering) string {
	t.Helper()
	for _, o := range r.objects {
		if o.kind == "Job" && strings.Contains(o.meta.GetName(), "-setup-") {
			return o.text
		}
	}
	t.Fatal("no set-up Job")
	return ""
}
