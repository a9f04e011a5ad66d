// Command minio is the MinIO server, built from its Go module. It refuses the requests
// that MinIO's last open release wrongly accepts (refuse.go). It has a go.mod of its
// own: nothing else depends on it.
package main

import (
	"os"

	minio "github.com/minio/minio/cmd"
)

func main() { minio.Main(os.Args) }
