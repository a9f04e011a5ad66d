package chart

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Values that are wrong are refused in words, before anything is installed.
func TestRefused(t *testing.T) {
	big := filepath.Join(t.TempDir(), "big.csv")
	if err := os.WriteFile(big, []byte(strings.Repeat("1,2,3,4\n", 100_000)), 0o644); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(t.TempDir(), "broken.yaml")
	if err := os.WriteFile(broken, []byte("model: [\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	private := filepath.Join(t.TempDir(), "private.yaml")
	if err := os.WriteFile(private, []byte("name: a\nmodel: a\nsource: {url: 'https://me:secret@example.com/t.csv'}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	eachHelm(t, func(t *testing.T, helm string) {
		for _, test := range []struct {
			name  string
			flags []string
			want  string
		}{
			{"an unknown key", set("postgress.enabled=false"), "additional properties 'postgress' not allowed"},
			{"an unknown key of a service", set("inference.replica=2"), "additional properties 'replica' not allowed"},
			{"an unknown key below", set("argo.server.port=1"), "additional properties 'port' not allowed"},
			{"an unknown key of global", set("global.postgres.hosts=a"), "additional properties 'hosts' not allowed"},
			{"an unknown key of global.images", set("global.images.registri=a"), "additional properties 'registri' not allowed"},
			{"a word for a number", set("inference.replicas=two"), "got string, want integer"},
			{"no servers at all", set("inference.replicas=0"), "minimum: got 0, want 1"},
			{"a word for a switch", set("nodePorts.argo.enabled=maybe"), "got string, want boolean"},
			{"a string for a switch of a service", []string{"--set-string", "minio.enabled=false"}, "got string, want boolean"},
			{"a policy that isn't", set("global.images.pullPolicy=Sometimes"), "value must be one of"},
			{"a service type that isn't", set("ui.service.type=External"), "value must be one of"},
			{"a digest that isn't", set("postgres.image.digest=latest"), "does not match pattern"},
			{"an image of others without a tag", set("postgres.image.tag="), "does not match pattern"},
			{"a registry as an address", set("global.images.registry=https://r.example.com"), "does not match pattern"},
			{"a node's port out of range", set("inference.service.nodePort=80"), "'/service/nodePort'"},
			{"a size without a unit", set("postgres.persistence.size=10"), "'/persistence/size'"},
			{"memory that isn't", set("mlflow.resources.limits.memory=lots"), "does not match pattern"},
			{"a schedule that isn't", set("pipelines.schedules.load=daily"), "does not match pattern"},
			{"a source that a cluster can't open", set("pipelines.source=file:///data.csv"), "does not match pattern"},
			{"an S3 endpoint without http", set("minio.enabled=false", "global.s3.endpoint=s3.example.com"), "does not match pattern"},
			{"a password in the source's address", set("pipelines.source=https://me:secret@example.com/t.csv"), "'/source'"},
			{"a user in it", set("pipelines.source=https://me@example.com"), "'/source'"},
			{"keys in the S3 endpoint", set("minio.enabled=false", "global.s3.endpoint=https://key:secret@s3.example.com"), "'/global/s3/endpoint'"},
			{"a password in MLflow's address", set("mlflow.enabled=false", "global.mlflow.uri=https://me:secret@mlflow.example.com/a"), "'/global/mlflow/uri'"},
			{"a password in Prometheus' address", set("prometheus.enabled=false", "global.prometheus.uri=http://me:secret@p"), "'/global/prometheus/uri'"},
			{"a bucket's name", set("global.s3.buckets.mlflow=My_Bucket"), "does not match pattern"},

			{"no Postgres at all", set("postgres.enabled=false"), "say in global.postgres.host which Postgres to use instead"},
			{"another Postgres, no password", set("postgres.enabled=false", "global.postgres.host=db"), "global.postgres.existingSecret"},
			{"another Postgres, one role missing", set("postgres.enabled=false", "global.postgres.host=db", "global.postgres.appSecret=a", "global.postgres.mlflowSecret=b"), "the Secret of argo in global.postgres.argoSecret"},
			{"two Postgres", set("global.postgres.host=db"), "set postgres.enabled=false as well"},
			{"no S3 at all", set("minio.enabled=false"), "say in global.s3.endpoint which S3 store to use instead"},
			{"no S3 for a table that is there", set("minio.enabled=false", "mlflow.enabled=false", "global.mlflow.uri=http://m", "pipelines.source=s3://tables/a.csv"), "say in global.s3.endpoint which S3 store to use instead"},
			{"no S3 for a table that comes with the release", append(set("minio.enabled=false", "mlflow.enabled=false", "global.mlflow.uri=http://m"), "--set-file", "global.dataset.table="+table), "say in global.s3.endpoint which S3 store to use instead"},
			{"another S3, no keys", set("minio.enabled=false", "global.s3.endpoint=http://s3"), "global.s3.existingSecret"},
			{"two S3", set("global.s3.endpoint=http://s3"), "set minio.enabled=false as well"},
			{"no MLflow at all", set("mlflow.enabled=false"), "say in global.mlflow.uri which MLflow to use instead"},
			{"two MLflows", set("global.mlflow.uri=http://m"), "set mlflow.enabled=false as well"},
			{"a login for an MLflow that isn't there", set("global.mlflow.existingSecret=a"), "say in global.mlflow.uri where it is"},
			{"a login for inference only", set("mlflow.enabled=false", "global.mlflow.uri=http://m", "global.mlflow.inferenceSecret=a"), "the steps need a login too"},
			{"an MLflow for everyone on the node's ports", set("global.mlflow.login=false", "nodePorts.mlflow.enabled=true"), "set global.mlflow.login=true"},
			{"every host that begins alike", set("mlflow.allowedHosts={10.*}"), "does not match pattern"},
			{"Grafana without Prometheus", set("prometheus.enabled=false"), "say in global.prometheus.uri which Prometheus Grafana asks instead"},
			{"two Prometheus", set("global.prometheus.uri=http://p"), "set prometheus.enabled=false as well"},
			{"a server without a model", set("pipelines.enabled=false"), "say in inference.model which registered model to serve"},
			{"a page without a server", set("inference.enabled=false"), "say in ui.inference which server the page asks instead"},
			{"an Argo for everyone on the node's ports", set("argo.server.authMode=server", "nodePorts.argo.enabled=true"), "set argo.server.authMode=client"},
			{"a switch for all doors at once", set("exposeAll=true"), "additional properties 'exposeAll' not allowed"},
			{"a server and nothing that signs", set("pipelines.enabled=false", "inference.model=m"), "global.signing.trustedSecret"},
			{"a signing key that nobody trusts", set("global.signing.keySecret=a"), "or neither"},
			{"an ingress to nothing", set("ingress.enabled=true", "inference.enabled=false", "ui.enabled=false"), "neither inference nor ui"},

			{"a data set that isn't YAML", []string{"--set-file", "global.dataset.spec=" + broken}, "global.dataset.spec is not YAML"},
			{"a data set whose address holds a password", []string{"--set-file", "global.dataset.spec=" + private}, "source.url holds a user or a password"},
			{"a data set without a model", set("global.dataset.spec=name: a"), "it has to say model"},
			{"a table without a name", []string{"--set", "global.dataset.spec=model: a", "--set-file", "global.dataset.table=" + table}, "it has to say name"},
			{"a table that is too big", []string{"--set-file", "global.dataset.table=" + big}, "has 800000 bytes; what comes with a release can have 700000"},
		} {
			t.Run(test.name, func(t *testing.T) { refused(t, helm, "mlops", test.want, test.flags...) })
		}
		refused(t, helm, "a.b", "a letter first, at most 40")
		refused(t, helm, strings.Repeat("a", 41), "a letter first, at most 40")
	})
}

func refused(t *testing.T, helm, release, want string, flags ...string) {
	t.Helper()
	_, wrong, err := run(t, helm, nil, append([]string{"template", release, dir, "--kube-version", kubeVersion}, flags...)...)
	if err == nil {
		t.Fatalf("it is taken, want it refused with %q", want)
	}
	if !strings.Contains(wrong, want) {
		t.Errorf("it is refused with:\n%s\nwant %q", wrong, want)
	}
}

// The chart says which Kubernetes it needs.
func TestOldKubernetes(t *testing.T) {
	eachHelm(t, func(t *testing.T, helm string) {
		_, wrong, err := run(t, helm, nil, "template", "mlops", dir, "--kube-version", "1.29.0")
		if err == nil || !strings.Contains(wrong, "requires kubeVersion: >=1.30.0-0") {
			t.Errorf("got %v: %s", err, wrong)
		}
	})
}
