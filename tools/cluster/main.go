// Command cluster builds and runs a Kubernetes of one node on this machine,
// where there is none:
//
//	cluster build [-only a,b]   compiles the node's programs (all, or those named)
//	cluster up                  starts what does not run; changes nothing where all does
//	cluster down                stops it and takes away what it made on the machine; PURGE=1 deletes its data too,
//	                            PURGE=all also the built programs
//	cluster status              one screen
//	cluster import FILE.tar...  gives images to the node, those left out that it has
//	cluster path PROGRAM        prints where a program lies, built where it is missing
//	cluster kill                kills every process of the node and its pods at once, for tests of faults
//
// It reads the environment: MLOPS_HOME (the state; default $HOME/.mlops, for root
// /var/lib/mlops), MLOPS_CACHE_HOME (what states share; default cache in
// MLOPS_HOME) and PURGE.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"mlops/tools/cluster/internal/build"
	"mlops/tools/cluster/internal/node"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("want a command: build, up, down, status, import, path or kill")
	}
	if !slices.Contains([]string{"build", "up", "down", "status", "import", "path", "kill"}, args[0]) {
		return fmt.Errorf("there is no command %q", args[0])
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{ReplaceAttr: plain}))
	home, cache, err := folders()
	if err != nil {
		return err
	}
	b, err := build.New(source, cache, log)
	if err != nil {
		return err
	}
	flags := flag.NewFlagSet("cluster "+args[0], flag.ContinueOnError)
	only := ""
	if args[0] == "build" {
		flags.StringVar(&only, "only", "", "programs, with commas between them")
	}
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	takes := map[string]int{"import": -1, "path": 1}
	if n := takes[args[0]]; n >= 0 && flags.NArg() != n || n < 0 && flags.NArg() == 0 {
		return fmt.Errorf("%s: wrong number of arguments: %q", args[0], flags.Args())
	}
	switch args[0] {
	case "build":
		var names []string
		for _, p := range build.Programs {
			names = append(names, p.Name)
		}
		if only != "" {
			names = strings.Split(only, ",")
		}
		return b.Build(ctx, names...)
	case "path":
		if err := b.Build(ctx, flags.Arg(0)); err != nil {
			return err
		}
		fmt.Println(b.Path(flags.Arg(0)))
		return nil
	}
	n, err := node.Open(home, b, log)
	if err != nil {
		return err
	}
	switch args[0] {
	case "up":
		return n.Up(ctx)
	case "down":
		return n.Down(ctx, os.Getenv("PURGE"))
	case "status":
		return n.Status(ctx, os.Stdout)
	case "import":
		return n.Import(ctx, flags.Args()...)
	default:
		return n.Kill()
	}
}

// folders returns the state's and the cache's, by the same rule as make demo.
func folders() (home, cache string, err error) {
	home, cache = os.Getenv("MLOPS_HOME"), os.Getenv("MLOPS_CACHE_HOME")
	if home == "" {
		home = "/var/lib/mlops"
		if os.Geteuid() != 0 {
			user, err := os.UserHomeDir()
			if err != nil {
				return "", "", fmt.Errorf("finding a folder for the state (or set MLOPS_HOME): %w", err)
			}
			home = filepath.Join(user, ".mlops")
		}
	}
	if home, err = filepath.Abs(home); err != nil {
		return "", "", fmt.Errorf("opening the state's folder: %w", err)
	}
	if cache == "" {
		cache = filepath.Join(home, "cache")
	}
	if cache, err = filepath.Abs(cache); err != nil {
		return "", "", fmt.Errorf("opening the cache's folder: %w", err)
	}
	return home, cache, nil
}

// plain leaves out of the log what a person at a terminal doesn't need.
func plain(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey && a.Value.Any() == slog.LevelInfo) {
		return slog.Attr{}
	}
	return a
}
