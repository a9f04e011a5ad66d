// Package image builds container images without Docker: file trees become
// layers, layers and a configuration become images, images become OCI archives.
// What is built depends only on what goes in: the same files and configuration
// give the same digest, on any machine, at any time.
package image
