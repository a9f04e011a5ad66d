package host

import (
	"fmt"
	"syscall"
)

// Free returns how many bytes may still be written to the file system of a path.
func Free(path string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil {
		return 0, fmt.Errorf("looking for free space at %s: %w", path, err)
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}
