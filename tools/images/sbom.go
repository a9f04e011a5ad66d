package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/renameio/v2"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"mlops/internal/image"
	"mlops/internal/sbom"
)

// sbomType is the media type of an SPDX document.
const sbomType = "application/spdx+json"

// contents writes the lists of an image's contents beside its archive, one for each
// architecture, unless they are those of this image. It returns them.
func (b *builder) contents(img *built) ([][]byte, error) {
	images, err := image.Images(img.dir)
	if err != nil {
		return nil, err
	}
	var all [][]byte
	for _, arch := range b.archs {
		text, err := b.contentsOf(img.recipe, images[arch], arch)
		if err != nil {
			return nil, fmt.Errorf("listing what image %s contains: %w", img.name, err)
		}
		all = append(all, text)
	}
	return all, nil
}

func (b *builder) contentsOf(r *recipe, img v1.Image, arch string) ([]byte, error) {
	digest, err := img.Digest()
	if err != nil {
		return nil, err
	}
	page, err := os.ReadFile(filepath.Join(b.root, "docs", "licences.md"))
	if err != nil {
		return nil, fmt.Errorf("reading the licences: %w", err)
	}
	licences := sbom.ReadLicences(string(page))
	path := filepath.Join(b.out, "images", r.name+"."+arch+".spdx.json")
	about := sbom.Image{Name: r.name, Version: r.tag, Digest: digest.String(), Arch: arch}
	// The time stays as long as the image does.
	created := time.Now()
	if old, err := os.ReadFile(path); err == nil {
		var d sbom.Document
		if json.Unmarshal(old, &d) == nil && d.Namespace == sbom.New(about, nil, licences, created).Namespace {
			return old, nil
		}
	}
	files := mutate.Extract(img)
	defer files.Close()
	found, err := sbom.Scan(files)
	if err != nil {
		return nil, err
	}
	if found, err = r.withDebian(found); err != nil {
		return nil, err
	}
	d := sbom.New(about, found, licences, created)
	if n := d.Unlicensed(); n > 0 {
		b.print(fmt.Sprintf("  %s: %d of %d packages have no licence in %s", r.name, n, len(found), filepath.Base(path)))
	}
	text, err := d.JSON()
	if err != nil {
		return nil, err
	}
	return text, renameio.WriteFile(path, text, 0o644, renameio.WithTempDir(b.out))
}

// withDebian adds the packages of a base that was put together from debian.lock: unlike a
// public one, it has no list of them.
func (r *recipe) withDebian(found []sbom.Found) ([]sbom.Found, error) {
	if r.base == nil {
		return found, nil
	}
	for _, f := range found {
		if f.Kind == sbom.Debian {
			return found, nil
		}
	}
	lock, err := parseDebianLock(debianLock)
	if err != nil {
		return nil, err
	}
	for _, name := range r.base.packages {
		found = append(found, sbom.Found{Kind: sbom.Debian, Name: name, Version: lock[name].version})
	}
	return sbom.Sorted(found), nil
}

// publish pushes an image with the lists of its contents, and signs it if there is a key.
func (b *builder) publish(ctx context.Context, img *built, contents [][]byte) error {
	images, err := image.Images(img.dir)
	if err != nil {
		return err
	}
	ref := img.ref(b.push)
	digest, err := image.Push(ctx, ref, images)
	if err != nil {
		return err
	}
	for i, arch := range b.archs {
		own, err := images[arch].Digest()
		if err == nil {
			err = image.Attach(ctx, ref, own.String(), sbomType, contents[i])
		}
		if err != nil {
			return err
		}
	}
	signed := ""
	if b.signer != nil {
		if err := image.Sign(ctx, ref, digest, b.signer); err != nil {
			return err
		}
		signed = ", signed"
	}
	b.print(fmt.Sprintf("  pushed %s@%s%s", ref, digest, signed))
	return nil
}
