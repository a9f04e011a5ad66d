"""The design of the class project that the platform comes from: FastAPI in front
of MLflow's pyfunc, whose encoder works on a pandas DataFrame.
"""
import json
import os
import pathlib

import mlflow
import pandas as pd
import yaml
from fastapi import FastAPI

folder = pathlib.Path(os.environ["PEER_MODEL"])
spec = yaml.safe_load((folder / "spec.yaml").read_text())
info = {
    "name": spec["model"],
    "version": "1",  # a registry would say
    "run_id": yaml.safe_load((folder / "MLmodel").read_text())["run_id"],
}
threshold = json.loads((folder / "serving.json").read_text())["threshold"]
model = mlflow.pyfunc.load_model(str(pathlib.Path(os.environ["PEER_OUT"]) / "pyfunc"))
numbers = {column.name for column in model.metadata.get_input_schema() if column.type.name == "double"}

app = FastAPI()


def typed(column, value):
    """Returns a value as the model's signature wants it."""
    if value is None:
        return None
    return float(value) if column in numbers else str(value)


# Not async: FastAPI then hands it to a thread, and the worker goes on reading.
@app.post("/predict")
def predict(body: dict | list[dict]):
    records = body if isinstance(body, list) else [body]
    frame = pd.DataFrame([{c: typed(c, v) for c, v in record.items()} for record in records])
    predictions = [{"label": int(p >= threshold), "probability": p} for p in model.predict(frame).tolist()]
    return {"model": info, "predictions": predictions}


@app.get("/readyz")
async def readyz():
    return "ready"
