"""The strongest FastAPI server that we know how to write for such a model.

No pandas, no pydantic, no thread between request and response: scoring a record
takes less time than handing it to a thread would. A body of very many records
therefore blocks its worker; with small bodies that never shows.
"""
import gc
import json
import os
import pathlib

import onnxruntime
import orjson
import yaml
from fastapi import FastAPI, Request, Response

from encoder import Encoder

model = pathlib.Path(os.environ["PEER_MODEL"])
encoder = Encoder(model)
threshold = json.loads((model / "serving.json").read_text())["threshold"]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1  # a worker is a processor's worth
session = onnxruntime.InferenceSession(
    pathlib.Path(os.environ["PEER_OUT"]) / "model.onnx", options, providers=["CPUExecutionProvider"]
)
names = ["probability"]
head = b'{"model":%b,"predictions":' % orjson.dumps({
    "name": encoder.spec["model"],
    "version": "1",  # a registry would say
    "run_id": yaml.safe_load((model / "MLmodel").read_text())["run_id"],
})


async def predict(request: Request):
    try:
        body = orjson.loads(await request.body())
    except orjson.JSONDecodeError as e:
        return Response(orjson.dumps({"detail": str(e)}), 400, media_type="application/json")
    vectors = encoder.encode(body if isinstance(body, list) else (body,))
    [scores] = session.run(names, {"x": vectors})
    predictions = [{"label": int(p >= threshold), "probability": p} for p in scores.ravel().tolist()]
    return Response(head + orjson.dumps(predictions) + b"}", media_type="application/json")


async def ready(request: Request):
    return Response(b"ready\n")


app = FastAPI(openapi_url=None)
# Plain routes: without FastAPI's working out of a function's parameters, which
# these don't have.
app.add_route("/predict", predict, methods=["POST"])
app.add_route("/readyz", ready)

gc.collect()
gc.freeze()  # what is loaded stays; the collector need not look at it again
