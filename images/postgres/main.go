// Postgres starts the Postgres of an image that was built from a wheel, as the
// official image's entry does: with the same variables, the same folder and the
// same signals. Where it differs, it is stricter.
//
//   - A database counts as made once its file PG_VERSION is in place, which comes
//     last. It is made in a folder of its own inside PGDATA, so a start that was
//     killed in the middle leaves nothing that a later one would take for whole.
//   - Over TCP a password is asked for on 127.0.0.1 too: a forwarded port comes
//     in there. The local socket is trusted.
//
// It reads POSTGRES_PASSWORD, POSTGRES_USER, POSTGRES_DB, POSTGRES_INITDB_ARGS,
// each also as a file's path with _FILE behind the name,
// POSTGRES_HOST_AUTH_METHOD and PGDATA. Anything but flags in front of it is run
// as it stands: `psql`, `sh`.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "postgres image:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		args = append([]string{"postgres"}, args...)
	}
	if args[0] == "postgres" && !asksOnly(args[1:]) {
		c, err := configure(os.Getenv)
		if err != nil {
			return err
		}
		if os.Geteuid() == 0 {
			if err := c.stepDown(); err != nil {
				return err
			}
		}
		if err := c.nameUser(); err != nil {
			return err
		}
		if err := c.prepare(); err != nil {
			return err
		}
		// Before the caller's own settings, which win.
		args = append([]string{"postgres", "-c", "unix_socket_directories=" + socketDir}, args[1:]...)
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	return fmt.Errorf("starting %s: %w", path, syscall.Exec(path, args, os.Environ()))
}

// asksOnly reports whether postgres would only answer a question.
func asksOnly(args []string) bool {
	for _, a := range args {
		switch a {
		case "-?", "--help", "--describe-config", "-V", "--version":
			return true
		}
	}
	return false
}

// configure reads the variables of the official image.
func configure(getenv func(string) string) (*cluster, error) {
	var errs []error
	read := func(name string) string {
		value, file := getenv(name), getenv(name+"_FILE")
		switch {
		case value != "" && file != "":
			errs = append(errs, fmt.Errorf("both %s and %s_FILE are set", name, name))
		case file != "":
			text, err := os.ReadFile(file)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s_FILE: %w", name, err))
			}
			return strings.TrimRight(string(text), "\n") // as a shell's $(< file)
		}
		return value
	}
	c := &cluster{
		data:     getenv("PGDATA"),
		user:     read("POSTGRES_USER"),
		password: read("POSTGRES_PASSWORD"),
		database: read("POSTGRES_DB"),
		initArgs: strings.Fields(read("POSTGRES_INITDB_ARGS")),
		method:   getenv("POSTGRES_HOST_AUTH_METHOD"),
		environ:  os.Environ(),
		say:      func(text string) { fmt.Fprintln(os.Stderr, "postgres image:", text) },
	}
	if c.data == "" {
		c.data = "/var/lib/postgresql/18/docker"
	}
	if c.user == "" {
		c.user = "postgres"
	}
	if c.database == "" {
		c.database = c.user
	}
	if c.method == "" {
		c.method = "scram-sha-256"
	}
	if getenv("POSTGRES_INITDB_WALDIR") != "" {
		errs = append(errs, errors.New("POSTGRES_INITDB_WALDIR is not known to this image"))
	}
	return c, errors.Join(errs...)
}
