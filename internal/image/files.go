package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// Files is a tree of files that becomes one layer. All files belong to root and
// have no time; paths are absolute, with slashes. Missing parent folders are added
// with mode 0755.
type Files struct {
	entries map[string]entry
	closers []io.Closer
}

type entry struct {
	mode fs.FileMode // type and permissions
	link string      // of a symbolic link
	size int64
	open func() (io.ReadCloser, error)
}

// NewFiles returns an empty tree. Close it after its layer was made.
func NewFiles() *Files { return &Files{entries: map[string]entry{}} }

// Close closes the archives from which files are read.
func (f *Files) Close() error {
	var errs []error
	for _, c := range f.closers {
		errs = append(errs, c.Close())
	}
	f.closers = nil
	return errors.Join(errs...)
}

// Dir adds a folder, or sets the mode of an existing one.
func (f *Files) Dir(name string, mode fs.FileMode) error {
	return f.add(name, entry{mode: fs.ModeDir | mode})
}

// Link adds a symbolic link.
func (f *Files) Link(name, target string) error {
	return f.add(name, entry{mode: fs.ModeSymlink | 0o777, link: target})
}

// Data adds a file with the content.
func (f *Files) Data(name string, mode fs.FileMode, content []byte) error {
	return f.add(name, entry{mode: mode, size: int64(len(content)), open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}})
}

// Disk adds a file whose content is read from the disk when the layer is made.
func (f *Files) Disk(name string, mode fs.FileMode, source string) error {
	st, err := os.Stat(source)
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", source)
	}
	return f.add(name, entry{mode: mode, size: st.Size(), open: func() (io.ReadCloser, error) { return os.Open(source) }})
}

// Names returns the paths in the order of the layer.
func (f *Files) Names() []string { return slices.Sorted(maps.Keys(f.entries)) }

// Remove removes the paths for which drop returns true, and everything below them.
func (f *Files) Remove(drop func(name string) bool) {
	for _, name := range f.Names() {
		for p := name; p != "/"; p = path.Dir(p) {
			if drop(p) {
				delete(f.entries, name)
				break
			}
		}
	}
}

func (f *Files) add(name string, e entry) error {
	if !path.IsAbs(name) || path.Clean(name) != name || name == "/" {
		return fmt.Errorf("adding %q: not a clean absolute path", name)
	}
	for p := path.Dir(name); p != "/"; p = path.Dir(p) {
		up, ok := f.entries[p]
		if !ok {
			f.entries[p] = entry{mode: fs.ModeDir | 0o755}
			continue
		}
		if !up.mode.IsDir() {
			// Through a link it would end up elsewhere, depending on the runtime's order.
			return fmt.Errorf("adding %s: %s is not a folder", name, p)
		}
	}
	if old, ok := f.entries[name]; ok && old.mode.IsDir() != e.mode.IsDir() {
		return fmt.Errorf("adding %s: it exists already, as another type", name)
	}
	f.entries[name] = e
	return nil
}

// writeTar writes the tree as a tar archive.
func (f *Files) writeTar(w io.Writer) error {
	tw := tar.NewWriter(w)
	for _, name := range f.Names() {
		if err := writeEntry(tw, name, f.entries[name]); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	return tw.Close()
}

func writeEntry(tw *tar.Writer, name string, e entry) error {
	h := &tar.Header{Name: strings.TrimPrefix(name, "/"), Mode: int64(e.mode.Perm()), ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
	if e.mode&fs.ModeSticky != 0 {
		h.Mode |= 0o1000
	}
	switch {
	case e.mode.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
	case e.mode&fs.ModeSymlink != 0:
		h.Typeflag, h.Linkname = tar.TypeSymlink, e.link
	default:
		h.Typeflag, h.Size = tar.TypeReg, e.size
	}
	if err := tw.WriteHeader(h); err != nil || h.Typeflag != tar.TypeReg {
		return err
	}
	r, err := e.open()
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(tw, r)
	return err
}
