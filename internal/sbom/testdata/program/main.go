// Program is a Go program with one dependency, for the tests.
package main

import "github.com/google/renameio/v2"

func main() { _ = renameio.WriteFile("/dev/null", nil, 0o600) }
