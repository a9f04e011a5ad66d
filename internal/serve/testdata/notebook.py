"""Saves models as a notebook would with MLflow, and what XGBoost and LightGBM predict with them."""
import json
import pathlib
import sys
import warnings

import lightgbm as lgb
import mlflow
import numpy as np
import pandas as pd
import xgboost as xgb

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "python"))
import mlops_models

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


say = {"errors": np.linspace(-2.5, 2.5, 101), "coverage": 0.8, "title": "Cost"}
models = {
    "classifier": (frame, xgb.XGBClassifier(n_estimators=8, enable_categorical=True).fit(frame, sick), None),
    "booster": (frame, booster(frame, sick, objective="binary:logistic"), {"threshold": 0.25}),
    "numbers": (numbers, booster(numbers, sick, objective="binary:logistic"), None),
    "classes": (frame, xgb.XGBClassifier(n_estimators=4, enable_categorical=True).fit(frame, sort), None),
    "value": (numbers, xgb.XGBRegressor(n_estimators=8).fit(numbers, cost), say),
    "no interval": (numbers, xgb.XGBRegressor(n_estimators=2).fit(numbers, cost), None),
    "an array": (numbers, booster(numbers.to_numpy(), sick, objective="binary:logistic"), None),
}
spaced = frame.rename(columns={"size": "a size"})
small = {"n_estimators": 8, "verbose": -1, "n_jobs": 1, "min_child_samples": 5, "min_data_per_group": 5, "cat_smooth": 1}
stop = lgb.LGBMClassifier(**(small | {"n_estimators": 40, "learning_rate": 0.5})).fit(
    frame[:300], sick[:300], eval_set=[(frame[300:], rng.random(300) < 0.5)], callbacks=[lgb.early_stopping(2, verbose=False)]
)
assert 0 < stop.best_iteration_ < 40
models |= {
    "light classifier": (spaced, lgb.LGBMClassifier(**small).fit(spaced, sick), None),
    "light early": (frame, stop, None),
    "light booster": (frame, lgb.LGBMClassifier(**small).fit(frame, sick).booster_, {"threshold": 0.25}),
    "light classes": (frame, lgb.LGBMClassifier(**small).fit(frame, sort).booster_, None),
    "light ova": (frame, lgb.LGBMClassifier(objective="multiclassova", **small).fit(frame, sort), None),
    "light value": (numbers, lgb.LGBMRegressor(objective="tweedie", **small).fit(numbers, cost.clip(lower=0)), say),
    "light pickle": (numbers, lgb.LGBMRegressor(**small).fit(numbers, cost), say),
    "light linear": (numbers, lgb.LGBMRegressor(linear_tree=True, **small).fit(numbers, cost), say),
}
early = xgb.XGBClassifier(n_estimators=40, learning_rate=0.9, early_stopping_rounds=2, enable_categorical=True, num_parallel_tree=2, subsample=0.5)
early.fit(frame[:300], sick[:300], eval_set=[(frame[300:], rng.random(300) < 0.5)], verbose=False)
assert early.best_iteration < 37
foreign = frame.rename(columns={"age": "Alter in Jahren", "size": "Größe (cm)"})
empty = frame.assign(kind=pd.Categorical(rng.choice(["a", ""], n)))
cities = frame.assign(kind=pd.Categorical(rng.choice(["Ulm", "Köln", "Bonn", "Århus", "日本"], n)))
at_home = (cities.kind.isin(["Bonn", "日本"]) ^ (cities.age > 50)).astype(int)
words = np.array(["low", "mid", "high"])[sort.clip(upper=2)]
models |= {
    "early": (frame, early, None),
    "early booster": (frame, early.get_booster(), None),
    "foreign names": (foreign, xgb.XGBClassifier(n_estimators=8, enable_categorical=True).fit(foreign, sick), None),
    "light foreign names": (foreign.rename(columns={"Größe (cm)": "Größe"}), lgb.LGBMClassifier(**small).fit(foreign.rename(columns={"Größe (cm)": "Größe"}), sick), None),
    "numbered columns": (numbers.set_axis([0, 1], axis=1), xgb.XGBClassifier(n_estimators=2).fit(numbers.set_axis([0, 1], axis=1), sick), None),
    "an empty category": (empty, xgb.XGBClassifier(n_estimators=2, enable_categorical=True).fit(empty, sick), None),
    "cities": (cities, xgb.XGBClassifier(n_estimators=8, enable_categorical=True).fit(cities, at_home), None),
    "cities unsaid": (cities, xgb.XGBClassifier(n_estimators=8, enable_categorical=True).fit(cities, at_home), None),
    "light cities": (cities, lgb.LGBMClassifier(**small).fit(cities, at_home), None),
    "named classes": (frame, xgb.XGBClassifier(n_estimators=4, enable_categorical=True).fit(frame, sort), {"classes": ["young", "older", "old"]}),
    "light named classes": (frame, lgb.LGBMClassifier(**small).fit(frame, words), None),
    "light two names": (frame, lgb.LGBMClassifier(**small).fit(frame, np.where(sick == 1, "yes", "no")), None),
    "light two numbers": (frame, lgb.LGBMClassifier(**small).fit(frame, sick + 1), None),
    "another model": (numbers, xgb.XGBClassifier(n_estimators=8).fit(numbers, sick), {"model": xgb.XGBClassifier(n_estimators=9).fit(numbers, sick)}),
}
try:
    mlops_models.served(numbers, model=xgb.XGBClassifier(missing=-999))
    sys.exit("missing=-999 is in no file of the model, and was not refused")
except ValueError:
    pass
checks = {"classifier", "booster", "classes", "value", "early", "early booster", "light classifier", "light classes", "light ova", "light value", "light two names"}
for name, (x, model, says) in models.items():
    if name in checks:
        says = {"model": model} | (says or {})
    needs = mlops_models.served(x.head(5), **(says or {}))
    if name == "cities unsaid":
        del needs["metadata"]["mlops"]["levels"]
    flavor = mlflow.lightgbm if name.startswith("light") else mlflow.xgboost
    more = {"serialization_format": "cloudpickle"} if name == "light pickle" else {}
    flavor.save_model(
        model, str(root / name), pip_requirements=["xgboost"], **needs, **more,
    )
    if name == "an array":
        x = x.to_numpy()
    if isinstance(model, xgb.Booster):
        outputs = model.predict(xgb.DMatrix(x, enable_categorical=True))
    else:
        outputs = model.predict_proba(x) if hasattr(model, "predict_proba") else model.predict(x)
        if getattr(outputs, "shape", ())[1:] == (2,):
            outputs = outputs[:, 1]
    outputs = np.asarray(outputs).reshape(n, -1).tolist()
    records = json.loads(x.to_json(orient="records", double_precision=15)) if hasattr(x, "to_json") else []
    labels = [str(label) for label in model.predict(x).tolist()] if name == "light named classes" else None
    (root / name / "expected.json").write_text(json.dumps({"records": records, "outputs": outputs, "labels": labels}))
