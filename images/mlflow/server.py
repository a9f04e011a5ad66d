"""Runs `mlflow server`, and lets the web server replace this process.

A database that an earlier MLflow made is migrated first, and dumped before that:
MLflow itself only refuses to start with it.

MLflow's command starts uvicorn as a second process and then only waits, with
everything it has imported: half of the pod's memory. Here uvicorn takes its
place, unless jobs are switched on: the first process then has work to do. With logins
(basic-auth), the app is that of readers.py.
"""

import contextlib
import os
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
from datetime import datetime, timezone

import mlflow.server
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from mlflow.cli import cli
from mlflow.environment_variables import MLFLOW_SERVER_ENABLE_JOB_EXECUTION
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.db import utils


CLOSED = "mlflow.server.auth:create_app"  # MLflow's app with logins


def become(command, *, extra_env, capture_output, synchronous):
    environment = os.environ | extra_env
    if os.environ.get("MLOPS_MLFLOW_READERS"):
        if command[-1] != CLOSED:
            sys.exit(f"MLOPS_MLFLOW_READERS is for an MLflow with logins, --app-name=basic-auth, and not for {command[-1]}")
        command = [*command[:-1], "readers:create_app"]
        folder = os.path.dirname(os.path.abspath(__file__))
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(command[0], command, environment)


def option(arguments, name):
    prefix = f"--{name}="
    return next((a.removeprefix(prefix) for a in arguments if a.startswith(prefix)), "")


def outdated(engine, config, table):
    """The revision of a database's tables, and whether this MLflow has a newer one.

    Exits if a newer MLflow has migrated them: this one can't read them.
    """
    with engine.connect() as connection:
        found = MigrationContext.configure(connection, opts={"version_table": table}).get_current_revision()
    scripts = ScriptDirectory.from_config(config)
    if found is not None and found not in {s.revision for s in scripts.walk_revisions()}:
        sys.exit(
            f"the database has schema {found}, which MLflow {mlflow.__version__} does not know: a newer MLflow has "
            "migrated it. Run that one, or restore the dump that it took before (docs/operating.md)"
        )
    return found, found != scripts.get_current_head()


def migrate(arguments):
    """Brings the tables of an earlier MLflow up to date, after a dump of the database.

    The dump goes to the folder dumps of the store for artifacts. Without one, nothing is
    migrated.
    """
    uri, store = option(arguments, "backend-store-uri"), option(arguments, "artifacts-destination")
    if not uri.startswith("postgresql"):
        return
    engine = utils.create_sqlalchemy_engine_with_retry(uri)
    try:
        url = engine.url.render_as_string(hide_password=False)
        revision, older = outdated(engine, utils._get_alembic_config(url), "alembic_version")
        if revision is None:
            return  # a new database, whose tables MLflow makes
        if option(arguments, "app-name") == "basic-auth":
            from mlflow.server.auth.db.utils import _get_alembic_config

            # MLflow migrates these tables itself, when it starts.
            logins, older_logins = outdated(engine, _get_alembic_config(url), "alembic_version_auth")
            older_logins = older_logins and logins is not None
        else:
            older_logins = False
        if not older and not older_logins:
            return
        if os.environ.get("MLOPS_MIGRATE_WITHOUT_DUMP") != "1":
            dump(engine.url, revision, store)
        if older:
            utils._upgrade_db(engine)
            print(f"MLflow's tables were migrated from schema {revision}", file=sys.stderr)
    finally:
        engine.dispose()


def dump(url, revision, store):
    taken = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H-%M-%SZ")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, f"mlflow-{revision}-{taken}.dump")
        command = [os.environ.get("MLOPS_PG_DUMP", "pg_dump"), "-Fc", "-Z", "3", "--no-owner", "--no-privileges", "-f", path]
        environment = os.environ | ({"PGPASSWORD": url.password} if url.password else {})
        host = url.host
        try:
            if os.environ.get("PGSSLMODE") in ("require", "verify-ca", "verify-full"):
                host = bridge(url.host, url.port or 5432, folder)
                environment |= {"PGSSLMODE": "disable"}
                environment.pop("PGSSLROOTCERT", None)
            for flag, value in ("-h", host), ("-p", url.port), ("-U", url.username):
                if value:
                    command += [flag, str(value)]
            subprocess.run([*command, url.database], env=environment, check=True, capture_output=True, text=True)
            get_artifact_repository(f"{store}/dumps").log_artifact(path)
        except Exception as error:
            reason = getattr(error, "stderr", "") or error
            sys.exit(
                f"MLflow's tables have schema {revision} and need a migration, but dumping them first failed, so "
                f"nothing was changed: {str(reason).strip()}. With a backup of your own, set MLOPS_MIGRATE_WITHOUT_DUMP=1"
            )
        print(f"MLflow's database was dumped to {store}/dumps/{os.path.basename(path)}", file=sys.stderr)


def bridge(host, port, folder):
    """Listens on a socket in a folder for pg_dump, which has no TLS, and puts TLS on what goes to the server.

    The server's certificate is verified as libpq's variables say. Returns the folder, which is what
    pg_dump takes for a host. Package tlsproxy does the same for our other programs.
    """
    mode, roots = os.environ["PGSSLMODE"], os.environ.get("PGSSLROOTCERT", "")
    tls = ssl.create_default_context(cafile=None if roots in ("", "system") else roots)
    tls.check_hostname = mode == "verify-full"
    if mode == "require" and not roots:
        tls.verify_mode = ssl.CERT_NONE
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.path.join(folder, f".s.PGSQL.{port}"))
    listener.listen()

    def carry(source, target):
        try:
            while data := source.recv(1 << 16):
                target.sendall(data)
        except OSError:
            pass
        finally:  # nothing in this protocol goes on after one side has ended
            for end in source, target:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def serve():
        while True:
            client, _ = listener.accept()
            try:
                server = socket.create_connection((host, port), timeout=10)
                server.sendall(struct.pack("!II", 8, 80877103))  # asks for TLS
                if server.recv(1) != b"S":
                    raise OSError(f"{host}:{port} has no TLS")
                server = tls.wrap_socket(server, server_hostname=host)
                server.settimeout(None)
            except OSError as error:
                text = b"SFATAL\0VFATAL\0C08006\0M" + str(error).encode() + b"\0\0"
                client.sendall(b"E" + struct.pack("!I", len(text) + 4) + text)
                client.close()
                continue
            for ends in (client, server), (server, client):
                threading.Thread(target=carry, args=ends, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return folder


def main(arguments):
    migrate(arguments)
    if not MLFLOW_SERVER_ENABLE_JOB_EXECUTION.get():
        mlflow.server._exec_cmd  # raises where a newer MLflow has none
        mlflow.server._exec_cmd = become
    cli(["server", *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
