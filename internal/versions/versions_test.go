package versions

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// repeated are the places that have to repeat a version: the first group of each
// match of the pattern must be it.
var repeated = []struct {
	what, want, files, pattern string
}{
	{"ours, of each chart", Platform, "charts/Chart.yaml charts/charts/*/Chart.yaml", `(?m)^version: *"?([^"\s]+)`},
	{"ours, of the chart's programs", Platform, "charts/Chart.yaml charts/charts/{inference,ui,pipelines,mlflow}/Chart.yaml", `(?m)^appVersion: *"?([^"\s]+)`},
	{"ours, of the subcharts", Platform, "charts/Chart.yaml", `\{name: [a-z]+, version: *"?([^",\s]+)`},
	{"ours, of our images in the chart", Platform, "charts/templates/_helpers.tpl", `define "mlops.version" -\}\}([^{]+)\{\{`},
	{"ours, of the steps' images", Platform, "workflows/*.yaml", `image: mlops\.local/[a-z-]+:(\S+)`},
	{"Alertmanager", Alertmanager, "tools/alertmanager/go.mod", `github\.com/prometheus/alertmanager v(\S+)`},
	{"Alertmanager", "v" + Alertmanager, "charts/values.yaml", `repository: prometheus/alertmanager, tag: "?([^",]+)`},
	{"Argo", Argo, "go.mod tools/argo/go.mod", `github\.com/argoproj/argo-workflows/v3 v(\S+)`},
	{"Argo", Argo, "charts/charts/argo/Chart.yaml", `(?m)^appVersion: *"?([^"\s]+)`},
	{"Argo", "v" + Argo, "charts/values.yaml", `repository: argoproj/[a-z-]+, tag: "?([^",]+)`},
	{"Grafana", Grafana, "charts/charts/grafana/Chart.yaml", `(?m)^appVersion: *"?([^"\s]+)`},
	{"Grafana", Grafana, "charts/values.yaml", `repository: grafana/grafana, tag: "?([^",]+)`},
	{"MinIO", MinIO, "charts/charts/minio/Chart.yaml", `(?m)^appVersion: *"?([^"\s]+)`},
	{"MinIO", minioModule(), "tools/minio/go.mod", `github\.com/minio/minio (\S+)`},
	{"MLflow", MLflow, "python/mlflow.in python/mlflow.txt python/requirements.in python/requirements.txt loadtest/peers/requirements.in", `(?m)^mlflow==(\S+)`},
	{"NumPy", NumPy, "python/requirements.txt", `(?m)^numpy==(\S+) ; python_full_version == '` + regexp.QuoteMeta(Python)},
	{"Pandas", Pandas, "python/requirements.txt", `(?m)^pandas==(\S+) ; python_full_version >= '` + regexp.QuoteMeta(Python)},
	{"Postgres", Postgres, "charts/charts/postgres/Chart.yaml", `(?m)^appVersion: *"?([^"\s]+)`},
	{"Postgres", Postgres, "charts/values.yaml", `repository: library/postgres, tag: "?([^",]+)`},
	{"Prometheus", Prometheus, "charts/charts/prometheus/Chart.yaml", `(?m)^appVersion: *"?([^"\s]+)`},
	{"Prometheus", "v" + Prometheus, "charts/values.yaml", `repository: prometheus/prometheus, tag: "?([^",]+)`},
	{"Prometheus", prometheusModule(), "tools/cluster/go.mod", `github\.com/prometheus/prometheus (\S+)`},
	{"PostgresExporter", PostgresExporter, "tools/postgres-exporter/go.mod", `github\.com/prometheus-community/postgres_exporter v(\S+)`},
	{"PostgresExporter", "v" + PostgresExporter, "charts/values.yaml", `repository: prometheuscommunity/postgres-exporter, tag: "?([^",]+)`},
	{"NetPol", NetPol, "tools/netpol/go.mod", `sigs\.k8s\.io/kube-network-policies v(\S+)`},
	{"VersityGW", VersityGW, "tools/versitygw/go.mod", `github\.com/versity/versitygw v(\S+)`},
	{"XGBoost", XGBoost, "python/requirements.in python/requirements.txt loadtest/peers/requirements.in tools/bench/quality/requirements.in", `(?m)^xgboost-cpu==(\S+)`},
}

