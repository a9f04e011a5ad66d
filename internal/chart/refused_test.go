package chart

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Wrong values are refused with a clear message before anything is installed.
func TestRefused(t *testing.T) {
	t.Parallel()
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
			{"an unknown key of a part of a service", set("argo.server.port=1"), "additional properties 'port' not allowed"},
			{"an unknown key of global", set("global.postgres.hosts=a"), "additional properties 'hosts' not allowed"},
			{"an unknown key of global.images", set("global.images.registri=a"), "additional properties 'registri' not allowed"},
			{"a word for a number", set("inference.replicas=two"), "got string, want integer"},
			{"no servers at all", set("inference.replicas=0"), "minimum: got 0, want 1"},
			{"replicas beside an autoscaler", set("inference.autoscaling.enabled=true", "inference.replicas=3"), "leave replicas at 1, and set inference.autoscaling.minReplicas"},
			{"fewest servers above most", set("inference.autoscaling.enabled=true", "inference.autoscaling.minReplicas=5"), "minReplicas 5 is above maxReplicas 4"},
			{"nothing to scale by", set("inference.autoscaling.enabled=true", "inference.autoscaling.cpu="), "there is nothing to scale by"},
			{"a target that no server can reach", set("inference.autoscaling.enabled=true", "inference.resources.limits.cpu=0.5"), "can't use as much, since inference.resources.limits.cpu is 0.5"},
			{"metrics for an autoscaler that isn't the release's", set("inference.autoscaling.enabled=true", "inference.autoscaling.external=true", "inference.autoscaling.metrics[0].type=Pods"), "the release creates no autoscaler that could use metrics"},
			{"a target of no CPU", set("inference.autoscaling.cpu=0"), "'/inference/autoscaling/cpu'"},
			{"servers spread over nothing", set("inference.spreadOver={}"), "'/inference/spreadOver/0'"},
			{"an unknown key of the autoscaler", set("inference.autoscaling.max=9"), "additional properties 'max' not allowed"},
			{"a word for a switch", set("nodePorts.argo.enabled=maybe"), "got string, want boolean"},
			{"a string for a switch of a service", []string{"--set-string", "minio.enabled=false"}, "got string, want boolean"},
			{"an unknown pull policy", set("global.images.pullPolicy=Sometimes"), "value must be one of"},
			{"an unknown service type", set("ui.service.type=External"), "value must be one of"},
			{"an invalid digest", set("postgres.image.digest=latest"), "does not match pattern"},
			{"a third-party image without a tag", set("postgres.image.tag="), "does not match pattern"},
			{"a registry as a URL", set("global.images.registry=https://r.example.com"), "does not match pattern"},
			{"a NodePort out of range", set("inference.service.nodePort=80"), "'/inference/service/nodePort'"},
			{"a size without a unit", set("postgres.persistence.size=10"), "'/postgres/persistence/size'"},
			{"an invalid quantity", set("mlflow.resources.limits.memory=lots"), "does not match pattern"},
			{"an unknown schedule", set("pipelines.schedules.load=daily"), "does not match pattern"},
			{"a source that a cluster can't open", set("pipelines.source=file:///data.csv"), "does not match pattern"},
			{"an S3 endpoint without http", set("minio.enabled=false", "global.s3.endpoint=s3.example.com"), "does not match pattern"},
			{"a password in the source's address", set("pipelines.source=https://me:secret@example.com/t.csv"), "'/pipelines/source'"},
			{"a user in it", set("pipelines.source=https://me@example.com"), "'/pipelines/source'"},
			{"keys in the S3 endpoint", set("minio.enabled=false", "global.s3.endpoint=https://key:secret@s3.example.com"), "'/global/s3/endpoint'"},
			{"a password in MLflow's address", set("mlflow.enabled=false", "global.mlflow.uri=https://me:secret@mlflow.example.com/a"), "'/global/mlflow/uri'"},
			{"a password in Prometheus' address", set("prometheus.enabled=false", "global.prometheus.uri=http://me:secret@p"), "'/global/prometheus/uri'"},
			{"an invalid bucket name", set("global.s3.buckets.mlflow=My_Bucket"), "does not match pattern"},
			{"a mirror as a URL", set("global.images.mirror=https://r.example.com"), "'/global/images/mirror'"},
			{"a number as a node's label", set("inference.nodeSelector.disk=1"), "'/inference/nodeSelector/disk': got number, want string"},
			{"an invalid label", set("argo.server.nodeSelector.disk=a b"), "'/argo/server/nodeSelector/disk'"},
			{"an invalid effect", set("minio.tolerations[0].effect=NoRun"), "'/minio/tolerations/0/effect'"},
			{"an unknown key of a toleration", set("global.pod.tolerations[0].name=a"), "additional properties 'name' not allowed"},
			{"an unknown affinity", set("ui.affinity.node.a=b"), "additional properties 'node' not allowed"},
			{"a number as an annotation", set("postgres.podAnnotations.a=1"), "'/postgres/podAnnotations/a': got number, want string"},
			{"an invalid annotation of an account", set("setup.serviceAccount.annotations.a b=c"), "'/setup/serviceAccount/annotations': additional properties 'a b' not allowed"},
			{"an unknown key of an account", set("mlflow.serviceAccount.name=a"), "additional properties 'name' not allowed"},
			{"a variable without a name", set("grafana.extraEnv[0].value=a"), "missing property 'name'"},
			{"a variable with an invalid name", set("grafana.extraEnv[0].name=1=2"), "'/grafana/extraEnv/0/name'"},
			{"a number as a variable", set("prometheus.extraEnv[0].name=A", "prometheus.extraEnv[0].value=1"), "'/prometheus/extraEnv/0/value': got number, want string"},
			{"a variable from two sources", set("pipelines.extraEnv[0].name=A", "pipelines.extraEnv[0].value=a", "pipelines.extraEnv[0].valueFrom.fieldRef.fieldPath=b"), "'/pipelines/extraEnv/0': maxProperties: got 3, want 2"},
			{"a variable twice", set("prometheus.extraEnv[0].name=A", "prometheus.extraEnv[1].name=A"), "extraEnv: the variable A is listed twice"},
			{"a variable from an unknown source", set("argo.controller.extraEnv[0].name=A", "argo.controller.extraEnv[0].valueFrom.file=b"), "additional properties 'file' not allowed"},
			{"resources of an unknown step", set("pipelines.resources.tidy.limits.memory=1Gi"), "additional properties 'tidy' not allowed"},
			{"resources of all steps at once", set("pipelines.resources.limits.memory=1Gi"), "additional properties 'limits' not allowed"},

			{"a role of Postgres without a connection", set("global.postgres.roles.load.connections=0"), "'/global/postgres/roles/load/connections'"},
			{"a time without a unit", set("global.postgres.roles.load.lockTimeout=10"), "'/global/postgres/roles/load/lockTimeout'"},
			{"an unknown role", set("global.postgres.roles.loader.secret=a"), "additional properties 'loader' not allowed"},

			{"no Postgres at all", set("postgres.enabled=false"), "set global.postgres.host to the Postgres to use instead"},
			{"another Postgres, no password", set("postgres.enabled=false", "global.postgres.host=db"), "global.postgres.existingSecret"},
			{"another Postgres, one role missing", set("postgres.enabled=false", "global.postgres.host=db", "global.postgres.appSecret=a", "global.postgres.mlflowSecret=b"), "the Secret for argo in global.postgres.argoSecret"},
			{"two Postgres", set("global.postgres.host=db"), "set postgres.enabled=false as well"},
			{"no S3 at all", set("minio.enabled=false"), "set global.s3.endpoint to the S3 store to use instead"},
			{"no S3 for a table in S3", set("minio.enabled=false", "mlflow.enabled=false", "global.mlflow.uri=http://m", "pipelines.source=s3://tables/a.csv"), "set global.s3.endpoint to the S3 store to use instead"},
			{"no S3 for a table that comes with the release", append(set("minio.enabled=false", "mlflow.enabled=false", "global.mlflow.uri=http://m"), "--set-file", "global.dataset.table="+table), "set global.s3.endpoint to the S3 store to use instead"},
			{"another S3, no keys", set("minio.enabled=false", "global.s3.endpoint=http://s3"), "global.s3.existingSecret"},
			{"two S3", set("global.s3.endpoint=http://s3"), "set minio.enabled=false as well"},
			{"no MLflow at all", set("mlflow.enabled=false"), "set global.mlflow.uri to the MLflow to use instead"},
			{"two MLflows", set("global.mlflow.uri=http://m"), "set mlflow.enabled=false as well"},
			{"a login for an MLflow that isn't there", set("global.mlflow.existingSecret=a"), "set global.mlflow.uri to its address"},
			{"a login for inference only", set("mlflow.enabled=false", "global.mlflow.uri=http://m", "global.mlflow.inferenceSecret=a"), "the steps need a login too"},
			{"an MLflow for everyone on the node's ports", set("global.mlflow.login=false", "nodePorts.mlflow.enabled=true"), "set global.mlflow.login=true"},
			{"every host that begins alike", set("mlflow.allowedHosts={10.*}"), "does not match pattern"},
			{"Grafana without Prometheus", set("prometheus.enabled=false"), "set global.prometheus.uri to the Prometheus that Grafana queries instead"},
			{"an Alertmanager that tells nobody", set("prometheus.alertmanager.enabled=true"), "set prometheus.alertmanager.configSecret to a Secret with alertmanager.yml"},
			{"two Alertmanagers", set("prometheus.alertmanager.enabled=true", "prometheus.alertmanager.configSecret=mine", "prometheus.alertmanager.url=http://a:9093"), "set prometheus.alertmanager.enabled=false as well"},
			{"two Prometheus", set("global.prometheus.uri=http://p"), "set prometheus.enabled=false as well"},
			{"a server without a model", set("pipelines.enabled=false"), "set inference.model to the registered model to serve"},
			{"a page without a server", set("inference.enabled=false"), "set ui.inference to the server that the page queries instead"},
			{"Argo without a login on a NodePort", set("argo.server.authMode=server", "nodePorts.argo.enabled=true"), "set argo.server.authMode=client"},
			{"one switch for all NodePorts", set("exposeAll=true"), "additional properties 'exposeAll' not allowed"},
			{"a server without signed versions", set("pipelines.enabled=false", "inference.model=m"), "global.signing.trustedSecret"},
			{"a signing key without trusted keys", set("global.signing.keySecret=a"), "or neither"},
			{"another word for API keys", set("global.auth.apiKeys=maybe"), "'/global/auth/apiKeys'"},
			{"a page without a login on a NodePort", set("ingress.enabled=true", "ingress.hosts.inference=api.example.com", "ingress.login.annotations.a=b", "global.auth.pageLogin=false"), "set ui.service.type=ClusterIP"},
			{"a page without any login", set("ingress.enabled=true", "global.auth.pageLogin=false", "ui.service.type=ClusterIP"), "put a login proxy in front"},
			{"a page without a key beside the API", set("ingress.enabled=true", "ingress.login.annotations.a=b", "global.auth.pageLogin=false", "ui.service.type=ClusterIP"), "set ingress.hosts.inference"},
			{"Prometheus on the Ingress without a login", set("ingress.enabled=true", "ingress.hosts.prometheus=p.example.com"), "Prometheus has no login of its own"},
			{"MLflow on the Ingress under a name that it refuses", set("ingress.enabled=true", "ingress.hosts.mlflow=m.example.com"), "add m.example.com to mlflow.allowedHosts"},
			{"the page on the Ingress under a name that it refuses", set("ingress.enabled=true", "ingress.host=m.example.com", "ui.allowedHosts={localhost}"), "add m.example.com to ui.allowedHosts"},
			{"the API on the Ingress under a name that it refuses", set("ingress.enabled=true", "ingress.host=m.example.com", "ingress.hosts.inference=api.example.com", "inference.allowedHosts={m.example.com}"), "add api.example.com to inference.allowedHosts"},
			{"an Ingress of any name to a page that knows its own", set("ingress.enabled=true", "ui.allowedHosts={localhost}"), "add those of the Ingress"},
			{"a name with a port", set("ui.allowedHosts={localhost:80}"), "does not match pattern"},
			{"MLflow on the Ingress without a login", set("ingress.enabled=true", "ingress.hosts.mlflow=m.example.com", "mlflow.allowedHosts={m.example.com}", "global.mlflow.login=false"), "set global.mlflow.login=true"},
			{"Argo on the Ingress without a token", set("ingress.enabled=true", "ingress.hosts.argo=a.example.com", "argo.server.authMode=server"), "set argo.server.authMode=client"},
			{"a host of a service that isn't there", set("ingress.enabled=true", "ingress.hosts.grafana=g.example.com", "grafana.enabled=false"), "the release has no grafana of its own"},
			{"a host with a port", set("ingress.enabled=true", "ingress.hosts.inference=a.example.com:80"), "'/ingress/hosts/inference'"},
			{"a certificate for no name", set("ingress.enabled=true", "ingress.certManager.issuer=ca"), "set ingress.host"},
			{"two issuers", set("ingress.enabled=true", "ingress.host=a", "ingress.certManager.issuer=ca", "ingress.certManager.clusterIssuer=ca"), "not both"},
			{"one host twice", set("ingress.enabled=true", "ingress.host=a", "ingress.hosts.inference=a"), "ingress.hosts.inference: leave it empty"},
			{"an ingress to nothing", set("ingress.enabled=true", "inference.enabled=false", "ui.enabled=false"), "neither inference nor ui is enabled"},

			{"a data set that isn't YAML", []string{"--set-file", "global.dataset.spec=" + broken}, "global.dataset.spec is not YAML"},
			{"a data set whose address holds a password", []string{"--set-file", "global.dataset.spec=" + private}, "source.url contains a user or a password"},
			{"a data set without a model", set("global.dataset.spec=name: a"), "global.dataset.spec: model is missing or not a name"},
			{"a table without a name", []string{"--set", "global.dataset.spec=model: a", "--set-file", "global.dataset.table=" + table}, "global.dataset.spec: name is missing or not a name"},
			{"a table that is too big", []string{"--set-file", "global.dataset.table=" + big}, "has 800000 bytes; at most 700000 fit into a release"},
		} {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				refused(t, helm, "mlops", test.want, test.flags...)
			})
		}
		refused(t, helm, "a.b", "a letter first, at most 40")
		refused(t, helm, strings.Repeat("a", 41), "a letter first, at most 40")
	})
}

func refused(t *testing.T, helm, release, want string, flags ...string) {
	t.Helper()
	_, err := run(t, helm, append([]string{"template", release, dir, "--kube-version", kubeVersion}, flags...)...)
	if err == nil {
		t.Fatalf("the values are accepted, want an error with %q", want)
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("got the error:\n%v\nwant %q", err, want)
	}
}

// The chart declares which Kubernetes it needs.
func TestOldKubernetes(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		_, err := run(t, helm, "template", "mlops", dir, "--kube-version", "1.29.0")
		if err == nil || !strings.Contains(err.Error(), "requires kubeVersion: >=1.30.0-0") {
			t.Errorf("got %v", err)
		}
	})
}
