// Package program starts and ends our programs alike: logs as JSON on stderr, a
// context that ends with SIGINT or SIGTERM, and an exit code that tells the one
// who started it whether another try can help.
package program

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes.
const (
	Failed   = 1 // another try may help
	BadInput = 2 // the input is wrong: another try can't help
)

// inputError is an error that another try can't fix.
type inputError struct{ error }

func (e inputError) Unwrap() error { return e.error }

// Input marks an error as one that another try can't fix. Input(nil) is nil.
func Input(err error) error {
	if err == nil {
		return nil
	}
	return inputError{err}
}

// Inputf is Input(fmt.Errorf(...)).
func Inputf(format string, args ...any) error { return Input(fmt.Errorf(format, args...)) }

// Code returns the exit code for what a program ended with.
func Code(err error) int {
	var bad inputError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &bad):
		return BadInput
	default:
		return Failed
	}
}

// Main runs a program and ends the process.
func Main(run func(ctx context.Context, log *slog.Logger) error) {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	slog.SetDefault(log)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, log)
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		log.Error(err.Error())
	}
	os.Exit(Code(err))
}

// Flags parses the program's arguments with what define sets up; anything left
// over is an error.
func Flags(args []string, define func(*flag.FlagSet)) error {
	f := flag.NewFlagSet("", flag.ContinueOnError)
	define(f)
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return Input(err)
	}
	if f.NArg() > 0 {
		return Inputf("unexpected argument %q", f.Arg(0))
	}
	return nil
}

// Env returns an environment variable that must be set.
func Env(name string) (string, error) {
	v := os.Getenv(name)
	if v == "" {
		return "", Inputf("the environment variable %s is not set", name)
	}
	return v, nil
}

// EnvOr returns an environment variable, or another value if it is not set.
func EnvOr(name, other string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return other
}
