package chart

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// scrapeJob is what the tests look at of a job of Prometheus' configuration.
type scrapeJob struct {
	JobName       string `json:"job_name"`
	MetricsPath   string `json:"metrics_path"`
	Scheme        string
	Authorization *struct {
		CredentialsFile string `json:"credentials_file"`
	}
	DNS []struct {
		Names []string
		Port  int32
	} `json:"dns_sd_configs"`
}

// scrapeJobs returns the jobs of a release's Prometheus by name.
func scrapeJobs(t *testing.T, r *rendering, configMap string) map[string]scrapeJob {
	t.Helper()
	var config struct {
		ScrapeConfigs []scrapeJob `json:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(one[*corev1.ConfigMap](t, r, configMap).Data["prometheus.yml"]), &config); err != nil {
		t.Fatal(err)
	}
	jobs := map[string]scrapeJob{}
	for _, j := range config.ScrapeConfigs {
		jobs[j.JobName] = j
	}
	return jobs
}

// MinIO gives its metrics to whoever has a token, and Prometheus sends the same one; it
// starts without that Secret where the release has no MinIO.
func TestMetricsToken(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		r := render(t, helm, "team-b", "elsewhere")
		const secret, key = "team-b-minio-metrics", "token"
		var of *corev1.SecretKeySelector
		for _, e := range one[*appsv1.StatefulSet](t, r, "team-b-minio").Spec.Template.Spec.Containers[0].Env {
			if e.Name == "MLOPS_METRICS_TOKEN" && e.ValueFrom != nil {
				of = e.ValueFrom.SecretKeyRef
			}
		}
		if of == nil || of.Name != secret || of.Key != key || of.Optional != nil {
			t.Errorf("MinIO's token is %+v", of)
		}
		pod := one[*appsv1.StatefulSet](t, r, "team-b-prometheus").Spec.Template.Spec
		var path string
		for _, m := range pod.Containers[0].VolumeMounts {
			for _, v := range pod.Volumes {
				if v.Name == m.Name && v.Secret != nil && v.Secret.SecretName == secret && v.Secret.Optional != nil && *v.Secret.Optional {
					path = m.MountPath + "/" + key
				}
			}
		}
		for name, job := range scrapeJobs(t, r, "team-b-prometheus") {
			switch a := job.Authorization; {
			case name == "minio" && (a == nil || a.CredentialsFile != path):
				t.Errorf("MinIO is scraped with %+v, and the token is at %q", a, path)
			case name != "minio" && a != nil:
				t.Errorf("%s is scraped with %+v", name, a)
			}
		}
	})
}
