"""Registers models as a notebook does, and prints each version with what Python predicts.

Arguments: the names of the registered models, one for each of the models below. MLflow's
server is that of MLFLOW_TRACKING_URI.
"""
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
rng = np.random.default_rng(1)
n = 300
frame = pd.DataFrame({"age": rng.integers(20, 90, n), "kind": pd.Categorical(rng.choice(["a", "b"], n))})
sick = ((frame.age > 50) ^ (frame.kind == "a")).astype(int)
small = {"n_estimators": 8, "verbose": -1, "n_jobs": 1}
light = lgb.LGBMClassifier(**small).fit(frame, sick)
models = [
    (mlflow.lightgbm, light.booster_, light.predict_proba(frame)[:, 1]),
    (mlflow.lightgbm, light, light.predict_proba(frame)[:, 1]),
    (mlflow.xgboost, (x := xgb.XGBClassifier(n_estimators=8, enable_categorical=True).fit(frame, sick)), x.predict_proba(frame)[:, 1]),
]
for name, (flavor, model, outputs) in zip(sys.argv[1:], models, strict=True):
    info = flavor.log_model(model, name="model", registered_model_name=name, pip_requirements=["lightgbm"], **mlops_models.served(frame.head(), title=name))
    print("VERSION", json.dumps({"name": name, "version": int(info.registered_model_version), "outputs": outputs[:5].tolist()}))
