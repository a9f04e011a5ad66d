"""Trains models with LightGBM, and draws rows to score.

Usage: light_models.py FOLDER ROWS [TABLE.csv TARGET KIND ...]

For each model it writes NAME.txt, the model, and NAME.rows, float64 values row by row.
Tables given by name (KIND: binary, multiclass or regression) are trained on as they are,
text as categories, and their own rows are scored.
"""
import pathlib
import sys
import warnings

import lightgbm as lgb
import numpy as np
import pandas as pd

warnings.simplefilter("ignore")
root, rows = pathlib.Path(sys.argv[1]), int(sys.argv[2])
rng = np.random.default_rng(5)


def draw(n):
    kinds = [3, 40, 200]
    x = rng.normal(size=(n, 9)) * 3
    x[:, 0] = np.round(x[:, 0])
    x[:, 1] = np.where(rng.random(n) < 0.5, 0, x[:, 1])
    x[:, 2] = 1e9 + rng.random(n)  # no float32 tells these apart
    x[:, 3][rng.random(n) < 0.2] = np.nan
    x[:, 4] = 7  # constant
    for j, k in enumerate(kinds):
        x[:, 6 + j] = rng.integers(0, k, n)
    x[:, 8][rng.random(n) < 0.1] = np.nan
    return x


def strange(x, model):
    """Sets some values to what a model may not have seen, thresholds among them."""
    x = x.copy()
    odd = np.array([0.0, -0.0, 1e-36, -1e-36, 1e-30, 1e300, -1e300, np.inf, -np.inf, np.nan])
    codes = np.array([-1, -0.5, -1.5, 0.5, 2.7, 39.9, 1e6, 3e9, 1e20, np.nan, np.inf])
    text = model.model_to_string().splitlines()
    cuts = {}
    features = None
    for line in text:
        if line.startswith("split_feature="):
            features = [int(w) for w in line.split("=")[1].split()]
        elif line.startswith("threshold=") and features:
            for f, t in zip(features, line.split("=")[1].split()):
                cuts.setdefault(f, []).append(float(t))
    for j in range(x.shape[1]):
        hit = rng.random(len(x)) < 0.1
        x[hit, j] = rng.choice(codes if j >= 6 else odd, hit.sum())
        if j < 6 and j in cuts:
            hit = rng.random(len(x)) < 0.3
            at = rng.choice(np.array(cuts[j]), hit.sum())
            x[hit, j] = rng.choice([np.nextafter(at, -np.inf), at, np.nextafter(at, np.inf)])
    return x


def write(name, model, x):
    model.save_model(str(root / (name + ".txt")))
    np.ascontiguousarray(x, dtype="<f8").tofile(root / (name + ".rows"))


x = draw(3000)
score = np.sin(x[:, 0]) + (x[:, 1] > 0) + (x[:, 2] % 1) * 2 + np.where(np.isnan(x[:, 3]), 1, x[:, 3] / 3) + (x[:, 7] % 3) + np.nan_to_num(x[:, 8] % 2)
score += rng.normal(size=len(x)) / 2
targets = {
    "binary": score > np.median(score),
    "classes": np.digitize(score, np.quantile(score, [0.3, 0.6, 0.8])),
    "value": score * 100,
    "count": np.exp(score / 3),
    "share": (score - score.min()) / (score.max() - score.min()),
}
models = {
    "binary": ("binary", {"objective": "binary"}),
    "sigmoid": ("binary", {"objective": "binary", "sigmoid": 0.7}),
    "zero": ("binary", {"objective": "binary", "zero_as_missing": True}),
    "none": ("binary", {"objective": "binary", "use_missing": False}),
    "dart": ("binary", {"objective": "binary", "boosting": "dart", "drop_rate": 0.5}),
    "rf": ("binary", {"objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}),
    "goss": ("binary", {"objective": "binary", "data_sample_strategy": "goss"}),
    "large": ("binary", {"objective": "binary", "num_leaves": 400, "max_bin": 2000, "min_data_in_leaf": 2, "min_data_in_bin": 1}),
    "stumps": ("binary", {"objective": "binary", "num_leaves": 2}),
    "onehot": ("binary", {"objective": "binary", "max_cat_to_onehot": 300}),
    "unsplit": ("binary", {"objective": "binary", "min_data_in_leaf": 2900}),
    "multiclass": ("classes", {"objective": "multiclass", "num_class": 4}),
    "multiclassova": ("classes", {"objective": "multiclassova", "num_class": 4}),
    "rf classes": ("classes", {"objective": "multiclass", "num_class": 4, "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}),
    "l2": ("value", {"objective": "regression"}),
    "sqrt": ("value", {"objective": "regression", "reg_sqrt": True}),
    "l1": ("value", {"objective": "regression_l1"}),
    "huber": ("value", {"objective": "huber"}),
    "fair": ("value", {"objective": "fair"}),
    "quantile": ("value", {"objective": "quantile", "alpha": 0.8}),
    "mape": ("value", {"objective": "mape"}),
    "poisson": ("count", {"objective": "poisson"}),
    "gamma": ("count", {"objective": "gamma"}),
    "tweedie": ("count", {"objective": "tweedie"}),
    "cross entropy": ("share", {"objective": "cross_entropy"}),
    "linear": ("value", {"objective": "regression", "linear_tree": True}),
    "rank": ("classes", {"objective": "lambdarank"}),
    "custom": ("value", {"objective": lambda p, d: (p - d.get_label(), np.ones(len(p)))}),
}
tables = sys.argv[3:]
if tables:
    models = {}
for name, (target, params) in models.items():
    data = lgb.Dataset(x, targets[target].astype(float), categorical_feature=[6, 7, 8], group=[1000] * 3 if name == "rank" else None)
    model = lgb.train({"verbose": -1, "num_threads": 1, "min_data_per_group": 10, "cat_smooth": 1, **params}, data, 12)
    if name == "goss":  # and training that goes on
        model = lgb.train({"verbose": -1, "num_threads": 1, **params}, lgb.Dataset(draw(1000), rng.random(1000) > 0.5, categorical_feature=[6, 7, 8]), 5, init_model=model)
    write(name, model, strange(draw(rows), model))

for path, target, kind in zip(tables[::3], tables[1::3], tables[2::3]):
    frame = pd.read_csv(path, na_values="?", low_memory=False).dropna(subset=[target]).sample(frac=1, random_state=1)
    y = frame.pop(target)
    if kind != "regression":
        y = pd.Series(pd.Categorical(y).codes)
    if kind == "binary":
        y = (y == y.max()).astype(int)
    for c in frame:
        if not pd.api.types.is_numeric_dtype(frame[c]):
            frame[c] = pd.Categorical(frame[c]).codes.astype(float)
            frame.loc[frame[c] < 0, c] = np.nan
    text = [c for c in frame if pd.read_csv(path, na_values="?", nrows=500)[c].dtype == object or str(pd.read_csv(path, na_values="?", nrows=500)[c].dtype).startswith("str")]
    params = {"objective": kind, "verbose": -1, "num_threads": 2}
    if kind == "multiclass":
        params["num_class"] = int(y.max()) + 1
    values = frame.to_numpy(dtype=float)
    model = lgb.train(params, lgb.Dataset(values, y, feature_name=[f"f{i}" for i in range(values.shape[1])], categorical_feature=[list(frame).index(c) for c in text]), 100)
    write(pathlib.Path(path).stem, model, values[:rows])
    print(path, len(frame), "rows,", len(text), "categories,", int(np.isnan(values).sum()), "values missing,", model.num_trees(), "trees")
