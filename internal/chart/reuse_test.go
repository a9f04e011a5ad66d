package chart

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// helm upgrade --reuse-values takes the defaults of the chart that is installed for those
// of the new one. So a key that was added since testdata/values-before.yaml may be
// missing, and then means its default; also beside one that somebody sets.
func TestReuseValues(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		for name, flags := range map[string][]string{
			"as they were":      nil,
			"as make up has it": set("nodePorts.loadtest.enabled=true"),
			"as make images writes them": set("postgres.exporter.image.registry=mlops.local", "postgres.exporter.image.repository=postgres-exporter",
				"postgres.exporter.image.tag=0.17.1", "postgres.exporter.image.digest="),
			"TLS inside": set("global.tls.enabled=true", "global.tls.certManager.issuer=internal"),
		} {
			template := func(chart string, flags ...string) string {
				text, err := run(t, helm, append([]string{"template", "mlops", chart, "--namespace", "mlops", "--kube-version", kubeVersion}, flags...)...)
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				return text
			}
			got := template(valuesBefore(t), flags...)
			// Postgres keeps the number of connections that the release has.
			want := template(dir, append(flags, set("postgres.settings.max_connections=160")...)...)
			if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("%s, with the new values against those from before (-want +got):\n%s", name, diff)
			}
		}
	})
}

// A key that was added since may also be the only one that somebody sets of its block.
// Each is set to its default, so nothing may differ from the defaults.
func TestReuseValuesOfOneKey(t *testing.T) {
	t.Parallel()
	read := func(path string) (values map[string]any) {
		text, err := os.ReadFile(path)
		if err == nil {
			err = yaml.Unmarshal(text, &values)
		}
		if err != nil {
			t.Fatal(err)
		}
		return values
	}
	blocks := map[string][]map[string]any{}
	unknown(read(dir+"/values.yaml"), read("testdata/values-before.yaml"), "", func(block string, only map[string]any) {
		blocks[block] = append(blocks[block], only)
	})
	if len(blocks) < 20 {
		t.Fatalf("only %d blocks were added since", len(blocks))
	}
	// Blocks don't know of each other, so one key of each is set at a time.
	var partly []map[string]any
	for _, keys := range blocks {
		for i, only := range keys {
			if i == len(partly) {
				partly = append(partly, map[string]any{})
			}
			merge(partly[i], only)
		}
	}
	eachHelm(t, func(t *testing.T, helm string) {
		before := valuesBefore(t)
		// What is off by default, so that its values are seen.
		template := func(chart string, flags ...string) (string, error) {
			return run(t, helm, slices.Concat([]string{"template", "mlops", chart, "--namespace", "mlops", "--kube-version", kubeVersion},
				set("prometheus.alertmanager.enabled=true", "prometheus.alertmanager.configSecret=alertmanager", "inference.autoscaling.enabled=true",
					"pipelines.backup.to=s3://backups", "postgres.settings.max_connections=200"), flags)...)
		}
		want, err := template(dir)
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		slots := make(chan struct{}, 4)
		for i, only := range partly {
			path := filepath.Join(t.TempDir(), fmt.Sprintf("%d.yaml", i))
			text, err := yaml.Marshal(only)
			if err == nil {
				err = os.WriteFile(path, text, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			all.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				got, err := template(before, "-f", path)
				if err != nil {
					t.Errorf("with\n%s%v", text, err)
				} else if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
					t.Errorf("with\n%sagainst the defaults (-want +got):\n%s", text, diff)
				}
			})
		}
		all.Wait()
	})
}

// unknown calls found with each value that only the first map has, as a map of its own,
// and with the path of the outermost key that the second one lacks.
func unknown(values, before map[string]any, path string, found func(block string, only map[string]any)) {
	for key, value := range values {
		old, known := before[key]
		was, _ := old.(map[string]any)
		at := path + "." + key
		within := func(block string, only map[string]any) {
			if !known {
				block = at
			}
			found(block, map[string]any{key: only})
		}
		if block, ok := value.(map[string]any); ok && len(block) > 0 {
			unknown(block, was, at, within)
		} else if !known {
			found(at, map[string]any{key: value})
		}
	}
}

// merge puts the values of the second map into the first one.
func merge(into, values map[string]any) {
	for key, value := range values {
		inner, _ := into[key].(map[string]any)
		if block, ok := value.(map[string]any); ok && inner != nil {
			merge(inner, block)
		} else {
			into[key] = value
		}
	}
}

// valuesBefore is a copy of the chart with the values that it had before, as an upgrade
// with --reuse-values sees it.
func valuesBefore(t *testing.T) string {
	t.Helper()
	old := filepath.Join(t.TempDir(), "charts")
	if out, err := exec.Command("cp", "-rL", dir, old).CombinedOutput(); err != nil {
		t.Fatalf("copying the chart: %v: %s", err, out)
	}
	values, err := os.ReadFile("testdata/values-before.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(old, "values.yaml"), values, 0o644); err != nil {
		t.Fatal(err)
	}
	return old
}
