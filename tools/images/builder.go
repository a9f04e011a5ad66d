package main

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"mlops/internal/host"
	"mlops/internal/image"
	"mlops/internal/local"
	"mlops/internal/prepare"
	"mlops/internal/program"
)

// ourRegistry is the registry in the names of all images built here.
const ourRegistry = "mlops.local"

// builder builds images.
type builder struct {
	root      string // the project's folder
	out       string
	state     *local.State
	archs     []string
	bases     string // auto, public or debian
	others    string // auto, build or public
	push      string
	signer    *ecdsa.PrivateKey // signs what is pushed; nil: nothing is signed
	spec      string
	dataset   string
	synthetic bool // made-up rows instead of a table
	pythons   []string
	print     func(line string)

	own     map[string]*ownPrograms // by architecture
	version string                  // of our images
	tool    string                  // digest of this program's sources
}

// recipe describes how one image is built.
type recipe struct {
	name, tag string
	ours      bool // otherwise a third party's program, built here
	onlyNamed bool // built only if it is named; not part of a release
	base      *base

	// inputs returns everything the image depends on besides this program, its
	// base and the architecture, or errAbsent if there is nothing to build from.
	inputs func(ctx context.Context, arch string) ([]string, error)
	// make builds it. Its layers lie in the target's dir.
	make func(ctx context.Context, log *slog.Logger, t target) (v1.Image, error)
}

// target is what one build of a recipe is for.
type target struct {
	arch string
	dir  string   // temporary folder
	base v1.Image // nil if the recipe has none
}

// errAbsent says that an image's content is missing.
var errAbsent = errors.New("nothing to build it from")

// built is an image in the cache.
type built struct {
	*recipe
	dir    string // its OCI layout
	digest string
	fresh  bool // built just now
	took   time.Duration
	note
}

// note is stored beside an image.
type note struct {
	Sizes    []image.Sizes `json:"sizes"`
	Warnings []string      `json:"warnings,omitempty"`
}

func (r *recipe) ref(registry string) string { return registry + "/" + r.name + ":" + r.tag }

// run builds the named images, or all of them.
func (b *builder) run(ctx context.Context, names []string) error {
	start := time.Now()
	recipes, source, err := b.recipes(ctx)
	if err != nil {
		return err
	}
	for _, n := range names {
		if !slices.ContainsFunc(recipes, func(r *recipe) bool { return r.name == n }) {
			return program.Inputf("unknown image %q", n)
		}
	}
	if err := os.MkdirAll(filepath.Join(b.out, "images"), 0o755); err != nil {
		return fmt.Errorf("creating the folder for images: %w", err)
	}
	for _, r := range recipes {
		if (len(names) > 0 || r.onlyNamed) && !slices.Contains(names, r.name) {
			continue
		}
		img, err := b.build(ctx, r)
		if errors.Is(err, errAbsent) {
			b.print(fmt.Sprintf("– %-20s left out: %v", r.name, err))
			continue
		}
		if err != nil {
			return fmt.Errorf("building image %s: %w", r.name, err)
		}
		if err := b.deliver(ctx, img); err != nil {
			return err
		}
	}
	if err := b.writeValues(recipes, source, prepare.Commit(ctx, b.root)); err != nil {
		return err
	}
	b.print(fmt.Sprintf("images in %s, values in %s, took %s", filepath.Join(b.out, "images"), filepath.Join(b.out, "values.yaml"), time.Since(start).Round(100*time.Millisecond)))
	return nil
}

// deliver writes the archive and the lists of contents if they aren't up to date, and
// pushes the image.
func (b *builder) deliver(ctx context.Context, img *built) error {
	path := b.archive(img.recipe)
	there, err := image.ReadArchive(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.print(fmt.Sprintf("! %s: %v; writing it again", img.name, err))
	}
	if there.Digest != img.digest || there.Name != img.ref(ourRegistry) {
		if err := image.WriteArchive(img.dir, path); err != nil {
			return err
		}
	}
	word := "unchanged"
	if img.fresh {
		word = "built in " + img.took.Round(100*time.Millisecond).String()
	}
	var sizes []string
	for _, s := range img.Sizes {
		sizes = append(sizes, fmt.Sprintf("%s %.1f MB (%.1f unpacked)", s.Arch, float64(s.Compressed)/1e6, float64(s.Unpacked)/1e6))
	}
	b.print(fmt.Sprintf("✓ %-20s %s  %s  %s", img.name, img.digest[:19], strings.Join(sizes, ", "), word))
	for _, w := range img.Warnings {
		b.print("! " + img.name + ": " + w)
	}
	contents, err := b.contents(img)
	if err != nil || b.push == "" {
		return err
	}
	return b.publish(ctx, img, contents)
}

// archive returns the path of an image's archive.
func (b *builder) archive(r *recipe) string { return filepath.Join(b.out, "images", r.name+".tar") }

