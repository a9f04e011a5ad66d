package image

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Attach adds a document to a pushed image: a manifest that refers to it, which registries
// list as its referrer (OCI distribution 1.1; go-containerregistry keeps the list in a tag
// where a registry can't). ref is the image's name, digest that of its manifest.
func Attach(ctx context.Context, ref, digest, mediaType string, document []byte) error {
	r, subject, err := pushed(ctx, ref, digest)
	if err != nil {
		return fmt.Errorf("attaching to %s: %w", ref, err)
	}
	img, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.MediaType(mediaType)),
		static.NewLayer(document, types.MediaType(mediaType)))
	if err != nil {
		return fmt.Errorf("attaching to %s: %w", ref, err)
	}
	img = mutate.Subject(img, *subject).(v1.Image)
	own, err := img.Digest()
	if err == nil {
		err = remote.Write(r.Context().Digest(own.String()), img, options(ctx)...)
	}
	if err != nil {
		return fmt.Errorf("attaching to %s: %w", ref, err)
	}
	return nil
}

// The format in which cosign stores signatures
// (https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md).
const (
	payloadType         = "application/vnd.dev.cosign.simplesigning.v1+json"
	signatureAnnotation = "dev.cosignproject.cosign/signature"
)

type simpleSigning struct {
	Critical struct {
		Identity struct {
			Reference string `json:"docker-reference"`
		} `json:"identity"`
		Image struct {
			Digest string `json:"docker-manifest-digest"`
		} `json:"image"`
		Type string `json:"type"`
	} `json:"critical"`
	Optional map[string]any `json:"optional"`
}

// Sign pushes a signature of a pushed image as cosign does, so that `cosign verify --key`
// accepts the image: the image whose tag is made of the digest. Signatures that another
// key made are replaced.
func Sign(ctx context.Context, ref, digest string, key *ecdsa.PrivateKey) error {
	if err := sign(ctx, ref, digest, key); err != nil {
		return fmt.Errorf("signing %s: %w", ref, err)
	}
	return nil
}

func sign(ctx context.Context, ref, digest string, key *ecdsa.PrivateKey) error {
	r, _, err := pushed(ctx, ref, digest)
	if err != nil {
		return err
	}
	var s simpleSigning
	s.Critical.Identity.Reference = r.Context().Name()
	s.Critical.Image.Digest = digest
	s.Critical.Type = "cosign container image signature"
	payload, err := json.Marshal(s)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(payload)
	signature, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		return err
	}
	img, err := mutate.Append(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), mutate.Addendum{
		Layer:       static.NewLayer(payload, payloadType),
		Annotations: map[string]string{signatureAnnotation: base64.StdEncoding.EncodeToString(signature)},
	})
	if err != nil {
		return err
	}
	return remote.Write(r.Context().Tag(strings.Replace(digest, ":", "-", 1)+".sig"), img, options(ctx)...)
}

// pushed looks an image up in its registry.
func pushed(ctx context.Context, ref, digest string) (name.Reference, *v1.Descriptor, error) {
	r, err := name.ParseReference(ref)
	if err != nil {
		return nil, nil, err
	}
	d, err := remote.Head(r.Context().Digest(digest), options(ctx)...)
	return r, d, err
}

func options(ctx context.Context) []remote.Option {
	return []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)}
}
