// Package sbom lists what an image contains, as an SPDX 2.3 document: the modules in its
// Go programs, its Python packages and its Debian packages, each with its licence.
package sbom

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Document is an SPDX 2.3 document in JSON, with the fields that are used here
// (https://spdx.github.io/spdx-spec/v2.3/).
type Document struct {
	Version       string         `json:"spdxVersion"`
	DataLicense   string         `json:"dataLicense"`
	ID            string         `json:"SPDXID"`
	Name          string         `json:"name"`
	Namespace     string         `json:"documentNamespace"`
	Creation      Creation       `json:"creationInfo"`
	Packages      []Package      `json:"packages"`
	Relationships []Relationship `json:"relationships"`
	Licences      []Licence      `json:"hasExtractedLicensingInfos,omitempty"`
}

// Creation says who made the document and when.
type Creation struct {
	Creators []string  `json:"creators"`
	Created  time.Time `json:"created"`
}

// Package is the image itself or something in it.
type Package struct {
	ID         string      `json:"SPDXID"`
	Name       string      `json:"name"`
	Version    string      `json:"versionInfo,omitempty"`
	Purpose    string      `json:"primaryPackagePurpose,omitempty"`
	Location   string      `json:"downloadLocation"`
	Analyzed   bool        `json:"filesAnalyzed"`
	Concluded  string      `json:"licenseConcluded"`
	Declared   string      `json:"licenseDeclared"`
	Copyright  string      `json:"copyrightText"`
	Checksums  []Checksum  `json:"checksums,omitempty"`
	References []Reference `json:"externalRefs,omitempty"`
}

// Checksum is a digest of a package.
type Checksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

// Reference is a package's name elsewhere: its package URL.
type Reference struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

// Relationship says how two elements belong together.
type Relationship struct {
	Element string `json:"spdxElementId"`
	Type    string `json:"relationshipType"`
	Related string `json:"relatedSpdxElement"`
}

// Licence is a licence that SPDX's list doesn't have.
type Licence struct {
	ID   string `json:"licenseId"`
	Name string `json:"name"`
	Text string `json:"extractedText"`
}

// unknown stands for what nobody has said.
const unknown = "NOASSERTION"

// Image names the image that a document is about.
type Image struct {
	Name    string // without registry
	Version string
	Digest  string // sha256:... of its manifest
	Arch    string
}

// New returns the document of an image with these packages. It is the same for the same
// image: Created is a fixed time if created is.
func New(i Image, found []Found, licences Licences, created time.Time) *Document {
	digest := strings.TrimPrefix(i.Digest, "sha256:")
	d := &Document{
		Version: "SPDX-2.3", DataLicense: "CC0-1.0", ID: "SPDXRef-DOCUMENT", Name: i.Name + "-" + i.Arch,
		Namespace: "https://mlops.local/spdx/" + i.Name + "/" + i.Arch + "/" + digest,
		Creation:  Creation{Creators: []string{"Tool: mlops-images"}, Created: created.UTC().Truncate(time.Second)},
		Packages: []Package{{
			ID: "SPDXRef-image", Name: i.Name, Version: i.Version, Purpose: "CONTAINER", Location: unknown, Concluded: unknown, Declared: unknown, Copyright: unknown,
			Checksums:  []Checksum{{"SHA256", digest}},
			References: []Reference{{"PACKAGE-MANAGER", "purl", fmt.Sprintf("pkg:oci/%s@sha256%%3A%s?arch=%s&tag=%s", i.Name, digest, i.Arch, i.Version)}},
		}},
		Relationships: []Relationship{{"SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-image"}},
	}
	ids := map[string]bool{}
	extracted := map[string]bool{}
	for _, f := range found {
		id := "SPDXRef-" + notInID.ReplaceAllString(string(f.Kind)+"-"+f.Name+"-"+f.Version, "-")
		if ids[id] {
			continue // in two programs of the image
		}
		ids[id] = true
		licence := licences.of(f)
		for _, ref := range ownLicence.FindAllString(licence, -1) {
			extracted[ref] = true
		}
		d.Packages = append(d.Packages, Package{
			ID: id, Name: f.Name, Version: f.Version, Location: unknown, Concluded: unknown, Declared: licence, Copyright: unknown,
			References: []Reference{{"PACKAGE-MANAGER", "purl", f.purl(i.Arch)}},
		})
		d.Relationships = append(d.Relationships, Relationship{"SPDXRef-image", "CONTAINS", id})
	}
	for id := range extracted {
		name := strings.TrimPrefix(id, "LicenseRef-")
		d.Licences = append(d.Licences, Licence{ID: id, Name: name, Text: "See docs/licences.md: " + name})
	}
	slices.SortFunc(d.Licences, func(a, b Licence) int { return strings.Compare(a.ID, b.ID) })
	return d
}

var (
	notInID    = regexp.MustCompile(`[^A-Za-z0-9.-]+`)
	ownLicence = regexp.MustCompile(`LicenseRef-[A-Za-z0-9.-]+`)
)

// Unlicensed counts the packages whose licence is not known.
func (d *Document) Unlicensed() int {
	n := 0
	for _, p := range d.Packages[1:] {
		if p.Declared == unknown {
			n++
		}
	}
	return n
}

// JSON encodes the document.
func (d *Document) JSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(d); err != nil {
		return nil, fmt.Errorf("encoding a list of contents: %w", err)
	}
	return b.Bytes(), nil
}
