package host

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// detach is Linux' MNT_DETACH, which other systems' package syscall lacks.
const detach = 2

// mountPoint is what is read of a line of /proc/self/mountinfo.
type mountPoint struct{ path, kind string }

// parseMounts reads /proc/<pid>/mountinfo (proc_pid_mountinfo(5)), in the order
// in which things were mounted.
func parseMounts(text string) []mountPoint {
	var ms []mountPoint
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		for i := 6; i+1 < len(f); i++ {
			if f[i] == "-" { // behind it: type, source, options
				path := strings.TrimSuffix(unescape(f[4]), "//deleted")
				ms = append(ms, mountPoint{path, f[i+1]})
				break
			}
		}
	}
	return ms
}

// unescape undoes the kernel's \040 for a blank and the like.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// below returns the mount points in and below the folders, the last mounted first.
func below(ms []mountPoint, dirs []string) []string {
	var paths []string
	for i := len(ms) - 1; i >= 0; i-- {
		for _, d := range dirs {
			if ms[i].path == d || strings.HasPrefix(ms[i].path, d+"/") {
				paths = append(paths, ms[i].path)
				break
			}
		}
	}
	return paths
}

// Unmount takes away all that is mounted in and below the folders (absolute,
// without links) and returns how much that was.
func Unmount(dirs ...string) (int, error) {
	for n := 0; ; {
		text, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			return n, fmt.Errorf("reading mounts: %w", err)
		}
		paths := below(parseMounts(string(text)), dirs)
		if len(paths) == 0 {
			return n, nil
		}
		before := n
		for _, p := range paths {
			// Detached, since a dead process' files may still hold it for a moment.
			if err := syscall.Unmount(p, detach); err == nil {
				n++
			} else if !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOENT) {
				return n, fmt.Errorf("unmounting %s: %w", p, err)
			}
		}
		// What lies under a mount of somebody else's has no path.
		if n == before {
			return n, nil
		}
	}
}
