"""Runs `mlflow server`, and lets the web server replace this process.

MLflow's command starts uvicorn as a second process and then only waits, with
everything it has imported: half of the pod's memory. Here uvicorn takes its
place, unless jobs are switched on: the first process then has work to do.
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
