package host

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/moby/sys/mountinfo"
)

// detach is Linux' MNT_DETACH, which other systems' package syscall lacks.
const detach = 2

// below returns the mount points in and below the folders, last mounted first.
func below(mounts []*mountinfo.Info, dirs []string) []string {
	var paths []string
	for i := len(mounts) - 1; i >= 0; i-- {
		path := strings.TrimSuffix(mounts[i].Mountpoint, "//deleted")
		for _, d := range dirs {
			if path == d || strings.HasPrefix(path, d+"/") {
				paths = append(paths, path)
				break
			}
		}
	}
	return paths
}

// Unmount unmounts everything in and below the folders (absolute, without
// symbolic links) and returns how many mounts that were.
func Unmount(dirs ...string) (int, error) {
	for n := 0; ; {
		mounts, err := mountinfo.GetMounts(nil)
		if err != nil {
			return n, fmt.Errorf("reading mounts: %w", err)
		}
		paths := below(mounts, dirs)
		if len(paths) == 0 {
			return n, nil
		}
		before := n
		for _, p := range paths {
			// Detached, since a dead process's files may still hold it for a moment.
			if err := syscall.Unmount(p, detach); err == nil {
				n++
			} else if !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOENT) {
				return n, fmt.Errorf("unmounting %s: %w", p, err)
			}
		}
		// A mount hidden below another program's mount can't be reached by its path.
		if n == before {
			return n, nil
		}
	}
}
