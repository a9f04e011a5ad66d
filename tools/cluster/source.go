package main

import "embed"

// source is what the node's programs are built from. Carrying it, the command
// needs no clone, and what it builds is what its digest says.
//
//go:embed go.mod go.sum node
var source embed.FS
