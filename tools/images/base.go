package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"mlops/internal/image"
)

// base is the base of an image that needs a C library.
type base struct {
	public   string   // a public image; empty: none has what is needed
	packages []string // Debian packages, in debian.lock
}

// Where an image's base layers come from.
const (
	baseNone   = "" // the image has none
	basePublic = "public"
	baseDebian = "debian"
)

// reachLimit is how long a public registry may take to resolve a name.
const reachLimit = 5 * time.Second

// baseChoices returns the allowed origins of a base, best first.
func (b *builder) baseChoices(r *recipe) []string {
	switch {
	case r.base == nil:
		return []string{baseNone}
	case r.base.public == "" || b.bases == baseDebian:
		return []string{baseDebian}
	case b.bases == basePublic:
		return []string{basePublic}
	}
	return []string{basePublic, baseDebian}
}

// opened is an opened base for one architecture.
type opened struct {
	image    v1.Image
	warnings []string
}

// openBase opens the base for each architecture from the first origin that works,
// and returns the index of that choice.
func (b *builder) openBase(ctx context.Context, log *slog.Logger, r *recipe, choices []string, dir string) (int, map[string]opened, error) {
	var errs []error
	for i, choice := range choices {
		got := map[string]opened{}
		var err error
		for _, arch := range b.archs {
			switch choice {
			case basePublic:
				got[arch], err = pullBase(ctx, log, r.base.public, arch)
			case baseDebian:
				got[arch], err = b.debianBase(ctx, log, arch, r.base.packages, dir)
			}
			if err != nil {
				break
			}
		}
		if err == nil {
			return i, got, nil
		}
		if ctx.Err() != nil {
			return 0, nil, ctx.Err()
		}
		if len(choices) > i+1 {
			log.Info("can't pull the public base, using Debian packages", "image", r.base.public, "error", short(err))
		}
		errs = append(errs, err)
	}
	return 0, nil, errors.Join(errs...)
}

// short returns an error's first line, shortened.
func short(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	if len(text) > 160 {
		text = text[:160] + "…"
	}
	return text
}

// pullBase pulls a public image, provided that the registry resolves its name in
// time.
func pullBase(ctx context.Context, log *slog.Logger, ref, arch string) (opened, error) {
	reach, cancel := context.WithTimeout(ctx, reachLimit)
	defer cancel()
	_, digest, err := image.Pull(reach, ref, arch)
	if err != nil {
		return opened{}, err
	}
	log.Info("pulling the base", "image", ref+"@"+digest, "arch", arch)
	img, _, err := image.Pull(ctx, ref, arch) // again, since its layers are read later, with this context
	if err != nil {
		return opened{}, err
	}
	o := opened{image: img}
	if !strings.Contains(ref, "@") {
		o.warnings = []string{"based on today's " + ref + " (" + digest + "): a build on another day may have another digest"}
	}
	return o, nil
}
