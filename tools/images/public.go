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

// Values of the flag -others: what to do about third-party images.
const (
	othersAuto   = "auto"   // build those whose registry doesn't respond
	othersBuild  = "build"  // build all
	othersPublic = "public" // build none: the cluster pulls them
)

// unpullable returns the third-party images that have to be built here.
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
	answers := map[string]bool{} // by registry, so that an unreachable one is tried only once
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

// publicImages returns the public images in the chart's values that can also be
// built here, by our names.
func publicImages(values string) (map[string]string, error) {
	text, err := os.ReadFile(values)
	if err != nil {
		return nil, fmt.Errorf("reading the names of public images: %w", err)
	}
	var all map[string]any
	if err := yaml.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("reading the names of public images in %s: %w", values, err)
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
			return nil, fmt.Errorf("reading the names of public images: %s has no registry, repository and tag in %s", path, values)
		}
		refs[name] = registry + "/" + repository + ":" + tag
	}
	return refs, nil
}
