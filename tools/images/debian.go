package main

import (
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mlops/internal/host"
	"mlops/internal/image"
	"mlops/internal/local"
)

// debianLock holds the packages' versions and their digests for each architecture.
// `images -lock` writes it.
//
//go:embed debian.lock
var debianLock string

const debianLockHead = `# The Debian packages (release 12) under the images that need a C library: for
# each its version and the SHA-256 of its archive for amd64 and arm64.
# Written by: go run ./tools/images -lock
`

// locked is a line of debian.lock.
type locked struct {
	name, version string
	sums          map[string]string // by architecture
}

func parseDebianLock(text string) (map[string]locked, error) {
	all := map[string]locked{}
	for i, line := range strings.Split(text, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Fields(line)
		name, version, ok := strings.Cut(f[0], "=")
		if !ok || len(f) != 3 {
			return nil, fmt.Errorf("debian.lock: line %d: want package=version and two digests", i+1)
		}
		l := locked{name: name, version: version, sums: map[string]string{}}
		for _, sum := range f[1:] {
			arch, hash, _ := strings.Cut(sum, ":")
			l.sums[arch] = hash
		}
		all[name] = l
	}
	return all, nil
}

// debianInputs returns the digest of the lock's entries for those packages.
func (b *builder) debianInputs(arch string, packages []string) (string, error) {
	lock, err := parseDebianLock(debianLock)
	if err != nil {
		return "", err
	}
	var parts []string
	for _, name := range packages {
		l, ok := lock[name]
		if !ok || l.sums[arch] == "" {
			return "", fmt.Errorf("debian.lock has no package %s for %s; write it again with images -lock", name, arch)
		}
		parts = append(parts, name+"="+l.version+" "+l.sums[arch])
	}
	return digest(parts...), nil
}

// debianBase builds a base of one layer from Debian packages.
func (b *builder) debianBase(ctx context.Context, log *slog.Logger, arch string, packages []string, dir string) (opened, error) {
	files := image.NewFiles()
	defer files.Close()
	var o opened
	for _, name := range packages {
		path, warning, err := b.debianPackage(ctx, log, arch, name)
		if err != nil {
			return opened{}, err
		}
		if warning != "" {
			o.warnings = append(o.warnings, warning)
		}
		if err := files.Deb(ctx, path); err != nil {
			return opened{}, err
		}
	}
	files.Remove(needless)
	if err := addSystem(files); err != nil {
		return opened{}, err
	}
	layer, err := files.Layer(dir)
	if err != nil {
		return opened{}, err
	}
	env := map[string]string{"PATH": "/usr/local/bin:/usr/bin:/bin"}
	o.image, err = image.New(nil, image.Config{Arch: arch, Env: env}, layer)
	return o, err
}

// needless reports whether nothing in our images reads the path: documentation
// (except licences), other languages and character sets.
func needless(path string) bool {
	for _, dir := range []string{"/usr/share/man", "/usr/share/lintian", "/usr/share/bug", "/usr/share/doc-base", "/usr/share/info",
		"/usr/share/locale", "/usr/share/menu", "/usr/share/pixmaps", "/usr/share/applications", "/usr/share/libc-bin",
		"/usr/share/icons", "/usr/share/debianutils", "/usr/share/gcc", "/usr/share/gdb", "/usr/bin/localedef", "/usr/bin/locale", "/usr/bin/iconv",
		"/usr/bin/tzselect", "/usr/bin/zdump", "/usr/bin/pldd", "/usr/bin/ldd", "/usr/bin/getconf", "/usr/sbin", "/sbin", "/var", "/lib/systemd", "/usr/lib/tmpfiles.d"} {
		if path == dir {
			return true
		}
	}
	if strings.HasPrefix(path, "/usr/share/doc/") {
		rest := strings.TrimPrefix(path, "/usr/share/doc/")
		return strings.Contains(rest, "/") && !strings.HasSuffix(rest, "/copyright")
	}
	return strings.HasSuffix(path, "/gconv")
}

// debianPackage returns the path of a package's archive in the cache, and
// downloads it if it is missing. If the locked version is no longer available, it
// is another version, and the warning says so.
func (b *builder) debianPackage(ctx context.Context, log *slog.Logger, arch, name string) (path, warning string, err error) {
	lock, err := parseDebianLock(debianLock)
	if err != nil {
		return "", "", err
	}
	want := lock[name]
	root := filepath.Join(b.cache(), "debian")
	path = filepath.Join(root, want.sums[arch]+".deb")
	if _, err := os.Stat(path); err == nil {
		return path, "", nil
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", "", err
	}
	held, err := host.WaitLock(ctx, log, filepath.Join(root, arch+".lock"), "downloading Debian packages")
	if err != nil {
		return "", "", err
	}
	defer held.Unlock()
	apt, err := b.openApt(ctx, log, arch)
	if err != nil {
		return "", "", err
	}
	got, err := apt.download(ctx, name+"="+want.version)
	if err == nil {
		sum, err := local.FileDigest(got)
		if err != nil {
			return "", "", err
		}
		if sum != want.sums[arch] {
			return "", "", fmt.Errorf("package %s=%s for %s has the digest %s, want %s as in debian.lock", name, want.version, arch, sum, want.sums[arch])
		}
		return path, "", os.Rename(got, path)
	}
	log.Warn("the version in debian.lock is not available", "package", name+"="+want.version, "error", short(err))
	if got, err = apt.download(ctx, name); err != nil {
		return "", "", fmt.Errorf("downloading Debian package %s (release 12): %w", name, err)
	}
	// Not stored under the locked digest, so the next build tries the right one again.
	return got, fmt.Sprintf("contains %s instead of debian.lock's %s, which is no longer available: ITS DIGEST IS NOT THAT OF THIS COMMIT. Update the lock with: go run ./tools/images -lock",
		filepath.Base(got), want.version), nil
}

