package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"mlops/internal/sbom"
)

// testPublished looks for what belongs to a pushed image: a list of contents for each
// architecture, beside the archive and in the registry, and a signature.
func testPublished(t *testing.T, b *builder, repository, digest string) {
	t.Helper()
	if _, err := remote.Head(tagOf(t, repository+":sha256-"+strings.TrimPrefix(digest, "sha256:")+".sig")); err != nil {
		t.Errorf("no signature: %v", err)
	}
	index, err := remote.Index(tagOf(t, repository+":1"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range m.Manifests {
		arch := d.Platform.Architecture
		text, err := os.ReadFile(filepath.Join(b.out, "images", "based."+arch+".spdx.json"))
		if err != nil {
			t.Fatal(err)
		}
		var document sbom.Document
		if err := json.Unmarshal(text, &document); err != nil {
			t.Fatal(err)
		}
		if got := "sha256:" + document.Packages[0].Checksums[0].Value; got != d.Digest.String() {
			t.Errorf("%s: the list is about %s, want %s", arch, got, d.Digest)
		}
		r, err := name.NewDigest(repository + "@" + d.Digest.String())
		if err != nil {
			t.Fatal(err)
		}
		referrers, err := remote.Referrers(r)
		if err != nil {
			t.Fatal(err)
		}
		if of, err := referrers.IndexManifest(); err != nil || len(of.Manifests) != 1 || of.Manifests[0].ArtifactType != sbomType {
			t.Errorf("%s: referrers %+v, %v, want the list", arch, of, err)
		}
	}
}

func tagOf(t *testing.T, text string) name.Tag {
	t.Helper()
	tag, err := name.NewTag(text)
	if err != nil {
		t.Fatal(err)
	}
	return tag
}

// A base of locked packages has no list of them; a public one has.
func TestDebianPackagesAreListed(t *testing.T) {
	ours := &recipe{base: &base{packages: []string{"libc6", "dash"}}}
	found, err := ours.withDebian([]sbom.Found{{Kind: sbom.Python, Name: "a", Version: "1"}})
	if err != nil {
		t.Fatal(err)
	}
	lock, err := parseDebianLock(debianLock)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 3 || found[0].Name != "dash" || found[1].Version != lock["libc6"].version || found[1].Version == "" {
		t.Errorf("found %+v", found)
	}
	public := []sbom.Found{{Kind: sbom.Debian, Name: "libc6", Version: "0"}}
	if found, err := ours.withDebian(public); err != nil || len(found) != 1 {
		t.Errorf("with the base's own list: %+v, %v", found, err)
	}
	if found, err := (&recipe{}).withDebian(nil); err != nil || len(found) != 0 {
		t.Errorf("without a base: %+v, %v", found, err)
	}
}
