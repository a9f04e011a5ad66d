"""Loads versions with MLflow and compares what they predict with what the server said."""
import io
import json
import os
import pathlib
import sys
import warnings

import mlflow
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


tracking = os.environ.get("MLOPS_TEST_MLFLOW")
if tracking:
    mlflow.set_tracking_uri(tracking)
    mlflow.set_experiment("evaluate")
for case in json.load(open(sys.argv[1])):
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
        want, got = case["server"][of], model.predict(frame)
        assert len(want) == len(got) > 0, (len(want), len(got))
        largest = 0.0
        for i, (w, g) in enumerate(zip(want, got.to_dict("records"))):
            if len(w) == 1:
                assert g["excluded"] == w[0], f"{case['folder']}, {name}, row {i}: {g}, want {w}: {case[of][i]}"
                continue
            assert pd.isna(g.pop("excluded", None)), f"{name}, row {i}: {g}, want {w}"
            g = list(g.values())
            assert len(g) == len(w), (g, w)
            for x, y in zip(g, w):
                if isinstance(y, str):
                    assert x == y, f"{name}, row {i}: {g}, want {w}"
                    continue
                d = abs(x - y) / max(1, abs(y))
                assert d <= 1e-6, f"{case['folder']}, {name}, row {i}: {g}, want {w}: {case[of][i]}"
                largest = max(largest, d)
        print(f"{len(got)} rows of {case['folder'].rsplit('/')[-1]}, {name}: largest difference {largest:.2g}")
    if tracking:
        evaluated(case, model, typed)
    else:
        print("NOT EVALUATED BY MLFLOW: MLOPS_TEST_MLFLOW is not set")
