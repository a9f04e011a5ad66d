// Command cluster builds and runs a one-node Kubernetes on a machine that has
// none:
//
//	cluster build [-only a,b]   compiles the node's programs (all, or only these)
//	cluster up                  starts whatever isn't running
//	cluster down                stops the node and removes its traces from the machine;
//	                            PURGE=1 also deletes its data, PURGE=all the built programs too
//	cluster status              shows what runs and whether it works
//	cluster import FILE.tar...  imports images that the node doesn't have yet
//	cluster path PROGRAM        prints a program's path, and builds it if it is missing
//	cluster watch               starts services again that have ended; up starts it, down stops it
//	cluster join [FILE.tar...]  starts a second node in a network namespace, with these images
//	cluster cut                 takes the second node off the network; cluster mend puts it back
//	cluster leave               stops the second node
//	cluster kill [SERVICE]      kills all processes of the node and its pods at once, or one
//	                            service, for fault tests
//
// Environment variables: MLOPS_HOME (the state; default $HOME/.mlops, for root
// /var/lib/mlops), MLOPS_CACHE_HOME (shared between states; default: cache in
// MLOPS_HOME) and PURGE.
package main

import (
	"context"
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
	commands := []string{"build", "up", "down", "status", "import", "path", "watch", "join", "cut", "mend", "leave", "kill"}
	if len(args) == 0 {
		return fmt.Errorf("missing command: one of %s", strings.Join(commands, ", "))
	}
	if !slices.Contains(commands, args[0]) {
		return fmt.Errorf("unknown command %q", args[0])
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{ReplaceAttr: readable}))
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
		flags.StringVar(&only, "only", "", "comma-separated programs")
	}
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	takes := map[string]int{"import": -1, "path": 1}
	if args[0] == "kill" && flags.NArg() == 1 {
		takes["kill"] = 1
	}
	if args[0] == "join" {
		takes["join"] = flags.NArg()
	}
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
	case "watch":
		return n.Watch(ctx)
	case "join":
		return n.Join(ctx, flags.Args()...)
	case "cut":
		return n.Cut()
	case "mend":
		return n.Mend()
	case "leave":
		return n.Leave(ctx)
	default:
		return n.Kill(flags.Arg(0))
	}
}

// folders returns the folders of the state and of the cache, by the same rules as
// make demo.
func folders() (home, cache string, err error) {
	home, cache = os.Getenv("MLOPS_HOME"), os.Getenv("MLOPS_CACHE_HOME")
	if home == "" {
		home = "/var/lib/mlops"
		if os.Geteuid() != 0 {
			user, err := os.UserHomeDir()
			if err != nil {
				return "", "", fmt.Errorf("finding a folder for the state (set MLOPS_HOME to name one): %w", err)
			}
			home = filepath.Join(user, ".mlops")
		}
	}
	if home, err = filepath.Abs(home); err != nil {
		return "", "", fmt.Errorf("opening the state folder: %w", err)
	}
	if cache == "" {
		cache = filepath.Join(home, "cache")
	}
	if cache, err = filepath.Abs(cache); err != nil {
		return "", "", fmt.Errorf("opening the cache folder: %w", err)
	}
	return home, cache, nil
}

// readable drops the parts of a log line that a person at a terminal doesn't need.
func readable(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey && a.Value.Any() == slog.LevelInfo) {
		return slog.Attr{}
	}
	return a
}
