"""Saves models as a notebook would with mlflow.xgboost, and what XGBoost predicts with them."""
import json
import pathlib
import sys
import warnings

import mlflow
import numpy as np
import pandas as pd
import xgboost as xgb

warnings.simplefilter("ignore")
root = pathlib.Path(sys.argv[1])
rng = np.random.default_rng(1)
n = 600
frame = pd.DataFrame(
    {
        "age": rng.integers(20, 90, n),
        "size": np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)),
        "kind": pd.Categorical(rng.choice(["a", "b", "ça va"], n)),
        "code": pd.Categorical(rng.integers(5, 9, n)),
        "flag": rng.random(n) < 0.5,
    }
)
frame.loc[::7, "kind"] = None
numbers = frame[["age", "size"]]
sick = ((frame.age > 50) ^ (frame.kind == "a")).astype(int)
sort = (frame.age // 30).astype(int)
cost = frame.age * 1.5 + frame["size"].fillna(0)


def booster(x, y, **params):
    return xgb.train(params, xgb.DMatrix(x, y, enable_categorical=True), 8)


say = {"coverage": 0.9, "half_width": 2.5, "title": "Cost"}
models = {
    "classifier": (frame, xgb.XGBClassifier(n_estimators=8, enable_categorical=True).fit(frame, sick), None),
    "booster": (frame, booster(frame, sick, objective="binary:logistic"), {"threshold": 0.25}),
    "numbers": (numbers, booster(numbers, sick, objective="binary:logistic"), None),
    "classes": (frame, xgb.XGBClassifier(n_estimators=4, enable_categorical=True).fit(frame, sort), None),
    "value": (numbers, xgb.XGBRegressor(n_estimators=8).fit(numbers, cost), say),
    "no interval": (numbers, xgb.XGBRegressor(n_estimators=2).fit(numbers, cost), None),
    "an array": (numbers, booster(numbers.to_numpy(), sick, objective="binary:logistic"), None),
}
for name, (x, model, says) in models.items():
    types = {c: "string" if isinstance(x[c].dtype, pd.CategoricalDtype) else x[c].dtype for c in x}
    signature = mlflow.models.infer_signature(x.head(5).astype(types))
    mlflow.xgboost.save_model(
        model, str(root / name), signature=signature, input_example=x.head(5), metadata={"mlops": says} if says else None,
        pip_requirements=["xgboost"],
    )
    if name == "an array":
        x = x.to_numpy()
    raw = model if isinstance(model, xgb.Booster) else model.get_booster()
    outputs = raw.predict(xgb.DMatrix(x, enable_categorical=True)).reshape(n, -1).tolist()
    records = json.loads(frame[list(getattr(x, "columns", []))].to_json(orient="records", double_precision=15))
    (root / name / "expected.json").write_text(json.dumps({"records": records, "outputs": outputs}))
