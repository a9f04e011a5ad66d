package main

import "embed"

// source is the source of the node's programs. Since the command contains it, it
// needs no clone of the project, and its digest describes what it builds.
//
//go:embed go.mod go.sum node
var source embed.FS
