// Package image builds container images without Docker: file trees become
// layers, layers and a configuration become images, images become OCI archives.
// Builds are reproducible: the same files and configuration give the same digest
// on any machine at any time.
package image
