package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"mlops/internal/image"
)

// valuesPaths maps our builds of third-party images to their places in the chart's
// values.
var valuesPaths = map[string]string{
	"postgres":            "postgres.image",
	"postgres-exporter":   "postgres.exporter.image",
	"workflow-controller": "argo.controller.image",
	"argoexec":            "argo.executor.image",
	"argocli":             "argo.server.image",
	"prometheus":          "prometheus.image",
	"alertmanager":        "prometheus.alertmanager.image",
}

// writeValues writes the values with which the chart uses the built images instead
// of public ones.
func (b *builder) writeValues(recipes []*recipe, table *sourceTable, commit string) error {
	table.tell(b.print)
	ids := map[string]string{}
	for _, r := range recipes {
		if r.onlyNamed {
			continue
		}
		s, err := image.ReadArchive(b.archive(r))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if s.Name == r.ref(ourRegistry) { // otherwise of an older version
			ids[r.name] = s.Digest
		}
	}
	reg := ourRegistry
	if b.push != "" {
		reg = b.push
	}
	return renameio.WriteFile(filepath.Join(b.out, "values.yaml"), []byte(valuesText(recipes, ids, reg, table, commit)), 0o644, renameio.WithTempDir(b.out))
}

// valuesText returns the values file for the existing images, with their digests and the
// commit that they were built from.
func valuesText(recipes []*recipe, ids map[string]string, registry string, table *sourceTable, commit string) string {
	type line struct {
		path []string
		text string
	}
	var all []line
	add := func(path, text string) { all = append(all, line{strings.Split(path, "."), text}) }
	// Only what was pulled from a registry can be named by its digest; an imported
	// archive has the name alone.
	pushed := registry != ourRegistry
	if pushed {
		add("global.images.registry", quote(registry))
		add("global.images.pin", "true")
	}
	for _, r := range recipes {
		id, ok := ids[r.name]
		if !ok {
			continue
		}
		add("global.images.ids."+r.name, quote(id))
		if path, ok := valuesPaths[r.name]; ok {
			add(path+".registry", quote(registry))
			add(path+".repository", quote(r.name))
			add(path+".tag", quote(r.tag))
			pin := ""
			if pushed {
				pin = id
			}
			add(path+".digest", quote(pin))
		}
		if r.name == "source" {
			ref := r.ref(registry)
			if pushed {
				ref += "@" + id
			}
			add("setup.source.image", quote(ref))
		}
	}
	if table.url != "" {
		add("pipelines.source", quote(table.url))
	}
	if commit != "" {
		add("pipelines.commit", quote(commit))
	}
	if slices.ContainsFunc(recipes, func(r *recipe) bool { return valuesPaths[r.name] != "" }) {
		add("grafana.enabled", "false # its public image can't be pulled and isn't built here; if it can: --set grafana.enabled=true")
	}
	slices.SortStableFunc(all, func(a, b line) int { return slices.Compare(a.path, b.path) })
	var t strings.Builder
	t.WriteString("# Written by make images: the chart with the images built here, for a cluster that\n# can't pull public ones: helm install mlops ./charts -f dist/values.yaml\n")
	var above []string
	for _, l := range all {
		keys := l.path[:len(l.path)-1]
		same := 0
		for same < len(keys) && same < len(above) && keys[same] == above[same] {
			same++
		}
		for i := same; i < len(keys); i++ {
			fmt.Fprintf(&t, "%s%s:\n", strings.Repeat("  ", i), keys[i])
		}
		fmt.Fprintf(&t, "%s%s: %s\n", strings.Repeat("  ", len(keys)), l.path[len(l.path)-1], l.text)
		above = keys
	}
	return t.String()
}

// quote returns a text as a double-quoted YAML scalar. Digests and names need no
// other escapes.
func quote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}
