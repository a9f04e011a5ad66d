// Command mlops is the platform's command for people: it runs the demo on this
// machine, shows what is running, and checks data sets. `mlops help` lists its
// commands.
//
// It reads the environment: MLOPS_HOME (where data, logs and records are kept;
// default $HOME/.mlops, for root /var/lib/mlops), MLOPS_CACHE_HOME (what several
// homes share; default cache in MLOPS_HOME), SPEC, DATASET, PURGE and
// MLOPS_API_KEYS (defaults of the flags), PYTHON (an interpreter), TERM and NO_COLOR.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"mlops/internal/demo"
	"mlops/internal/program"
	"mlops/internal/progress"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, commands(), os.Args[1:], progress.Screen(os.Stdout))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mlops:", progress.Printable(err.Error()))
		os.Exit(exitCode(err))
	}
}

// exitCode passes on the code of a command that `mlops scratch` ran.
func exitCode(err error) int {
	var failed *demo.CommandError
	var exit *exec.ExitError
	if errors.As(err, &failed) && errors.As(failed, &exit) && exit.ExitCode() > 0 {
		return exit.ExitCode()
	}
	return program.Code(err)
}

// command is one of mlops' commands.
type command struct {
	name      string // "demo up"
	args      string // for the usage line
	short     string // one line, for the list
	long      string // for its own help
	developer bool   // listed apart
	// define adds the command's flags and returns what runs it with the arguments
	// after them.
	define func(*flag.FlagSet) func(ctx context.Context, out io.Writer, args []string) error
}

// run finds the command that args begin with and runs it.
func run(ctx context.Context, all []command, args []string, out io.Writer) error {
	if len(args) == 0 {
		writeHelp(out, all)
		return nil
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		return help(all, args[1:], out)
	}
	c, rest, err := find(all, args)
	if err != nil {
		return err
	}
	flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	work := c.define(flags)
	if err := flags.Parse(rest); errors.Is(err, flag.ErrHelp) {
		writeCommandHelp(out, c)
		return nil
	} else if err != nil {
		return program.Inputf("%s: %w; see mlops help %s", c.name, err, c.name)
	}
	if flags.NArg() > 0 && c.args == "" {
		return program.Inputf("%s: unexpected argument %q; see mlops help %s", c.name, flags.Arg(0), c.name)
	}
	return work(ctx, out, flags.Args())
}

// find returns the command that args begin with, and the arguments after it. A
// name may be several words.
func find(all []command, args []string) (*command, []string, error) {
	for n := len(args); n > 0; n-- {
		name := strings.Join(args[:n], " ")
		for i := range all {
			if all[i].name == name {
				return &all[i], args[n:], nil
			}
		}
	}
	return nil, nil, unknown(all, args)
}

// help writes the help of the command that args name, or of all.
func help(all []command, args []string, out io.Writer) error {
	if len(args) == 0 {
		writeHelp(out, all)
		return nil
	}
	c, rest, err := find(all, args)
	if err != nil || len(rest) > 0 {
		name := strings.Join(args, " ")
		if group := withPrefix(all, name+" "); len(group) > 0 {
			for i := range group {
				if i > 0 {
					fmt.Fprintln(out)
				}
				writeCommandHelp(out, &group[i])
			}
			return nil
		}
		return unknown(all, args)
	}
	writeCommandHelp(out, c)
	return nil
}
