package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"

	"mlops/internal/image"
)

// What is done about other people's images, by the flag -others.
const (
	othersAuto   = "auto"   // built where the public one does not answer
	othersBuild  = "build"  // built in any case
	othersPublic = "public" // never built: the cluster pulls them
)

// unpullable returns those of other people's images that are built here.
func (b *builder) unpullable(ctx context.Context, others []*recipe) ([]*recipe, error) {
	switch b.others {
	case othersBuild:
		return others, nil
	case othersPublic:
		return nil, nil
	}
	public, err := publicImages(filepath.Join(b.root, "charts", "values.yaml"))
	if err != nil {
		return nil, err
	}
	answers := map[string]bool{} // by registry: one that is out of reach is asked once
	var built []*recipe
	for _, r := range others {
		ref, ok := public[r.name]
		if !ok {
			return nil, fmt.Errorf("charts/values.yaml names no image %s", valuesPaths[r.name])
		}
		host, _, _ := strings.Cut(ref, "/")
		if known, asked := answers[host]; !asked || known {
			reach, cancel := context.WithTimeout(ctx, reachLimit)
			_, _, err := image.Pull(reach, ref, b.archs[0])
			cancel()
			answers[host] = err == nil
		}
		if answers[host] {
			b.print("  " + r.name + ": the cluster pulls " + ref + " (-others build builds it)")
			continue
		}
		built = append(built, r)
	}
	return built, nil
}

// publicImages are the images that the chart's values name for what can be built
// here too, by our names.
func publicImages(values string) (map[string]string, error) {
	text, err := os.ReadFile(values)
	if err != nil {
		return nil, fmt.Errorf("reading the public images' names: %w", err)
	}
	var all map[string]any
	if err := yaml.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("reading the public images' names in %s: %w", values, err)
	}
	refs := map[string]string{}
	for name, path := range valuesPaths {
		at := all
		for _, key := range strings.Split(path, ".") {
			at, _ = at[key].(map[string]any)
		}
		registry, _ := at["registry"].(string)
		repository, _ := at["repository"].(string)
		tag, _ := at["tag"].(string)
		if registry == "" || repository == "" || tag == "" {
			return nil, fmt.Errorf("reading the public images' names: %s has no registry, repository and tag in %s", path, values)
		}
		refs[name] = registry + "/" + repository + ":" + tag
	}
	return refs, nil
}
