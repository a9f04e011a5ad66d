// Command minio is the MinIO server, built from its Go module, with the requests
// refused that its last open release should not accept (refuse.go). It has a go.mod
// of its own: nothing else depends on it.
package main

import (
	"os"

	minio "github.com/minio/minio/cmd"
)

func main() { minio.Main(os.Args) }
