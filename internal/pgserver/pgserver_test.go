package pgserver

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestConfigure(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("from file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		env  map[string]string
		want string // user, password, database, method, data, arguments
		err  string
	}{
		{"defaults", nil, "postgres||postgres|scram-sha-256|/var/lib/postgresql/18/docker|", ""},
		{"all", map[string]string{"POSTGRES_USER": "u", "POSTGRES_PASSWORD": "p", "POSTGRES_DB": "d", "POSTGRES_HOST_AUTH_METHOD": "md5", "PGDATA": "/data", "POSTGRES_INITDB_ARGS": "--no-sync  -k"},
			"u|p|d|md5|/data|--no-sync -k", ""},
		{"the database is named as its user", map[string]string{"POSTGRES_USER": "u"}, "u||u|scram-sha-256|/var/lib/postgresql/18/docker|", ""},
		{"file", map[string]string{"POSTGRES_PASSWORD_FILE": file}, "postgres|from file|postgres|scram-sha-256|/var/lib/postgresql/18/docker|", ""},
		{"both", map[string]string{"POSTGRES_PASSWORD_FILE": file, "POSTGRES_PASSWORD": "p"}, "", "both POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE"},
		{"no such file", map[string]string{"POSTGRES_DB_FILE": file + "-not"}, "", "POSTGRES_DB_FILE"},
		{"another place for the log", map[string]string{"POSTGRES_INITDB_WALDIR": "/wal"}, "", "POSTGRES_INITDB_WALDIR"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := configure(func(name string) string { return c.env[name] })
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			text := strings.Join([]string{got.user, got.password, got.database, got.method, got.data, strings.Join(got.initArgs, " ")}, "|")
			if text != c.want {
				t.Errorf("got %s, want %s", text, c.want)
			}
		})
	}
}

// standIn puts programs in PATH that stand in for Postgres' own: what is tested
// here is what becomes of their files. (The real ones are run in the image.)
func standIn(t *testing.T, initdb string) {
	t.Helper()
	bin := t.TempDir()
	for name, text := range map[string]string{
		"initdb": "#!/bin/sh\nset -e\nwhile [ \"$1\" != -D ]; do shift; done\nmkdir -m 700 \"$2\" \"$2/base\"\ndir=$2\n" +
			"echo 18 >$dir/PG_VERSION; : >$dir/pg_hba.conf; echo row >$dir/base/1\ncat /proc/self/fd/3 >$dir/password\n" + initdb + "\n",
		"postgres": "#!/bin/sh\ncat >\"$3/statements\"\n",
	} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
}

func testServer(t *testing.T) *server {
	return &server{data: filepath.Join(t.TempDir(), "18", "docker"), user: "postgres", password: "secret", database: `a"b`,
		method: "scram-sha-256", log: slog.New(slog.NewTextHandler(t.Output(), nil)), environ: os.Environ()}
}