// apt is a package client with folders of its own, so that it works for any
// architecture without root and changes nothing on the machine.
type apt struct {
	b       *builder
	dir     string
	options []string
}

func (b *builder) openApt(ctx context.Context, log *slog.Logger, arch string) (*apt, error) {
	a := &apt{b: b, dir: filepath.Join(b.cache(), "debian", "apt-"+arch)}
	for _, d := range []string{"lists/partial", "cache/archives/partial", "got"} {
		if err := os.MkdirAll(filepath.Join(a.dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	status := filepath.Join(a.dir, "status")
	if err := os.WriteFile(status, nil, 0o644); err != nil {
		return nil, err
	}
	for _, o := range []string{"Dir::State=" + a.dir, "Dir::State::lists=" + filepath.Join(a.dir, "lists"), "Dir::State::status=" + status,
		"Dir::Cache=" + filepath.Join(a.dir, "cache"), "APT::Architecture=" + arch, "APT::Architectures=" + arch, "Acquire::Languages=none",
		"APT::Sandbox::User="} {
		a.options = append(a.options, "-o", o)
	}
	list := filepath.Join(a.dir, "updated")
	if st, err := os.Stat(list); err == nil && time.Since(st.ModTime()) < time.Hour {
		return a, nil
	}
	log.Info("reading Debian's package lists", "arch", arch)
	// An unreachable package source is no reason to stop: a missing package shows
	// when it is downloaded.
	if err := a.run(ctx, nil, "apt-get", "-q", "update"); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		log.Warn("not all package lists could be read", "error", short(err))
	}
	return a, os.WriteFile(list, nil, 0o644)
}

func (a *apt) run(ctx context.Context, line func(string), argv ...string) error {
	return a.b.state.Tool(ctx, filepath.Join(a.dir, "got"), []string{"LC_ALL=C", "DEBIAN_FRONTEND=noninteractive"}, line,
		append(append([]string{argv[0]}, a.options...), argv[1:]...)...)
}

// download downloads a package, given as NAME or NAME=VERSION.
func (a *apt) download(ctx context.Context, what string) (string, error) {
	dir := filepath.Join(a.dir, "got")
	name, _, _ := strings.Cut(what, "=")
	old, _ := filepath.Glob(filepath.Join(dir, name+"_*.deb"))
	for _, o := range old {
		if err := os.Remove(o); err != nil {
			return "", err
		}
	}
	if err := a.run(ctx, nil, "apt-get", "-q", "download", what); err != nil {
		return "", err
	}
	got, _ := filepath.Glob(filepath.Join(dir, name+"_*.deb"))
	if len(got) != 1 {
		return "", fmt.Errorf("downloading %s gave %d files, want 1", what, len(got))
	}
	return got[0], nil
}

// writeDebianLock writes debian.lock with the current versions of the package
// lists.
func (b *builder) writeDebianLock(ctx context.Context) error {
	log := slog.New(&lines{print: b.print, name: "lock"})
	all := map[string]*locked{}
	for _, arch := range []string{"amd64", "arm64"} {
		a, err := b.openApt(ctx, log, arch)
		if err != nil {
			return err
		}
		for _, name := range allPackages() {
			// The candidate comes first.
			var version, sum string
			err := a.run(ctx, func(line string) {
				if v, ok := strings.CutPrefix(line, "Version: "); ok && version == "" {
					version = v
				}
				if v, ok := strings.CutPrefix(line, "SHA256: "); ok && sum == "" {
					sum = v
				}
			}, "apt-cache", "show", "--no-all-versions", name)
			if err != nil {
				return fmt.Errorf("looking up package %s: %w", name, err)
			}
			l := all[name]
			if l == nil {
				l = &locked{name: name, version: version, sums: map[string]string{}}
				all[name] = l
			}
			if l.version != version || sum == "" {
				return fmt.Errorf("package %s has version %s, but %s for %s", name, l.version, version, arch)
			}
			l.sums[arch] = sum
		}
	}
	var text strings.Builder
	text.WriteString(debianLockHead)
	for _, name := range allPackages() {
		l := all[name]
		fmt.Fprintf(&text, "%s=%s amd64:%s arm64:%s\n", name, l.version, l.sums["amd64"], l.sums["arm64"])
	}
	path := filepath.Join(b.root, "tools", "images", "debian.lock")
	if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
		return err
	}
	b.print("wrote " + path)
	return nil
}

// allPackages returns the packages of all bases, each once, sorted.
func allPackages() []string {
	all := slices.Concat(libcPackages, cppPackages, postgresPackages, pythonPackages)
	slices.Sort(all)
	return slices.Compact(all)
}