// build returns the image from the cache, or builds it.
func (b *builder) build(ctx context.Context, r *recipe) (*built, error) {
	choices := b.baseChoices(r)
	keys := make([]string, len(choices))
	for i, base := range choices {
		key, err := b.key(ctx, r, base)
		if err != nil {
			return nil, err
		}
		keys[i] = key
		if img, err := b.cached(r, key); err != nil || img != nil {
			return img, err
		}
	}
	log := slog.New(&lines{print: b.print, name: r.name})
	// A build of the same image for another architecture has another lock.
	held, err := host.WaitLock(ctx, log, filepath.Join(b.cache(), r.name+"-"+strings.Join(b.archs, "-")+".lock"), "building image "+r.name)
	if err != nil {
		return nil, err
	}
	defer held.Unlock()
	for _, key := range keys {
		if img, err := b.cached(r, key); err != nil || img != nil {
			return img, err
		}
	}
	start := time.Now()
	tmp, err := os.MkdirTemp(b.cache(), "."+r.name+"-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	choice, bases, err := b.openBase(ctx, log, r, choices, tmp)
	if err != nil {
		return nil, err
	}
	n := note{}
	images := map[string]v1.Image{}
	for _, arch := range b.archs {
		t := target{arch: arch, dir: tmp, base: bases[arch].image}
		n.Warnings = append(n.Warnings, bases[arch].warnings...)
		if images[arch], err = r.make(ctx, log, t); err != nil {
			return nil, err
		}
		s, err := image.SizesOf(images[arch], arch)
		if err != nil {
			return nil, err
		}
		n.Sizes = append(n.Sizes, s)
	}
	return b.store(r, keys[choice], tmp, images, n, time.Since(start))
}

// store puts the image into the cache under its key and deletes old ones.
func (b *builder) store(r *recipe, key, tmp string, images map[string]v1.Image, n note, took time.Duration) (*built, error) {
	fresh := filepath.Join(tmp, "layout")
	if err := image.Store(fresh, r.ref(ourRegistry), images); err != nil {
		return nil, err
	}
	text, err := json.Marshal(n)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(fresh, "note.json"), text, 0o644); err != nil {
		return nil, err
	}
	dir := b.layout(r, key)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, err
	}
	if err := os.Rename(fresh, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if err := prune(filepath.Dir(dir), 4); err != nil {
		return nil, err
	}
	img, err := b.cached(r, key)
	if err == nil {
		img.fresh, img.took = true, took
	}
	return img, err
}

// cached returns the image with that key from the cache, or nil.
func (b *builder) cached(r *recipe, key string) (*built, error) {
	dir := b.layout(r, key)
	text, err := os.ReadFile(filepath.Join(dir, "note.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	img := &built{recipe: r, dir: dir}
	if err := json.Unmarshal(text, &img.note); err != nil {
		return nil, fmt.Errorf("reading %s: %w", dir, err)
	}
	s, err := image.ReadStored(dir)
	if err != nil {
		return nil, err
	}
	img.digest = s.Digest
	now := time.Now()
	_ = os.Chtimes(dir, now, now) // for prune, which may delete it too early otherwise
	return img, nil
}

// prune deletes all but the most recently used folders.
func prune(dir string, keep int) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	used := func(e os.DirEntry) time.Time {
		info, err := e.Info()
		if err != nil {
			return time.Time{}
		}
		return info.ModTime()
	}
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return cmp.Compare(used(b).UnixNano(), used(a).UnixNano()) })
	for _, e := range entries[min(keep, len(entries)):] {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("deleting an old image: %w", err)
		}
	}
	return nil
}

func (b *builder) cache() string { return filepath.Join(b.state.Cache, "images") }

func (b *builder) layout(r *recipe, key string) string {
	return filepath.Join(b.cache(), r.name, key)
}

// key returns the digest of everything that an image on that base depends on.
func (b *builder) key(ctx context.Context, r *recipe, base string) (string, error) {
	if err := os.MkdirAll(b.cache(), 0o755); err != nil {
		return "", err
	}
	parts := []string{b.tool, r.name, r.tag, base}
	if base == basePublic {
		parts = append(parts, r.base.public)
	}
	for _, arch := range b.archs {
		in, err := r.inputs(ctx, arch)
		if err != nil {
			return "", err
		}
		parts = append(append(parts, arch), in...)
		if base == baseDebian {
			locked, err := b.debianInputs(arch, r.base.packages)
			if err != nil {
				return "", err
			}
			parts = append(parts, locked)
		}
	}
	return digest(parts...)[:16], nil
}

// digest returns the SHA-256 of the parts and their lengths.
func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// lines is a log handler that prints one readable line per record.
type lines struct {
	print func(line string)
	name  string
}

func (l *lines) Enabled(_ context.Context, v slog.Level) bool { return v >= slog.LevelInfo }
func (l *lines) WithAttrs([]slog.Attr) slog.Handler           { return l }
func (l *lines) WithGroup(string) slog.Handler                { return l }

func (l *lines) Handle(_ context.Context, r slog.Record) error {
	mark := " "
	if r.Level >= slog.LevelWarn {
		mark = "!"
	}
	text := fmt.Sprintf("%s %s %s: %s", mark, r.Time.Format("15:04:05"), l.name, r.Message)
	r.Attrs(func(a slog.Attr) bool {
		text += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	l.print(text)
	return nil
}
