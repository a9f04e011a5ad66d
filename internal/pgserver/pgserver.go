// Package pgserver starts the Postgres of an image that was built from a wheel as
// the official image's entrypoint does: with the same variables, the same folder
// and the same signals. Where it differs, it is stricter.
//
//   - A database counts as made once its file PG_VERSION is in place, which comes
//     last. It is made in a folder of its own inside PGDATA, so a start that is
//     killed half-way leaves nothing that a later one takes for complete.
//   - Over TCP a password is required on 127.0.0.1 too: that is where a forwarded
//     port comes in. The local socket is trusted.
//
// It reads POSTGRES_PASSWORD, POSTGRES_USER, POSTGRES_DB, POSTGRES_INITDB_ARGS,
// each also from the file that the same name with _FILE gives,
// POSTGRES_HOST_AUTH_METHOD and PGDATA. Any command other than flags or
// postgres is run unchanged: `psql`, `sh`.
package pgserver

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// server is a data folder and what its database is made with.
type server struct {
	data           string
	user, password string
	database       string
	initArgs       []string
	method         string // of authentication over TCP

	environ []string // of the programs that make the database
	log     *slog.Logger
}

// Run prepares the server's data folder and becomes the server, or whatever other
// command the arguments are. It returns only if that fails.
func Run(args []string, getenv func(string) string, environ []string, log *slog.Logger) error {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		args = append([]string{"postgres"}, args...)
	}
	if args[0] == "postgres" && !asksOnly(args[1:]) {
		s, err := configure(getenv)
		if err != nil {
			return err
		}
		s.environ, s.log = environ, log
		if os.Geteuid() == 0 {
			if err := s.stepDown(); err != nil {
				return err
			}
		}
		if err := s.nameUser(); err != nil {
			return err
		}
		if err := s.prepare(); err != nil {
			return err
		}
		// Before the caller's own settings, which win.
		args = append([]string{"postgres", "-c", "unix_socket_directories=" + socketDir}, args[1:]...)
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	return fmt.Errorf("starting %s: %w", path, syscall.Exec(path, args, environ))
}

// asksOnly reports whether postgres would only print something and exit.
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
func configure(getenv func(string) string) (*server, error) {
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
			return strings.TrimRight(string(text), "\n") // like the shell's $(< file)
		}
		return value
	}
	s := &server{
		data:     getenv("PGDATA"),
		user:     read("POSTGRES_USER"),
		password: read("POSTGRES_PASSWORD"),
		database: read("POSTGRES_DB"),
		initArgs: strings.Fields(read("POSTGRES_INITDB_ARGS")),
		method:   getenv("POSTGRES_HOST_AUTH_METHOD"),
	}
	if s.data == "" {
		s.data = "/var/lib/postgresql/" + major + "/docker"
	}
	if s.user == "" {
		s.user = "postgres"
	}
	if s.database == "" {
		s.database = s.user
	}
	if s.method == "" {
		s.method = "scram-sha-256"
	}
	if getenv("POSTGRES_INITDB_WALDIR") != "" {
		errs = append(errs, errors.New("POSTGRES_INITDB_WALDIR is not supported by this image"))
	}
	return s, errors.Join(errs...)
}
