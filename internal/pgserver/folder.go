package pgserver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"mlops/internal/versions"
)

const (
	major     = versions.PostgresMajor
	owner     = 999 // the server's user and group when started as root, as in the official image
	socketDir = "/var/run/postgresql"

	// making is the folder in PGDATA in which a database is made.
	making = ".making"
	// versionFile is the file by which a database counts as made.
	versionFile = "PG_VERSION"
)

// nssWrapper lets programs find the name of a user that is not in /etc/passwd.
const nssWrapper = "/usr/lib/*/libnss_wrapper.so"

// Major returns the major version of Postgres that made a data folder, such as
// "18". The error wraps fs.ErrNotExist where the folder holds no complete
// database.
func Major(dir string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, versionFile))
	return strings.TrimSpace(string(text)), err
}

// stepDown gives the server's user its folders and becomes that user.
func (s *server) stepDown() error {
	for _, dir := range []string{s.data, socketDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(path, owner, owner)
		})
		if err != nil {
			return fmt.Errorf("giving %s to the server's user: %w", dir, err)
		}
	}
	if err := syscall.Setgroups(nil); err != nil {
		return fmt.Errorf("leaving root's groups: %w", err)
	}
	if err := syscall.Setgid(owner); err != nil {
		return fmt.Errorf("becoming the server's user: %w", err)
	}
	if err := syscall.Setuid(owner); err != nil {
		return fmt.Errorf("becoming the server's user: %w", err)
	}
	return nil
}

// nameUser gives initdb a name for whichever user the pod runs as. The files are
// written at each start: /tmp may be empty by then.
func (s *server) nameUser() error {
	uid := strconv.Itoa(os.Geteuid())
	if _, err := user.LookupId(uid); err == nil {
		return nil
	}
	library, err := filepath.Glob(nssWrapper)
	if err != nil || len(library) == 0 {
		return err // never in our image; elsewhere initdb reports what is missing
	}
	passwd, group := filepath.Join(os.TempDir(), "passwd"), filepath.Join(os.TempDir(), "group")
	for name, text := range map[string]string{
		passwd: fmt.Sprintf("postgres:x:%s:%d:PostgreSQL:%s:/bin/false\n", uid, os.Getegid(), filepath.Dir(s.data)),
		group:  fmt.Sprintf("postgres:x:%d:\n", os.Getegid()),
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return fmt.Errorf("naming user %s: %w", uid, err)
		}
	}
	s.environ = append(s.environ, "LD_PRELOAD="+library[0], "NSS_WRAPPER_PASSWD="+passwd, "NSS_WRAPPER_GROUP="+group)
	return nil
}

// prepare makes the database unless there is one.
func (s *server) prepare() error {
	if err := os.MkdirAll(s.data, 0o700); err != nil {
		return err
	}
	// The kubelet sets a volume's group permissions at each mount; the server
	// accepts none. It reports a folder that belongs to another user by itself.
	_ = os.Chmod(s.data, 0o700)
	found, err := Major(s.data)
	switch {
	case err == nil:
		if found != major {
			return fmt.Errorf("%s was made by Postgres %s, this is %s; dump it there and restore it here", s.data, found, major)
		}
		// A start that was killed between its last two steps leaves this folder.
		return os.RemoveAll(filepath.Join(s.data, making))
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := s.clear(); err != nil {
		return err
	}
	if s.password == "" && s.method != "trust" {
		return errors.New("no database yet, and no password for its superuser: set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE")
	}
	if err := s.make(); err != nil {
		return fmt.Errorf("making the database: %w", err)
	}
	return nil
}

// clear removes what is left of a start that was killed while making the
// database. Without a trace of one, files in the folder are somebody's data.
func (s *server) clear() error {
	files, err := os.ReadDir(s.data)
	if err != nil {
		return err
	}
	unfinished := false
	var others []string
	for _, f := range files {
		switch f.Name() {
		case making:
			unfinished = true
		case "lost+found":
		default:
			others = append(others, f.Name())
		}
	}
	if len(others) > 0 && !unfinished {
		return fmt.Errorf("%s holds files but no database: %s", s.data, strings.Join(others, ", "))
	}
	if unfinished {
		s.log.Warn("an earlier start was killed while making the database; starting over", "dir", s.data)
	}
	// The folder being made goes last: it is the trace.
	for _, name := range append(others, making) {
		if err := os.RemoveAll(filepath.Join(s.data, name)); err != nil {
			return fmt.Errorf("clearing what an earlier start left: %w", err)
		}
	}
	return nil
}

func (s *server) make() error {
	dir := filepath.Join(s.data, making)
	if err := s.initdb(dir); err != nil {
		return err
	}
	hba, err := os.OpenFile(filepath.Join(dir, "pg_hba.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer hba.Close()
	if _, err := fmt.Fprintf(hba, "\nhost all all all %s\n", s.method); err != nil {
		return err
	}
	if err := errors.Join(hba.Sync(), hba.Close()); err != nil {
		return err
	}
	if s.database != "postgres" {
		if err := s.createDatabase(dir); err != nil {
			return err
		}
	}
	return s.moveIn(dir)
}

func (s *server) initdb(dir string) error {
	args := []string{"-D", dir, "--username=" + s.user, "--auth-local=trust", "--auth-host=" + s.method,
		"--set", "listen_addresses=*"} // as the official image's own settings file says
	cmd := exec.Command("initdb")
	cmd.Stdout, cmd.Stderr, cmd.Env = os.Stdout, os.Stderr, s.environ
	if s.password != "" {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		defer r.Close()
		go func() { // a pipe holds a password of 4 KiB at least
			fmt.Fprintln(w, s.password)
			w.Close()
		}()
		cmd.ExtraFiles = []*os.File{r}
		args = append(args, "--pwfile=/proc/self/fd/3")
	}
	cmd.Args = append(append([]string{"initdb"}, args...), s.initArgs...)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("initdb: %w", err)
	}
	return nil
}

// createDatabase makes the database of POSTGRES_DB. In the single-user server a
// statement ends with the line.
func (s *server) createDatabase(dir string) error {
	if strings.ContainsAny(s.database, "\n\x00") {
		return errors.New("POSTGRES_DB contains a line break")
	}
	cmd := exec.Command("postgres", "--single", "-D", dir, "postgres")
	cmd.Stdin = strings.NewReader(`CREATE DATABASE "` + strings.ReplaceAll(s.database, `"`, `""`) + "\"\n")
	cmd.Env = s.environ
	out, err := cmd.CombinedOutput()
	if err == nil && strings.Contains(string(out), "ERROR:") {
		err = errors.New("the statement failed") // the program still exits with 0
	}
	if err != nil {
		return fmt.Errorf("creating database %s: %w\n%s", s.database, err, out)
	}
	return nil
}

// moveIn moves what was made to its place, PG_VERSION last.
func (s *server) moveIn(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.Name() == versionFile {
			continue
		}
		if err := os.Rename(filepath.Join(dir, f.Name()), filepath.Join(s.data, f.Name())); err != nil {
			return err
		}
	}
	if err := syncDir(s.data); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(dir, versionFile), filepath.Join(s.data, versionFile)); err != nil {
		return err
	}
	if err := os.Remove(dir); err != nil {
		return err
	}
	return syncDir(s.data)
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