func read(t *testing.T, names ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(names...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestPrepareMakesTheDatabaseOnce(t *testing.T) {
	standIn(t, "")
	c := testServer(t)
	if err := c.prepare(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, c.data, "password"); got != "secret\n" {
		t.Errorf("initdb read the password %q", got)
	}
	if got := read(t, c.data, "statements"); got != "CREATE DATABASE \"a\"\"b\"\n" {
		t.Errorf("statements %q", got)
	}
	if got := read(t, c.data, "pg_hba.conf"); got != "\nhost all all all scram-sha-256\n" {
		t.Errorf("pg_hba.conf %q", got)
	}
	if _, err := os.Stat(filepath.Join(c.data, making)); err == nil {
		t.Error("the folder in which it was made is still there")
	}
	// The kubelet opens a volume for its group; the second start must not make anything again.
	if err := os.Chmod(c.data, 0o2770); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.data, "base", "1"), []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.password = ""
	if err := c.prepare(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, c.data, "base", "1"); got != "changed" {
		t.Errorf("after the second start the data are %q", got)
	}
	if st, _ := os.Stat(c.data); st.Mode().Perm() != 0o700 {
		t.Errorf("PGDATA has mode %v", st.Mode())
	}
}

// A start that was killed at any point leaves what the next one makes whole.
func TestPrepareAfterAKill(t *testing.T) {
	for _, c := range []struct {
		name  string
		left  []string // files; a name with a slash at its end is a folder
		whole bool     // the database that is there counts
	}{
		{"before initdb", nil, false},
		{"in initdb", []string{making + "/", making + "/PG_VERSION", making + "/base/"}, false},
		{"while it was moved in", []string{making + "/", making + "/PG_VERSION", making + "/pg_hba.conf", "base/", "base/1"}, false},
		{"before the folder was removed", []string{making + "/", "PG_VERSION", "base/", "base/1"}, true},
		{"on a volume of its own", []string{"lost+found/"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			standIn(t, "")
			k := testServer(t)
			for _, name := range c.left {
				path := filepath.Join(k.data, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				text := "18\n"
				if filepath.Base(name) == "1" {
					text = "old"
				}
				if strings.HasSuffix(name, "/") {
					if err := os.MkdirAll(path, 0o700); err != nil {
						t.Fatal(err)
					}
				} else if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := k.prepare(); err != nil {
				t.Fatal(err)
			}
			want := "row\n"
			if c.whole {
				want = "old"
			}
			if got := read(t, k.data, "base", "1"); got != want {
				t.Errorf("the database holds %q, want %q", got, want)
			}
			if _, err := os.Stat(filepath.Join(k.data, making)); err == nil {
				t.Error("the folder in which it was made is still there")
			}
			if read(t, k.data, versionFile) != "18\n" {
				t.Error("no PG_VERSION")
			}
		})
	}
}

// The same with a real kill, in the middle of initdb.
func TestPrepareKilledInInitdb(t *testing.T) {
	if data := os.Getenv("POSTGRES_IMAGE_TEST_DATA"); data != "" { // the process that is killed
		c := &server{data: data, user: "postgres", password: "secret", database: "postgres", method: "trust", log: slog.New(slog.DiscardHandler), environ: os.Environ()}
		t.Fatal("was not killed: ", c.prepare())
	}
	standIn(t, "kill -9 $PPID; sleep 1")
	c := testServer(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestPrepareKilledInInitdb$")
	cmd.Env = append(os.Environ(), "POSTGRES_IMAGE_TEST_DATA="+c.data)
	if out, err := cmd.CombinedOutput(); err == nil || strings.Contains(string(out), "was not killed") {
		t.Fatalf("%v: %s", err, out)
	}
	if read(t, c.data, making, versionFile) != "18\n" {
		t.Error("the kill came before PG_VERSION was written")
	}
	standIn(t, "")
	if err := c.prepare(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, c.data, "base", "1"); got != "row\n" {
		t.Errorf("the database holds %q", got)
	}
}

func TestPrepareRefuses(t *testing.T) {
	for _, c := range []struct {
		name, file, text string
		change           func(*server)
		want             string
	}{
		{"another version's data", versionFile, "17\n", nil, "made by Postgres 17"},
		{"somebody's files", "photo.jpg", "", nil, "holds files but no database: photo.jpg"},
		{"no password", "", "", func(c *server) { c.password = "" }, "POSTGRES_PASSWORD"},
	} {
		t.Run(c.name, func(t *testing.T) {
			standIn(t, "")
			k := testServer(t)
			if err := os.MkdirAll(k.data, 0o700); err != nil {
				t.Fatal(err)
			}
			if c.file != "" {
				if err := os.WriteFile(filepath.Join(k.data, c.file), []byte(c.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if c.change != nil {
				c.change(k)
			}
			if err := k.prepare(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if c.file != "" && read(t, k.data, c.file) != c.text {
				t.Error("the file that was there has changed")
			}
		})
	}
	t.Run("initdb fails", func(t *testing.T) {
		standIn(t, "exit 3")
		c := testServer(t)
		if err := c.prepare(); err == nil || !strings.Contains(err.Error(), "initdb") {
			t.Errorf("error %v", err)
		}
		if _, err := os.Stat(filepath.Join(c.data, versionFile)); err == nil {
			t.Error("a database that was not made counts as made")
		}
	})
}

func TestAsksOnly(t *testing.T) {
	for args, want := range map[string]bool{"--version": true, "-V": true, "-c port=1 --help": true, "-c port=1": false, "": false} {
		if got := asksOnly(strings.Fields(args)); got != want {
			t.Errorf("%q: %v, want %v", args, got, want)
		}
	}
}
