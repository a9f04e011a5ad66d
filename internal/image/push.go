package image

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Push pushes the images of one name, by architecture, to a registry; several
// become an index. It uses the credentials of Docker's configuration and returns
// the digest.
func Push(ctx context.Context, ref string, byArch map[string]v1.Image) (string, error) {
	digest, err := push(ctx, ref, byArch)
	if err != nil {
		return "", fmt.Errorf("pushing %s: %w", ref, err)
	}
	return digest.String(), nil
}

func push(ctx context.Context, ref string, byArch map[string]v1.Image) (v1.Hash, error) {
	r, err := name.ParseReference(ref)
	if err != nil {
		return v1.Hash{}, err
	}
	to := options(ctx)
	img, index, err := Index(byArch)
	if err != nil {
		return v1.Hash{}, err
	}
	if index != nil {
		if err := remote.WriteIndex(r, index, to...); err != nil {
			return v1.Hash{}, err
		}
		return index.Digest()
	}
	if err := remote.Write(r, img, to...); err != nil {
		return v1.Hash{}, err
	}
	return img.Digest()
}

// Pull returns the image that a public name stands for, for an architecture, and
// the digest that the name resolved to.
func Pull(ctx context.Context, ref, arch string) (v1.Image, string, error) {
	r, err := name.ParseReference(ref)
	if err != nil {
		return nil, "", fmt.Errorf("pulling %s: %w", ref, err)
	}
	desc, err := remote.Get(r, append(options(ctx), remote.WithPlatform(*platform(arch)))...)
	if err != nil {
		return nil, "", fmt.Errorf("pulling %s: %w", ref, err)
	}
	img, err := desc.Image()
	if err != nil {
		return nil, "", fmt.Errorf("pulling %s: %w", ref, err)
	}
	return img, desc.Digest.String(), nil
}
