"""Runs `mlflow server`, and gives its process up to the web server.

MLflow's command starts uvicorn as a second process and then only waits, with all
that it has imported: half of the pod's memory. Here the second takes the first
one's place. Where jobs are switched on, the first still has something to do.
"""

import os
import sys

import mlflow.server
from mlflow.cli import cli
from mlflow.environment_variables import MLFLOW_SERVER_ENABLE_JOB_EXECUTION


def become(command, *, extra_env, capture_output, synchronous):
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(command[0], command, os.environ | extra_env)


if not MLFLOW_SERVER_ENABLE_JOB_EXECUTION.get():
    mlflow.server._exec_cmd  # raises where a newer MLflow has none
    mlflow.server._exec_cmd = become

cli(["server", *sys.argv[1:]])
