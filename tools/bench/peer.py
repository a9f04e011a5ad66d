"""Trains as bench does, with Python's xgboost; prints the seconds it took."""
import json
import pathlib
import sys
import time

import numpy as np
import xgboost as xgb

folder = pathlib.Path(sys.argv[1])
fit = json.loads((folder / "fit.json").read_text())
params = {name: value for name, value in fit["params"]}
params["eval_metric"] = "auc"


def load(split):
    x = np.fromfile(folder / f"{split}.x", dtype=np.float32).reshape(-1, len(fit["names"]))
    return x, np.fromfile(folder / f"{split}.y", dtype=np.float32)


def matrix(split):
    x, y = split
    return xgb.DMatrix(x, label=y, feature_names=fit["names"], feature_types=fit["types"], enable_categorical=True)


train, validation, test = load("train"), load("validation"), load("test")
start = time.perf_counter()
t, v, _ = matrix(train), matrix(validation), matrix(test)
xgb.train(params, t, num_boost_round=fit["rounds"], evals=[(v, "validation")], verbose_eval=False).save_raw("ubj")
print(time.perf_counter() - start)
