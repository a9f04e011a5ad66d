"""Makes small.ubj, small.json and small.csv: a model of eight trees with number
splits, categorical splits of one code and of several, and 40 rows with the
probability that libxgboost gives them.

Run in an environment with xgboost 3.2 and numpy: python make.py
"""
import numpy as np
import xgboost as xgb

rng = np.random.default_rng(1)
names, kinds = ["age", "visits", "sex", "ward"], ["q", "q", "c", "c"]


def rows(n):
    x = np.column_stack([rng.normal(50, 20, n).round(1), rng.integers(0, 9, n), rng.integers(0, 2, n), rng.integers(0, 12, n)])
    x[rng.random(x.shape) < 0.1] = np.nan
    return x.astype(np.float32)


x = rows(600)
z = np.nan_to_num(x)
y = rng.random(600) < 1 / (1 + np.exp(-(z[:, 0] - 50) / 20 - z[:, 2] + np.sin(z[:, 3] * 4) * 2))
params = {"objective": "binary:logistic", "max_depth": 3, "max_cat_to_onehot": 4, "nthread": 1}
model = xgb.train(params, xgb.DMatrix(x, y, feature_names=names, feature_types=kinds), 8)
for form in ["ubj", "json"]:
    model.save_model("small." + form)

check = rows(40)
check[::7, 3] = 30  # an unknown ward
p = model.predict(xgb.DMatrix(check, feature_names=names, feature_types=kinds))
with open("small.csv", "w") as f:
    for row, probability in zip(check, p):
        f.write(",".join(repr(float(v)) for v in [*row, probability]) + "\n")
