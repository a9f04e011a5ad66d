package chart

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// The chart, its subcharts, the images in the workflows, and the helper that subcharts use
// all have the same version.
func TestVersions(t *testing.T) {
	t.Parallel()
	type chart struct {
		Version, AppVersion, KubeVersion string
		Dependencies                     []struct{ Name, Version, Condition, Repository string }
	}
	read := func(path string) (c chart) {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(text, &c); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		return c
	}
	umbrella := read(dir + "/Chart.yaml")
	helper := files(t, dir+"/templates/_helpers.tpl")["_helpers.tpl"]
	if want := `{{- define "mlops.version" -}}` + umbrella.AppVersion + `{{- end -}}`; !strings.Contains(helper, want) {
		t.Errorf("templates/_helpers.tpl lacks %s", want)
	}
	for name, text := range files(t, workflows) {
		for _, m := range regexp.MustCompile(`image: mlops\.local/[a-z-]+:(\S+)`).FindAllStringSubmatch(text, -1) {
			if m[1] != umbrella.AppVersion {
				t.Errorf("%s has an image of version %s, the chart is %s", name, m[1], umbrella.AppVersion)
			}
		}
	}
	parts, err := filepath.Glob(dir + "/charts/*/Chart.yaml")
	if err != nil || len(parts) != len(umbrella.Dependencies) {
		t.Errorf("%d subcharts, %d dependencies: %v", len(parts), len(umbrella.Dependencies), err)
	}
	for _, d := range umbrella.Dependencies {
		condition := d.Name + ".enabled"
		if d.Name == "gate" { // says that there is an Ingress
			condition = "ingress.enabled"
		}
		if d.Condition != condition || d.Repository != "" {
			t.Errorf("dependency %+v", d)
		}
		if c := read(dir + "/charts/" + d.Name + "/Chart.yaml"); c.Version != d.Version {
			t.Errorf("subchart %s has version %s, the umbrella requires %s", d.Name, c.Version, d.Version)
		}
	}
}

func TestLint(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		out, err := run(t, helm, "lint", dir, "--strict", "--kube-version", kubeVersion)
		if err != nil || strings.Contains(out, "[WARNING]") || strings.Contains(out, "[ERROR]") {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// A package contains files where the tree has symbolic links.
func TestPackage(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		to := t.TempDir()
		if out, err := run(t, helm, "package", dir, "--destination", to); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		packages, err := filepath.Glob(to + "/mlops-*.tgz")
		if err != nil || len(packages) != 1 {
			t.Fatalf("%d packages: %v", len(packages), err)
		}
		out, err := run(t, helm, "template", "mlops", packages[0], "--namespace", "mlops", "--kube-version", kubeVersion)
		if err != nil {
			t.Fatal(err)
		}
		if want := render(t, helm, "mlops", "mlops").text; out != want {
			t.Error("package and folder render different texts")
		}
	})
}

// The notes list the release's addresses. Only Helm 4 renders notes without a cluster.
func TestNotes(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		if out, _ := run(t, helm, "version", "--template", "{{.Version}}"); !strings.HasPrefix(out, "v4") {
			t.Skip("this Helm renders notes only with a cluster")
		}
		for _, test := range []struct {
			name       string
			flags      []string
			want, lack []string
		}{
			{"by default", nil, []string{"kubectl apply --server-side --force-conflicts -f charts/charts/argo/crds", "http://<node>:30800", "http://<node>:30851", "http://<node>:30300", "port-forward svc/mlops-mlflow 5000", "make images", "helm test mlops -n team",
				"get secret mlops-grafana", "on the table at the data set's own address", "create token mlops-argo-user", "pod-security.kubernetes.io/enforce=restricted", `-d '{"age":"[0-10)","gender":"Female","race":"Caucasian"}'`}, []string{"%!", "30500", "<<<", "hpa", "max_connections"}},
			{"an autoscaler", set("inference.autoscaling.enabled=true"), []string{"From 2 to 4, by load", "kubectl -n team get hpa mlops-inference"}, []string{"%!"}},
			{"as many servers as Postgres has connections for", set("inference.replicas=7"), nil, []string{"max_connections"}},
			{"more", set("inference.replicas=8"), []string{"set postgres.settings.max_connections to 202"}, nil},
			{"more workers of MLflow", set("mlflow.workers=2"), []string{"set postgres.settings.max_connections to 208"}, nil},
			{"a role without a limit", set("inference.replicas=8", "global.postgres.roles.train.connections=-1"), nil, []string{"max_connections"}},
			{"a Postgres that exists", set("inference.replicas=8", "postgres.enabled=false", "global.postgres.host=db", "global.postgres.existingSecret=s"), nil, []string{"max_connections"}},
			{"somebody else's autoscaler", set("inference.autoscaling.enabled=true", "inference.autoscaling.external=true"), nil, []string{"hpa"}},
			{"every NodePort, no Grafana", set(append(everyNodePort, "grafana.enabled=false")...), []string{"http://<node>:30500", "http://<node>:30746", "http://<node>:30909"}, []string{"Grafana", "%!"}},
			{"an ingress", set("ingress.enabled=true", "ingress.host=m.example.com", "ingress.tlsSecret=tls", "ui.service.type=ClusterIP"), []string{"https://m.example.com/", "port-forward svc/mlops-ui 8501"}, []string{"30851", "%!"}},
			{"another data set", []string{"--set-file", "global.dataset.spec=" + spec}, []string{`-d '{"island":"Biscoe","species":"Adelie"}'`}, nil},
			{"without pipelines", set("pipelines.enabled=false", "inference.model=m", "global.signing.enabled=false"), []string{"A PREDICTION", "-d '{}'"}, []string{"THE PIPELINE"}},
			{"without Argo", set("argo.enabled=false"), nil, []string{"UPGRADES", "crds", "svc/mlops-argo"}},
		} {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				out, err := run(t, helm, append([]string{"install", "mlops", dir, "--namespace", "team", "--dry-run=client"}, test.flags...)...)
				if err != nil {
					t.Fatal(err)
				}
				_, notes, _ := strings.Cut(out, "\nNOTES:\n")
				for _, want := range test.want {
					if !strings.Contains(notes, want) {
						t.Errorf("the notes lack %q", want)
					}
				}
				for _, lack := range test.lack {
					if strings.Contains(notes, lack) {
						t.Errorf("the notes have %q", lack)
					}
				}
				if t.Failed() {
					t.Log(notes)
				}
			})
		}
	})
}
