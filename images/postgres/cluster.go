package main

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
)

const (
	major     = "18"
	owner     = 999 // who the server is when it is started as root; in the official image too
	socketDir = "/var/run/postgresql"

	// making is the folder in PGDATA in which a database is made.
	making = ".making"
	// version is the file by which a database counts as made.
	version = "PG_VERSION"
)

// nssWrapper lets programs find a user who is not in /etc/passwd.
const nssWrapper = "/usr/lib/*/libnss_wrapper.so"

// cluster is the database folder and what it is made with.
type cluster struct {
	data           string
	user, password string
	database       string
	initArgs       []string
	method         string // of authentication over TCP
	say            func(string)

	environ []string // of what makes the database
}

// stepDown becomes the server's user, having given it its folders.
func (c *cluster) stepDown() error {
	for _, dir := range []string{c.data, socketDir} {
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

// nameUser sees to it that initdb finds a name for whichever user the pod runs
// as. The file is written anew at each start: /tmp may be empty by then.
func (c *cluster) nameUser() error {
	uid := strconv.Itoa(os.Geteuid())
	if _, err := user.LookupId(uid); err == nil {
		return nil
	}
	library, err := filepath.Glob(nssWrapper)
	if err != nil || len(library) == 0 {
		return err // not in our image; initdb says what it misses
	}
	passwd, group := filepath.Join(os.TempDir(), "passwd"), filepath.Join(os.TempDir(), "group")
	for name, text := range map[string]string{
		passwd: fmt.Sprintf("postgres:x:%s:%d:PostgreSQL:%s:/bin/false\n", uid, os.Getegid(), filepath.Dir(c.data)),
		group:  fmt.Sprintf("postgres:x:%d:\n", os.Getegid()),
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return fmt.Errorf("naming user %s: %w", uid, err)
		}
	}
	c.environ = append(c.environ, "LD_PRELOAD="+library[0], "NSS_WRAPPER_PASSWD="+passwd, "NSS_WRAPPER_GROUP="+group)
	return nil
}

// prepare makes the database where there is none.
func (c *cluster) prepare() error {
	if err := os.MkdirAll(c.data, 0o700); err != nil {
		return err
	}
	// A volume's group rights, which the kubelet sets anew at each mount, are more
	// than the server takes. Where the folder is somebody else's, it says so itself.
	os.Chmod(c.data, 0o700)
	text, err := os.ReadFile(filepath.Join(c.data, version))
	switch {
	case err == nil:
		if found := strings.TrimSpace(string(text)); found != major {
			return fmt.Errorf("%s was made by Postgres %s, this is %s; dump it there and restore it here", c.data, found, major)
		}
		// Left where a start was killed between its last two steps.
		return os.RemoveAll(filepath.Join(c.data, making))
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := c.clear(); err != nil {
		return err
	}
	if c.password == "" && c.method != "trust" {
		return errors.New("no database yet, and no password for its superuser: set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE")
	}
	if err := c.make(); err != nil {
		return fmt.Errorf("making the database: %w", err)
	}
	return nil
}

// clear removes what a start left that was killed while it made the database.
// Where there is no trace of one, files in the folder are somebody's data.
func (c *cluster) clear() error {
	files, err := os.ReadDir(c.data)
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
		return fmt.Errorf("%s holds files but no database: %s", c.data, strings.Join(others, ", "))
	}
	if unfinished {
		c.say("an earlier start was ended while it made the database; making it anew")
	}
	// The folder being made goes last: it is the trace.
	for _, name := range append(others, making) {
		if err := os.RemoveAll(filepath.Join(c.data, name)); err != nil {
			return fmt.Errorf("clearing what an earlier start left: %w", err)
		}
	}
	return nil
}

func (c *cluster) make() error {
	dir := filepath.Join(c.data, making)
	if err := c.initdb(dir); err != nil {
		return err
	}
	hba, err := os.OpenFile(filepath.Join(dir, "pg_hba.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer hba.Close()
	if _, err := fmt.Fprintf(hba, "\nhost all all all %s\n", c.method); err != nil {
		return err
	}
	if err := errors.Join(hba.Sync(), hba.Close()); err != nil {
		return err
	}
	if c.database != "postgres" {
		if err := c.createDatabase(dir); err != nil {
			return err
		}
	}
	return c.moveIn(dir)
}

func (c *cluster) initdb(dir string) error {
	args := []string{"-D", dir, "--username=" + c.user, "--auth-local=trust", "--auth-host=" + c.method,
		"--set", "listen_addresses=*"} // as the official image's own settings file says
	cmd := exec.Command("initdb")
	cmd.Stdout, cmd.Stderr, cmd.Env = os.Stdout, os.Stderr, c.environ
	if c.password != "" {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		defer r.Close()
		go func() { // a pipe holds a password of 4 KiB at least
			fmt.Fprintln(w, c.password)
			w.Close()
		}()
		cmd.ExtraFiles = []*os.File{r}
		args = append(args, "--pwfile=/proc/self/fd/3")
	}
	cmd.Args = append(append([]string{"initdb"}, args...), c.initArgs...)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("initdb: %w", err)
	}
	return nil
}

// createDatabase makes the database of POSTGRES_DB. Statements of the single-user
// server end with the line.
func (c *cluster) createDatabase(dir string) error {
	if strings.ContainsAny(c.database, "\n\x00") {
		return errors.New("POSTGRES_DB holds a line break")
	}
	cmd := exec.Command("postgres", "--single", "-D", dir, "postgres")
	cmd.Stdin = strings.NewReader(`CREATE DATABASE "` + strings.ReplaceAll(c.database, `"`, `""`) + "\"\n")
	cmd.Env = c.environ
	out, err := cmd.CombinedOutput()
	if err == nil && strings.Contains(string(out), "ERROR:") {
		err = errors.New("the statement failed") // the program ends well all the same
	}
	if err != nil {
		return fmt.Errorf("creating database %s: %w\n%s", c.database, err, out)
	}
	return nil
}

// moveIn moves what was made to its place, PG_VERSION last.
func (c *cluster) moveIn(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.Name() == version {
			continue
		}
		if err := os.Rename(filepath.Join(dir, f.Name()), filepath.Join(c.data, f.Name())); err != nil {
			return err
		}
	}
	if err := syncDir(c.data); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(dir, version), filepath.Join(c.data, version)); err != nil {
		return err
	}
	if err := os.Remove(dir); err != nil {
		return err
	}
	return syncDir(c.data)
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
