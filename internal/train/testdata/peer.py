"""Trains candidates with Python's XGBoost on a table of penguins, and prints their figures on the test rows.

Called by TestLikePython with one argument, a JSON array of jobs: file, target, classes, features, categories, metric,
params, rounds, early_stopping. Row i, of those without a missing value, is in split "ttttttvvss"[i % 10].
"""

import json
import sys

import numpy as np
import pandas as pd
import xgboost as xgb
from sklearn import metrics


def run(job):
    table = pd.read_csv(job["file"])
    table = table.dropna().reset_index(drop=True)
    x = table[job["features"]].copy()
    for name in job["categories"]:
        x[name] = x[name].astype("category")
    y = table[job["target"]]
    if job["classes"]:
        y = y.map({name: i for i, name in enumerate(job["classes"])})
    split = np.array(["ttttttvvss"[i % 10] for i in range(len(table))])

    def part(letter):
        of = split == letter
        return xgb.DMatrix(x[of], label=y[of], enable_categorical=True), y[of]

    train, _ = part("t")
    validation, _ = part("v")
    test, truth = part("s")
    booster = xgb.train(
        dict(job["params"], eval_metric=job["metric"]),
        train,
        num_boost_round=job["rounds"],
        evals=[(validation, "validation")],
        verbose_eval=False,
        callbacks=[xgb.callback.EarlyStopping(rounds=job["early_stopping"], metric_name=job["metric"], save_best=True)],
    )
    got = booster.predict(test)
    if job["classes"]:
        said = got.argmax(axis=1)
        figures = {
            "log_loss": metrics.log_loss(truth, got.astype(float) / got.astype(float).sum(axis=1, keepdims=True)),
            "accuracy": metrics.accuracy_score(truth, said),
            "macro_f1": metrics.f1_score(truth, said, average="macro"),
            "auc": metrics.roc_auc_score(truth, got / got.sum(axis=1, keepdims=True), multi_class="ovr", average="macro"),
        }
    else:
        figures = {
            "rmse": metrics.root_mean_squared_error(truth, got),
            "mae": metrics.mean_absolute_error(truth, got),
            "r2": metrics.r2_score(truth, got),
        }
    return {"figures": {k: float(v) for k, v in figures.items()}, "trees": booster.num_boosted_rounds()}


print(json.dumps([run(job) for job in json.loads(sys.argv[1])]))
