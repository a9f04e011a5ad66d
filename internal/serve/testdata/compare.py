"""Loads versions with MLflow and compares what they predict with what the server said."""
import io
import json
import multiprocessing
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import warnings

import mlflow
import mlflow.cli
import mlflow.pyfunc
import numpy as np
import pandas as pd

warnings.simplefilter("ignore")
sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "python"))
import mlops_models


def evaluated(case, model, frame):
    """Compares what MLflow's evaluation says of a version with scikit-learn's own measures."""
    from sklearn import metrics

    rng, p = np.random.default_rng(1), model.predict(frame)
    kept = p[p.columns[0]].notna()
    if "value" in p:
        y = p["value"] + rng.normal(size=len(p))
        want = {"mean_absolute_error": metrics.mean_absolute_error(y, p["value"])}
    else:
        names = [c for c in p if c.startswith("probability")]
        y = pd.Series(rng.choice([c.removeprefix("probability_") for c in names] if len(names) > 1 else [0, 1], len(p)))
        want = {"accuracy_score": metrics.accuracy_score(y[kept], p["label"][kept].astype(y.dtype))}
        if len(names) == 1:
            want["roc_auc"] = metrics.roc_auc_score(y[kept], p["probability"][kept])
        else:
            labels = sorted(set(y))
            want["log_loss"] = metrics.log_loss(y[kept], p.loc[kept, ["probability_" + label for label in labels]], labels=labels)
    with mlflow.start_run():
        got = mlops_models.evaluate(model, frame.assign(truth=y.to_numpy()), "truth").metrics
    assert got["excluded"] == (~kept).sum(), got
    for name, value in want.items():
        assert abs(got[name] - value) < 1e-9, (case["folder"], name, got[name], value)
    print(f"{case['folder'].rsplit('/')[-1]}: MLflow's evaluation says {want}, {got['excluded']} excluded")


def compare(case, name, of, got):
    """Compares predictions of a case's rows, as records, with the server's."""
    want = case["server"][of]
    assert len(want) == len(got) > 0, (len(want), len(got))
    largest = 0.0
    for i, (w, g) in enumerate(zip(want, got)):
        where = f"{case['folder']}, {name}, row {i}: {g}, want {w}: {case[of][i]}"
        if len(w) == 1:
            assert g["excluded"] == w[0], where
            continue
        values = [value for key, value in g.items() if key != "excluded"]
        assert pd.isna(g.get("excluded")) and len(values) == len(w), where
        for x, y in zip(values, w):
            if isinstance(y, str):
                assert x == y, where
                continue
            d = abs(x - y) / max(1, abs(y))
            assert d <= 1e-6, where
            largest = max(largest, d)
    print(f"{len(got)} rows of {case['folder'].rsplit('/')[-1]}, {name}: largest difference {largest:.2g}")


def absent(case, model, frame):
    """Leaves a column out that a model uses, and looks for the warning; a frame with all of them has none."""
    column = next(c for c in model._model_impl.encoder.columns.values() if c.ops and not c.required).name
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model.predict(frame)
        assert not [w for w in said if "are not in the frame" in str(w.message)], said
        model.predict(frame.rename(columns={column: "its other name"}))
    told = [str(w.message) for w in said if "are not in the frame" in str(w.message)]
    assert len(told) == 1 and told[0].startswith("1 of the ") and f"all {len(frame)} rows: {column};" in told[0], (case["folder"], column, told)


def serve(cases, folder):
    """Starts `mlflow models serve` for each case, and returns the processes, their ports and their logs."""
    os.environ["PATH"] = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"  # it looks for uvicorn there
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in cases]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    served = []
    for case, port in zip(cases, ports):
        log = pathlib.Path(folder, f"{port}.log")
        arguments = ["models", "serve", "-m", case["folder"], "--env-manager", "local", "-h", "127.0.0.1", "-p", str(port)]
        # A fork has MLflow imported already. It ends with this program, and its server with it.
        process = multiprocessing.get_context("fork").Process(target=command, args=(arguments, log), daemon=True)
        process.start()
        served.append((process, port, log))
    return served


def command(arguments, log):
    """Does what the program mlflow does."""
    with log.open("w") as f:
        os.dup2(f.fileno(), 1)
        os.dup2(f.fileno(), 2)
        mlflow.cli.cli(arguments)


def ask(process, port, log, body):
    """Posts a body to /invocations, once the server answers, and returns the predictions."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", body.encode(), {"Content-Type": "application/json"})
    until = time.monotonic() + 300
    while True:
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.load(response)["predictions"]
        except urllib.error.HTTPError as e:
            raise AssertionError(f"{e}: {e.read()[:2000]}") from None
        except urllib.error.URLError:
            assert process.is_alive() and time.monotonic() < until, log.read_text()
            time.sleep(0.1)


def main(cases, folder, served):
    tracking = os.environ.get("MLOPS_TEST_MLFLOW")
    if tracking:
        mlflow.set_tracking_uri(tracking)
        mlflow.set_experiment("evaluate")
    for case in cases:
        model = mlflow.pyfunc.load_model(case["folder"])
        text = pd.DataFrame(case["text"], columns=case["columns"], dtype=object)
        typed = pd.DataFrame(case["typed"], columns=case["columns"], dtype=object)
        frames = {
            "text": (text, "text"),
            "text in pandas' own type": (text.astype({c: "str" for c in case["columns"] if c != "history"}), "text"),
            "typed": (typed, "typed"),
            "typed by pandas": (typed.infer_objects(), "typed"),
        }
        for name, (frame, of) in frames.items():
            compare(case, name, of, model.predict(frame).to_dict("records"))
        absent(case, model, text)
        output = pathlib.Path(folder, "output.json")
        mlflow.models.predict(case["folder"], input_data=typed, output_path=str(output), env_manager="local")
        compare(case, "by mlflow.models.predict", "typed", json.loads(output.read_text())["predictions"])
        if tracking:
            evaluated(case, model, typed)
        else:
            print("NOT EVALUATED BY MLFLOW: MLOPS_TEST_MLFLOW is not set")
    for case, server in zip(cases, served):
        for of in "text", "typed":
            body = json.dumps({"dataframe_split": {"columns": case["columns"], "data": case[of]}})
            compare(case, f"by mlflow models serve, {of}", of, ask(*server, body))


with open(sys.argv[1]) as f, tempfile.TemporaryDirectory() as folder:
    cases = json.load(f)
    main(cases, folder, serve(cases, folder))
