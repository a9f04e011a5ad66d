"""The model of the class project's design: MLflow's pyfunc, with an encoder in pandas.

prepare.py saves this file with the model; MLflow runs it to load the model.
"""
import json
import pathlib

import mlflow
import numpy as np
import pandas as pd
import xgboost
import yaml


class Readmission(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        def read(name):
            return pathlib.Path(context.artifacts[name]).read_text()

        # BaseLoader: every value is text, No is not False.
        spec = yaml.load(read("spec"), yaml.BaseLoader)
        fitted = json.loads(read("encoder"))["features"]
        self.missing = ["", *spec.get("missing", [])]
        self.columns = [c["name"] for c in spec["columns"]]
        self.features = list(zip([f["name"] for f in fitted], spec["features"], strict=True))
        self.codes = {f["name"]: {level: code for code, level in enumerate(f.get("levels", []))} for f in fitted}
        self.numbers = {
            name: {value: float(x) for value, x in f["values"].items()} for name, f in self.features if "values" in f
        }
        self.chapters = {
            name: [
                (e.get("prefix"), float(e.get("from", 0)), float(e.get("to", 0)), self.codes[name][e["name"]])
                for e in f["table"]
            ]
            for name, f in self.features if "ranges" in f
        }
        self.booster = xgboost.Booster(model_file=context.artifacts["model"])
        self.booster.set_param({"nthread": 1})  # two workers have two processors

    def predict(self, context, model_input, params=None):
        return self.booster.inplace_predict(self.encode(model_input))

    def encode(self, frame):
        """Returns the vectors as internal/feature makes them."""
        # As objects: on pandas' own text columns the same takes half as long again.
        frame = frame.reindex(columns=self.columns).astype(object).replace(self.missing, None)
        features = {}
        for name, f in self.features:
            if "count" in f:
                several = frame[f["count"]]
                if "of" in f:
                    hits = several.isin(f["of"])
                else:
                    hits = several.notna() & ~several.isin(f["not_of"])
                features[name] = hits.sum(axis=1)
            elif "ranges" in f:
                features[name] = frame[f["ranges"]].map(lambda value: chapter(value, self.chapters[name]))
            elif "category" in f:
                column = frame[f["category"]]
                features[name] = column.map(self.codes[name])
                if "fold_below" in f:
                    features[name] = features[name].fillna(len(self.codes[name])).where(column.notna())
            elif "values" in f:
                features[name] = frame[f["number"]].map(self.numbers[name])
            else:
                features[name] = pd.to_numeric(frame[f["number"]], errors="coerce")
        return pd.DataFrame(features).to_numpy(dtype=np.float32)


def chapter(value, table):
    """Returns the code of the first entry that a value fits."""
    if pd.isna(value):
        return np.nan
    try:
        number = float(value)
    except ValueError:
        number = np.nan
    for prefix, start, end, code in table:
        if value.startswith(prefix) if prefix else start <= number < end:
            return code
    return np.nan


mlflow.models.set_model(Readmission())
