"""The peers of `make bench-quality`: the rows and splits come from our programs.

quality.py fit FOLDER PEER FEATURES     fits a peer's settings; prints a line of JSON per setting
quality.py same FOLDER                  trains XGBoost with the parameters of FOLDER/fit.json
quality.py one FOLDER SCORE_SO          prints the microseconds that libxgboost takes per row, called from C

FOLDER holds fit.json and, of each split, rows (.x) and labels (.y) of little-endian
float32. A fit sees the training rows and, to stop early, the validation rows. What it
predicts for the test rows goes to a file, unmeasured: bench measures it once all
settings have been chosen by their validation AUC.
"""
import ctypes
import json
import os
import pathlib
import statistics
import sys
import time

ROUNDS, PATIENCE = 1500, 50

# What each peer may choose from, by its validation AUC. XGBoost gets two of the spec's
# candidates.
SETTINGS = {
    "LightGBM": [
        {"learning_rate": 0.02, "num_leaves": 31, "min_child_samples": 50, "colsample_bytree": 0.3, "cat_smooth": 50},
        {"learning_rate": 0.03, "num_leaves": 15, "min_child_samples": 100, "colsample_bytree": 0.3, "cat_smooth": 100, "subsample": 0.8, "subsample_freq": 1},
    ],
    # Combinations of its 45 categories would take it ten times as long.
    "CatBoost": [{"learning_rate": 0.08, "depth": 6, "max_ctr_complexity": 1, "one_hot_max_size": 10}],
    "HistGradientBoosting": [
        {"learning_rate": 0.03, "max_leaf_nodes": 31, "min_samples_leaf": 50, "max_features": 0.3},
        {"learning_rate": 0.05, "max_leaf_nodes": 15, "min_samples_leaf": 100, "max_features": 0.3},
    ],
}


def load(folder, split, width):
    import numpy as np

    x = np.fromfile(folder / f"{split}.x", dtype="<f4").reshape(-1, width)
    return x, np.fromfile(folder / f"{split}.y", dtype="<f4")


def fit(folder, peer, features):
    import numpy as np
    from sklearn.metrics import roc_auc_score

    job = json.loads((folder / "fit.json").read_text())
    keep = [i for i, past in enumerate(job["history"]) if features == "history" or not past]
    parts = {split: load(folder, split, len(job["names"])) for split in ("train", "validation", "test")}
    parts = {split: (np.ascontiguousarray(x[:, keep]), y) for split, (x, y) in parts.items()}
    types = [job["types"][i] for i in keep]
    # XGBoost takes the first two of the spec, which are its best.
    settings = job["candidates"][:2] if peer == "XGBoost" else SETTINGS[peer]
    for number, setting in enumerate(settings):
        start = time.perf_counter()
        predict, rounds = FITS[peer](setting, types, parts["train"], parts["validation"], job["threads"])
        y = parts["validation"][1]
        np.asarray(predict(parts["test"][0]), dtype="<f4").tofile(folder / f"{peer}.{features}.{number}.test")
        print(
            json.dumps({"setting": number, "rounds": rounds, "validation": roc_auc_score(y, predict(parts["validation"][0])), "seconds": time.perf_counter() - start}),
            flush=True,
        )


def fit_xgboost(setting, types, train, validation, threads):
    import xgboost as xgb

    def matrix(x, y=None):
        return xgb.DMatrix(x, label=y, feature_types=types, enable_categorical=True)

    params = dict(setting["params"], nthread=threads, eval_metric="auc")
    booster = xgb.train(params, matrix(*train), setting["rounds"], [(matrix(*validation), "validation")], early_stopping_rounds=setting["early_stopping"], verbose_eval=False)
    rounds = booster.best_iteration + 1
    return lambda x: booster.predict(matrix(x), iteration_range=(0, rounds)), rounds


def fit_lightgbm(setting, types, train, validation, threads):
    import lightgbm as lgb

    categories = [i for i, kind in enumerate(types) if kind == "c"]
    params = dict(setting, objective="binary", metric="auc", num_threads=threads, seed=0, verbose=-1)
    rows = lgb.Dataset(train[0], train[1], categorical_feature=categories)
    held = lgb.Dataset(validation[0], validation[1], categorical_feature=categories, reference=rows)
    booster = lgb.train(params, rows, ROUNDS, [held], callbacks=[lgb.early_stopping(PATIENCE, verbose=False)])
    return lambda x: booster.predict(x, num_iteration=booster.best_iteration), booster.best_iteration


