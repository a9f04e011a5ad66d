package image

import (
	"fmt"
	"maps"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Config is an image's configuration.
type Config struct {
	Arch       string // amd64, arm64
	User       string // numeric, so that the kubelet can tell that it isn't root
	Entrypoint []string
	Command    []string
	Env        map[string]string
	WorkDir    string
	StopSignal string
	Labels     map[string]string
}

// New returns an image of the layers on top of a base (nil: none). Of the base's
// configuration it keeps only the environment.
func New(base v1.Image, c Config, layers ...v1.Layer) (v1.Image, error) {
	img := base
	if img == nil {
		img = mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	}
	img = mutate.ConfigMediaType(mutate.MediaType(img, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.AppendLayers(img, layers...)
	if err != nil {
		return nil, fmt.Errorf("making an image: %w", err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("making an image: %w", err)
	}
	file = file.DeepCopy()
	env := environ(file.Config.Env, c.Env)
	file.OS, file.Architecture, file.Variant = "linux", c.Arch, ""
	if c.Arch == "arm64" {
		file.Variant = "v8"
	}
	//lint:ignore SA1019 a base image may still have it, and it would change the digest
	file.Created, file.Author, file.Container, file.DockerVersion = v1.Time{}, "", "", ""
	file.Config = v1.Config{
		User: c.User, Entrypoint: c.Entrypoint, Cmd: c.Command, Env: env,
		WorkingDir: c.WorkDir, StopSignal: c.StopSignal, Labels: c.Labels,
	}
	if img, err = mutate.ConfigFile(img, file); err != nil {
		return nil, fmt.Errorf("making an image: %w", err)
	}
	return img, nil
}

// environ merges our environment into the base's, sorted by name.
func environ(base []string, ours map[string]string) []string {
	all := map[string]string{}
	for _, v := range base {
		for i := range v {
			if v[i] == '=' {
				all[v[:i]] = v[i+1:]
				break
			}
		}
	}
	maps.Copy(all, ours)
	var env []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		env = append(env, name+"="+all[name])
	}
	return env
}

// Index combines the images of one name, by architecture. A single image needs no
// index; the second result is then nil.
func Index(byArch map[string]v1.Image) (v1.Image, v1.ImageIndex, error) {
	if len(byArch) == 1 {
		for _, img := range byArch {
			return img, nil, nil
		}
	}
	ii := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range slices.Sorted(maps.Keys(byArch)) {
		d := v1.Descriptor{Platform: platform(arch)}
		ii = mutate.AppendManifests(ii, mutate.IndexAddendum{Add: byArch[arch], Descriptor: d})
	}
	if _, err := ii.Digest(); err != nil {
		return nil, nil, fmt.Errorf("making an index: %w", err)
	}
	return nil, ii, nil
}

func platform(arch string) *v1.Platform {
	p := &v1.Platform{OS: "linux", Architecture: arch}
	if arch == "arm64" {
		p.Variant = "v8"
	}
	return p
}