// minioModule is the pseudo-version of MinIO's release: its time and commit.
func minioModule() string {
	digits := regexp.MustCompile(`\D`).ReplaceAllString(strings.TrimPrefix(MinIO, "RELEASE."), "")
	return "v0.0.0-" + digits + "-" + MinIOCommit[:12]
}

// prometheusModule is v0.316.0 for release 3.16.0.
func prometheusModule() string {
	p := strings.Split(Prometheus, ".")
	return "v0." + p[0] + strings.Repeat("0", 2-len(p[1])) + p[1] + "." + p[2]
}

func TestRepeatedVersionsAgree(t *testing.T) {
	t.Parallel()
	for _, r := range repeated {
		re := regexp.MustCompile(r.pattern)
		for _, path := range expand(t, r.files) {
			text, err := os.ReadFile(filepath.Join(root, path))
			if err != nil {
				t.Fatal(err)
			}
			found := re.FindAllSubmatchIndex(text, -1)
			if len(found) == 0 && !strings.Contains(r.files, "*") {
				t.Errorf("%s: no version of %s (pattern %s)", path, r.what, r.pattern)
			}
			for _, m := range found {
				if got := string(text[m[2]:m[3]]); got != r.want {
					t.Errorf("%s:%d: version %s (%s), want %s as in internal/versions", path, line(text, m[2]), got, r.what, r.want)
				}
			}
		}
	}
	if major, _, _ := strings.Cut(Postgres, "."); major != PostgresMajor {
		t.Errorf("PostgresMajor is %s, Postgres %s", PostgresMajor, Postgres)
	}
}

// TestNoOtherFileNamesAVersion keeps versions out of files that could read them
// from this package, and out of places that the test above does not know.
func TestNoOtherFileNamesAVersion(t *testing.T) {
	t.Parallel()
	var checked []string
	for _, r := range repeated {
		checked = append(checked, expand(t, r.files)...)
	}
	var quoted []string
	for _, v := range []string{Platform, Alertmanager, Argo, Grafana, MLflow, NetPol, Postgres, PostgresExporter, Prometheus, VersityGW, XGBoost, MinIO, MinIOCommit, ArgoCommit} {
		quoted = append(quoted, regexp.QuoteMeta(v))
	}
	// A longer number that holds one of them is another version.
	stray := regexp.MustCompile(`(?:^|[^\w.])v?(` + strings.Join(quoted, "|") + `)(?:[^\w.]|\.\D|\.?$)`)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			// Golden files are compared with what has the version from elsewhere.
			if slices.Contains([]string{".git", "bin", "dist", "docs", "testdata", "node_modules"}, d.Name()) || rel == "internal/versions" {
				return fs.SkipDir
			}
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil && rel != "." {
				return fs.SkipDir // a module of its own can't import this package
			}
			return nil
		}
		switch filepath.Ext(rel) {
		case ".go", ".yaml", ".yml", ".tpl", ".in", ".sh", ".py":
		default:
			if d.Name() != "Makefile" && rel != ".ci/run" {
				return nil
			}
		}
		// Tests quote answers of some version, and try others.
		if slices.Contains(checked, rel) || !d.Type().IsRegular() || strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range stray.FindAllSubmatchIndex(text, -1) {
			t.Errorf("%s:%d: %s stands here too; take it from internal/versions, or add the place to this package's test", rel, line(text, m[2]), text[m[2]:m[3]])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// expand lists the files of patterns, relative to the project's folder; {a,b}
// gives each.
func expand(t *testing.T, patterns string) []string {
	t.Helper()
	var paths []string
	for _, p := range strings.Fields(patterns) {
		for _, p := range braces(p) {
			found, err := filepath.Glob(filepath.Join(root, p))
			if err != nil || len(found) == 0 {
				t.Fatalf("no file is %s (%v)", p, err)
			}
			for _, f := range found {
				rel, err := filepath.Rel(root, f)
				if err != nil {
					t.Fatal(err)
				}
				paths = append(paths, rel)
			}
		}
	}
	return paths
}

func braces(p string) []string {
	before, rest, ok := strings.Cut(p, "{")
	if !ok {
		return []string{p}
	}
	list, after, _ := strings.Cut(rest, "}")
	var all []string
	for _, word := range strings.Split(list, ",") {
		all = append(all, before+word+after)
	}
	return all
}

func line(text []byte, at int) int { return 1 + strings.Count(string(text[:at]), "\n") }