def fit_catboost(setting, types, train, validation, threads):
    import catboost
    import numpy as np
    import pandas as pd

    categories = [i for i, kind in enumerate(types) if kind == "c"]

    def pool(x, y=None):
        columns = {i: np.nan_to_num(x[:, i], nan=-1).astype("int32") if i in categories else x[:, i] for i in range(x.shape[1])}
        return catboost.Pool(pd.DataFrame(columns), y, cat_features=categories)

    model = catboost.CatBoostClassifier(
        **setting, iterations=ROUNDS, early_stopping_rounds=PATIENCE, eval_metric="AUC", thread_count=threads,
        random_seed=0, verbose=False, allow_writing_files=False,
    )
    model.fit(pool(*train), eval_set=pool(*validation))
    return lambda x: model.predict_proba(pool(x))[:, 1], model.tree_count_


def fit_histgradientboosting(setting, types, train, validation, threads):
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        **setting, max_iter=ROUNDS, early_stopping=True, n_iter_no_change=PATIENCE, scoring="roc_auc", tol=0,
        categorical_features=[kind == "c" for kind in types], random_state=0,
    )
    model.fit(*train, X_val=validation[0], y_val=validation[1])
    # It keeps the rounds after the best one too, and the steps of predict_proba tell
    # which that is.
    best = max(range(len(model.validation_score_)), key=lambda i: model.validation_score_[i])

    def predict(x):
        for i, p in enumerate(model.staged_predict_proba(x), 1):
            if i == max(1, best):
                return p[:, 1]

    return predict, max(1, best)


FITS = {"XGBoost": fit_xgboost, "LightGBM": fit_lightgbm, "CatBoost": fit_catboost, "HistGradientBoosting": fit_histgradientboosting}


def same(folder):
    """The same parameters and rows as ours: writes what the model predicts for the test rows."""
    import numpy as np
    import xgboost as xgb

    job = json.loads((folder / "fit.json").read_text())
    parts = {}
    for split in ("train", "validation", "test"):
        x, y = load(folder, split, len(job["names"]))
        parts[split] = xgb.DMatrix(x, label=y, feature_names=job["names"], feature_types=job["types"], enable_categorical=True)
    candidate = job["candidates"][0]
    params = dict(candidate["params"], nthread=job["threads"], eval_metric=job["metric"])
    booster = xgb.train(params, parts["train"], candidate["rounds"], [(parts["validation"], "validation")], early_stopping_rounds=candidate["early_stopping"], verbose_eval=False)
    rounds = booster.best_iteration + 1
    np.asarray(booster.predict(parts["test"], iteration_range=(0, rounds)), dtype="<f4").tofile(folder / "same.test")
    print(json.dumps({"rounds": rounds}))


def one(folder, library):
    """One row at a time, seven passes over the test rows after one that isn't counted."""
    import numpy as np
    import xgboost.libpath

    job = json.loads((folder / "fit.json").read_text())
    width, outputs = len(job["names"]), job["outputs"]
    x, _ = load(folder, "test", width)
    x = np.ascontiguousarray(x[: job["rows"]])
    score = ctypes.CDLL(library)
    score.failure.restype = ctypes.c_char_p
    if score.open_xgboost(xgboost.libpath.find_lib_path()[0].encode(), str(folder / "model.ubj").encode()):
        sys.exit(score.failure().decode())
    result = np.empty(len(x) * outputs, dtype="<f4")
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    took = []
    for _ in range(8):
        start = time.perf_counter()
        if score.xgboost_one(pointer(x.ctypes.data), size(len(x)), size(width), pointer(result.ctypes.data)):
            sys.exit(score.failure().decode())
        took.append((time.perf_counter() - start) / len(x) * 1e6)
    result.tofile(folder / "one.test")
    print(json.dumps({"microseconds": statistics.median(took[1:])}))


if __name__ == "__main__":
    command, folder, *rest = sys.argv[1:]
    if command == "one":
        os.environ["OMP_NUM_THREADS"] = "1"  # before any library reads it
    {"fit": fit, "same": same, "one": one}[command](pathlib.Path(folder), *rest)
