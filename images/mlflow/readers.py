"""MLflow's app with logins, in which the users of MLOPS_MLFLOW_READERS may only read.

MLflow lets every user make experiments, runs and registered models of its own, whatever its
default permission is. Who the user is, MLflow finds out: a request that names a reader and is
let through still needs that reader's password.
"""

import base64
import os
import re

READERS = frozenset(os.environ.get("MLOPS_MLFLOW_READERS", "").split(",")) - {""}

# Headers in which MLflow takes a login.
LOGINS = (b"authorization", b"x-mlflow-authorization")

# What only reads and is posted nevertheless.
SEARCH = re.compile(r"/(ajax-)?api/[23]\.0/mlflow/[a-z-]+/search")

REFUSED = b'{"error_code": "PERMISSION_DENIED", "message": "this user may only read"}'


def user(login):
    """The user whom a header names, or None."""
    scheme, *credentials = login.split(None, 1)
    if scheme.lower() != b"basic" or not credentials:
        return None
    try:
        return base64.b64decode(credentials[0]).partition(b":")[0].decode()
    except ValueError:
        return None


def reads(scope):
    return scope["method"] in ("GET", "HEAD") or scope["method"] == "POST" and SEARCH.fullmatch(scope["path"])


class Readers:
    """An ASGI application in front of MLflow's."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        named = {user(value) for name, value in scope.get("headers", ()) if name in LOGINS and value.strip()}
        if scope["type"] != "http" or reads(scope) or not named & READERS:
            return await self.app(scope, receive, send)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(REFUSED)).encode())]
        await send({"type": "http.response.start", "status": 403, "headers": headers})
        await send({"type": "http.response.body", "body": REFUSED})


def create_app():
    from mlflow.server.auth import create_app as closed

    return Readers(closed())
