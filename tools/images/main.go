// Command images builds the platform's container images without Docker. It writes
// dist/images/<name>.tar (archives for `ctr images import`, `docker load` and the
// like), beside each a list of what is in it (SPDX 2.3, <name>.<arch>.spdx.json), and
// dist/values.yaml, a values file for the chart in a cluster that can't pull public
// images. `make images` runs it.
//
//	images                    builds all images for this machine's architecture
//	images inference ui       builds only these
//	images -arch amd64,arm64  builds each for both architectures, in one archive
//	images -push REGISTRY     also pushes them, as REGISTRY/<name>:<tag>, with the lists;
//	                          the values then pin each image by its digest
//	images -lock              updates debian.lock to the current packages
//
// Environment variables: MLOPS_HOME and MLOPS_CACHE_HOME as in `make demo`, SPEC
// and DATASET (whose table goes into the image `source`; with SYNTHETIC=1 made-up
// rows), PYTHON, and COSIGN_KEY (file of a private key that signs what is pushed, as
// cosign does) with its COSIGN_PASSWORD.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"mlops/internal/image"
	"mlops/internal/local"
	"mlops/internal/prepare"
	"mlops/internal/program"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:])
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(program.Code(err))
	}
}

func run(ctx context.Context, args []string) error {
	b := &builder{spec: program.EnvOr("SPEC", filepath.Join("workflows", "datasets", "diabetes.yaml")), dataset: os.Getenv("DATASET"), synthetic: os.Getenv("SYNTHETIC") == "1"}
	flags := flag.NewFlagSet("images", flag.ContinueOnError)
	arch := flags.String("arch", runtime.GOARCH, "comma-separated architectures: amd64, arm64")
	flags.StringVar(&b.out, "out", "dist", "output folder")
	flags.StringVar(&b.push, "push", "", "registry (with an optional path) to push the images to")
	flags.StringVar(&b.bases, "base", "auto", "base of images that need a C library: public (pulled), debian (from packages), or auto (public if the registry responds)")
	flags.StringVar(&b.others, "others", othersAuto, "third-party images (MinIO, Argo, Postgres, Prometheus): build, public (the cluster pulls them), or auto (build if the registry doesn't respond)")
	lock := flags.Bool("lock", false, "update debian.lock and build nothing")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return program.Input(err)
	}
	for _, a := range strings.Split(*arch, ",") {
		if a != "amd64" && a != "arm64" {
			return program.Inputf("-arch: %q is neither amd64 nor arm64", a)
		}
		b.archs = append(b.archs, a)
	}
	if b.bases != "auto" && b.bases != "public" && b.bases != "debian" {
		return program.Inputf("-base: %q is not auto, public or debian", b.bases)
	}
	if b.others != othersAuto && b.others != othersBuild && b.others != othersPublic {
		return program.Inputf("-others: %q is not auto, build or public", b.others)
	}
	root, err := prepare.Root()
	if err != nil {
		return err
	}
	b.root = root
	for _, p := range []*string{&b.out, &b.spec} {
		if !filepath.IsAbs(*p) {
			*p = filepath.Join(root, *p)
		}
	}
	home, err := prepare.Home(os.Getenv("MLOPS_HOME"))
	if err != nil {
		return err
	}
	if b.state, err = local.OpenState(home, os.Getenv("MLOPS_CACHE_HOME"), os.Environ()); err != nil {
		return err
	}
	if path := os.Getenv("COSIGN_KEY"); path != "" {
		if b.push == "" {
			return program.Inputf("COSIGN_KEY: signatures are stored in a registry; name one (make images REGISTRY=)")
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return program.Inputf("COSIGN_KEY: %w", err)
		}
		if b.signer, err = image.ReadKey(text, os.Getenv("COSIGN_PASSWORD")); err != nil {
			return program.Inputf("COSIGN_KEY: %s: %w", path, err)
		}
	}
	b.pythons = prepare.Pythons(os.Getenv("PYTHON"))
	b.print = func(line string) { fmt.Println(line) }
	if *lock {
		return b.writeDebianLock(ctx)
	}
	return b.run(ctx, flags.Args())
}
