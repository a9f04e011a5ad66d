package chart

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// scenario is an installation of the chart with some values.
type scenario struct {
	name      string
	release   string // empty: mlops
	namespace string // empty: mlops
	flags     []string
}

// set returns the flags for key=value pairs.
func set(values ...string) []string {
	var flags []string
	for _, v := range values {
		flags = append(flags, "--set", v)
	}
	return slices.Clip(flags) // so that tests can append to one they share
}

// everyNodePort exposes the services that stay inside the cluster by default.
var everyNodePort = []string{"nodePorts.mlflow.enabled=true", "nodePorts.argo.enabled=true", "nodePorts.prometheus.enabled=true", "nodePorts.loadtest.enabled=true"}

// behindLogin puts everything for people behind a login proxy, and the API on a host of its own.
var behindLogin = set("ingress.enabled=true", "ingress.host=m.example.com", "ingress.hosts.inference=api.example.com", "ingress.hosts.mlflow=mlflow.example.com", "ingress.hosts.argo=argo.example.com",
	"ingress.hosts.grafana=grafana.example.com", "ingress.hosts.prometheus=prometheus.example.com", "ingress.certManager.clusterIssuer=letsencrypt", "mlflow.allowedHosts={mlflow.example.com}",
	"ingress.annotations.a\\.b/c=d", "ingress.login.annotations.login\\.example/url=https://login.example.com", "global.auth.pageLogin=false", "ui.service.type=ClusterIP")

// ownValues sets every value that each component has for its own pods.
const ownValues = "testdata/components.yaml"

// manyNodes are the values for many nodes, with Postgres and S3 elsewhere.
const manyNodes = dir + "/values-cluster.yaml"

// Another data set and its table.
const (
	spec  = "../../workflows/datasets/penguins.yaml"
	table = "testdata/table.csv"
)

