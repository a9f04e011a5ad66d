"""Makes the models here and their *.csv: models of several outputs as earlier versions of XGBoost save
them, and 20 rows with what that version predicts.

Run for each version, in an environment with that xgboost and numpy:
python make.py FOLDER
"""
import sys
import numpy as np
import xgboost as xgb

folder, version = sys.argv[1], ".".join(xgb.__version__.split(".")[:2])
rng = np.random.default_rng(3)
x = rng.normal(size=(400, 3)).astype(np.float32)
x[rng.random(x.shape) < 0.1] = np.nan
z = np.nan_to_num(x)
classes = (z[:, 0] > 0.3).astype(int) + (z[:, 1] + z[:, 0] > 0.5)
value = 10 + 5 * z[:, 0] * z[:, 1] + rng.normal(size=400)
for name, form, y, params in [
    ("classes", "ubj", classes, {"objective": "multi:softprob", "num_class": 3}),
    ("classes", "json", classes, {"objective": "multi:softprob", "num_class": 3}),
    ("value", "ubj", value, {"objective": "reg:squarederror"}),
    ("absolute", "json", value, {"objective": "reg:absoluteerror"}),
    ("count", "ubj", np.floor(np.abs(value)), {"objective": "count:poisson"}),
]:
    model = xgb.train({**params, "max_depth": 2, "nthread": 1}, xgb.DMatrix(x, y), 3)
    model.save_model(f"{folder}/{name}-{version}.{form}")
    rows = x[:20]
    p = model.predict(xgb.DMatrix(rows)).reshape(20, -1)
    with open(f"{folder}/{name}-{version}.{form}.csv", "w") as f:
        for row, out in zip(rows, p):
            f.write(",".join(repr(float(v)) for v in [*row, *out]) + "\n")
