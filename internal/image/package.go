package image

import (
	"archive/tar"
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path"
	"strings"
)

// Deb adds the files of a Debian package without owners, times and set-uid bits,
// which nothing in our images needs.
func (f *Files) Deb(ctx context.Context, file string) error {
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", file)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("unpacking %s: %w", file, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("unpacking %s: %w", file, err)
	}
	err = f.tar(out)
	io.Copy(io.Discard, out)
	if werr := cmd.Wait(); err == nil && werr != nil {
		err = fmt.Errorf("%w: %s", werr, strings.TrimSpace(said.String()))
	}
	if err != nil {
		return fmt.Errorf("unpacking %s: %w", file, err)
	}
	return nil
}

func (f *Files) tar(r io.Reader) error {
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := path.Clean("/" + h.Name)
		if name == "/" {
			continue
		}
		switch h.Typeflag {
		case tar.TypeDir:
			err = f.Dir(name, fs.FileMode(h.Mode)&0o777|0o500)
		case tar.TypeSymlink:
			err = f.Link(name, h.Linkname)
		case tar.TypeReg:
			var content []byte
			if content, err = io.ReadAll(tr); err == nil {
				err = f.Data(name, fs.FileMode(h.Mode)&0o777, content)
			}
		case tar.TypeLink:
			// The target comes earlier in the archive; the layer then contains it twice.
			target, ok := f.entries[path.Clean("/"+h.Linkname)]
			if !ok {
				return fmt.Errorf("%s is a link to the missing %s", name, h.Linkname)
			}
			err = f.add(name, target)
		default:
			return fmt.Errorf("%s is not a file, folder or link", name)
		}
		if err != nil {
			return err
		}
	}
}

// Wheel adds the files of a Python wheel below dir, as an installer lays them
// out in site-packages; scripts, headers and data beside it are left out. Files
// are read from the wheel when the layer is made.
func (f *Files) Wheel(file, dir string) error {
	z, err := zip.OpenReader(file)
	if err != nil {
		return fmt.Errorf("unpacking %s: %w", file, err)
	}
	f.closers = append(f.closers, z)
	for _, member := range z.File {
		name := member.Name
		if strings.HasSuffix(name, "/") {
			continue
		}
		// NAME-VERSION.data/{purelib,platlib}/ is site-packages too.
		if first, rest, _ := strings.Cut(name, "/"); strings.HasSuffix(first, ".data") {
			kind, inner, _ := strings.Cut(rest, "/")
			if kind != "purelib" && kind != "platlib" {
				continue
			}
			name = inner
		}
		target := path.Join(dir, path.Clean("/"+name))
		mode := fs.FileMode(0o644)
		if member.Mode()&0o111 != 0 {
			mode = 0o755
		}
		err := f.add(target, entry{mode: mode, size: int64(member.UncompressedSize64), open: func() (io.ReadCloser, error) { return member.Open() }})
		if err != nil {
			return fmt.Errorf("unpacking %s: %w", file, err)
		}
	}
	return nil
}