// scenarios are the default values, and each switch turned.
func scenarios() []scenario {
	externalPostgres := []string{"postgres.enabled=false", "global.postgres.host=db.example.com"}
	externalS3 := []string{"minio.enabled=false", "global.s3.endpoint=https://s3.example.com", "global.s3.existingSecret=my-s3"}
	s := []scenario{
		{name: "the default values"},
		{name: "another release elsewhere", release: "team-b", namespace: "elsewhere", flags: set("inference.service.nodePort=0", "ui.service.type=ClusterIP", "grafana.service.nodePort=0")},
		{name: "everything on NodePorts", flags: set(append(everyNodePort, "minio.console=true")...)},
		{name: "an ingress", flags: set("ingress.enabled=true", "ingress.className=nginx", "ingress.host=mlops.example.com", "ingress.tlsSecret=tls", "ingress.annotations.a\\.b/c=d")},
		{name: "an ingress for any host", flags: set("ingress.enabled=true")},
		{name: "an ingress with every host, a certificate and a login proxy", flags: behindLogin},
		{name: "API keys inside the cluster", flags: set("global.auth.apiKeys=on", "global.auth.existingSecret=my-keys")},
		{name: "an ingress without API keys", flags: set("ingress.enabled=true", "global.auth.apiKeys=off")},
		{name: "several servers", flags: set("inference.replicas=3")},
		{name: "as many servers as the load asks for", flags: set("inference.autoscaling.enabled=true")},
		{name: "as many servers as another autoscaler asks for", flags: set("inference.autoscaling.enabled=true", "inference.autoscaling.external=true")},
		{name: "many nodes", flags: []string{"--values", manyNodes}},
		{name: "no network policies", flags: set("networkPolicies.enabled=false")},
		{name: "network policies with every NodePort", flags: set(everyNodePort...)},
		{name: "Argo without a login", flags: set("argo.server.authMode=server")},
		{name: "another data set", flags: []string{"--set-file", "global.dataset.spec=" + spec, "--set-file", "global.dataset.table=" + table}},
		{name: "another source", flags: set("pipelines.source=https://example.com/a.zip")},
		{name: "a source with a signature and a path with @", flags: set("pipelines.source=https://example.com/a@b.zip?sig=x:y@z")},
		{name: "the source in an image", flags: set("setup.source.image=mlops.local/source:0123456789ab", "pipelines.source=s3://sources/table.zip")},
		{name: "no first run, no schedules", flags: set("pipelines.runOnInstall=false", "pipelines.schedules.load=", "pipelines.schedules.pipeline=")},
		{name: "another registry", flags: append(set("global.images.registry=r.example.com:5000/team", "global.images.tag=1.2.3", "global.images.pullPolicy=Always", "global.images.pullSecrets={one,two}", "postgres.image.digest=sha256:"+strings.Repeat("0a", 32)), idFlags()...)},
		{name: "dedicated nodes", flags: append(placed, idFlags()...)},
		{name: "every component with values of its own", flags: []string{"--values", ownValues}},
		{name: "a mirror of third-party images", flags: set("global.images.mirror=r.example.com:5000/mirror")},
		{name: "a storage class", flags: set("global.storageClass=fast", "postgres.persistence.storageClass=safe")},
		{name: "Postgres elsewhere, with a superuser", flags: set(append(externalPostgres, "global.postgres.port=6432", "global.postgres.existingSecret=my-postgres", "global.postgres.sslMode=require")...)},
		{name: "Postgres elsewhere, with a certificate of one's own authority", flags: set(append(externalPostgres, "global.postgres.existingSecret=my-postgres", "global.postgres.sslMode=verify-full", "global.postgres.caSecret=my-ca")...)},
		{name: "Postgres elsewhere, with a public certificate", flags: set(append(externalPostgres, "global.postgres.existingSecret=my-postgres", "global.postgres.sslMode=verify-full")...)},
		{name: "Postgres with TLS", flags: set("global.postgres.sslMode=verify-full")},
		{name: "Postgres with an existing certificate", flags: set("global.postgres.sslMode=verify-full", "global.postgres.tlsSecret=my-cert")},
		{name: "TLS inside", flags: set("global.tls.enabled=true", "minio.console=true")},
		{name: "TLS inside, with every host, and Postgres and S3 elsewhere", flags: append(set(append(append(externalPostgres, externalS3...), "global.tls.enabled=true", "global.postgres.existingSecret=my-postgres")...), behindLogin...)},
		{name: "Postgres elsewhere, prepared", flags: set(append(externalPostgres, "global.postgres.appSecret=my-app", "global.postgres.mlflowSecret=my-mlflow", "global.postgres.argoSecret=my-argo")...)},
		{name: "an existing password for Postgres", flags: set("global.postgres.existingSecret=my-postgres")},
		{name: "S3 elsewhere", flags: set(append(externalS3, "global.s3.region=eu-west-3", "global.s3.buckets.mlflow=team-models", "global.s3.buckets.sources=team-tables")...)},
		{name: "S3 elsewhere, a key for each", flags: set(append(externalS3, "global.s3.mlflowSecret=my-s3-mlflow", "global.s3.loaderSecret=my-s3-loader")...)},
		{name: "MLflow elsewhere", flags: set("mlflow.enabled=false", "global.mlflow.uri=https://mlflow.example.com")},
		{name: "MLflow elsewhere, with a login", flags: set("mlflow.enabled=false", "global.mlflow.uri=https://mlflow.example.com", "global.mlflow.existingSecret=my-login", "global.mlflow.inferenceSecret=my-reader")},
		{name: "existing signing keys", flags: set("global.signing.keySecret=my-signing", "global.signing.trustedSecret=my-signers")},
		{name: "no signed versions", flags: set("global.signing.enabled=false")},
		{name: "MLflow without a login", flags: set("global.mlflow.login=false", "mlflow.allowedHosts={mlflow.example.com,192.0.2.7:30500}")},
		{name: "MLflow elsewhere, a table from the web, and so no S3", flags: set("minio.enabled=false", "mlflow.enabled=false", "global.mlflow.uri=https://mlflow.example.com")},
		{name: "Argo elsewhere", flags: set("argo.enabled=false")},
		{name: "Prometheus elsewhere", flags: set("prometheus.enabled=false", "global.prometheus.uri=http://prometheus.example.com")},
		{name: "neither Prometheus nor Grafana", flags: set("prometheus.enabled=false", "grafana.enabled=false")},
		{name: "no Grafana", flags: set("grafana.enabled=false")},
		{name: "no page", flags: set("ui.enabled=false", "ingress.enabled=true")},
		{name: "no server", flags: set("inference.enabled=false", "ui.inference=http://inference.example.com")},
		{name: "only a server and its page", flags: set("postgres.enabled=false", "minio.enabled=false", "mlflow.enabled=false", "argo.enabled=false", "prometheus.enabled=false", "grafana.enabled=false", "pipelines.enabled=false",
			"global.mlflow.uri=http://mlflow.example.com", "inference.model=readmission", "global.signing.trustedSecret=my-signers")},
		{name: "all services elsewhere", flags: set(append(append(externalPostgres, externalS3...), "global.postgres.existingSecret=my-postgres", "mlflow.enabled=false", "global.mlflow.uri=http://mlflow.example.com",
			"argo.enabled=false", "prometheus.enabled=false", "global.prometheus.uri=http://prometheus.example.com", "grafana.existingSecret=my-grafana")...)},
	}
	if built := "../../dist/values.yaml"; exists(built) {
		s = append(s, scenario{name: "the images that were built", flags: []string{"--values", built}})
	}
	for i := range s {
		if s[i].release == "" {
			s[i].release, s[i].namespace = "mlops", "mlops"
		}
	}
	return s
}

// idFlags set digests of images, as `make images` does.
func idFlags() []string {
	return set("global.images.ids.inference=sha256:"+strings.Repeat("1b", 32), "global.images.ids.setup=sha256:"+strings.Repeat("2c", 32))
}

// placed sets where all pods may run.
var placed = slices.Clip(append(set("global.pod.annotations.a\\.b/c=d", "global.pod.tolerations[0].key=ml", "global.pod.tolerations[0].operator=Exists",
	"global.pod.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].key=k",
	"global.pod.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].operator=Exists"),
	"--set-string", "global.pod.nodeSelector.ml=1"))

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// eachScenario runs a test with every Helm and every scenario.
func eachScenario(t *testing.T, test func(t *testing.T, r *rendering)) {
	t.Helper()
	eachHelm(t, func(t *testing.T, helm string) {
		for _, s := range scenarios() {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				test(t, render(t, helm, s.release, s.namespace, s.flags...))
			})
		}
	})
}
