"""Has Triton's client, of the Open Inference Protocol, score a server's samples, and compares with /predict."""
import json
import os
import sys
import urllib.error
import urllib.request

import numpy as np
import tritonclient.http

KINDS = {"INT64": lambda v: np.int64(float(v)), "FP64": float, "BYTES": str, "BOOL": lambda v: str(v).lower() in ("true", "yes", "1")}
TYPES = {"INT64": np.int64, "FP64": np.float64, "BYTES": np.object_, "BOOL": np.bool_}

address = sys.argv[1]
headers = {"X-API-Key": os.environ["API_KEY"]} if os.environ.get("API_KEY") else {}


def ask(path, body=None):
    request = urllib.request.Request(address + path, body and json.dumps(body).encode(), headers | {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)
    except urllib.error.HTTPError as e:
        raise SystemExit(f"{path}: {e}: {e.read().decode()}") from None


model = ask("/model")
name, version = model["model"]["name"], model["model"]["version"]
client = tritonclient.http.InferenceServerClient(address.removeprefix("http://"))
assert client.is_server_live(headers) and client.is_server_ready(headers) and client.is_model_ready(name, headers=headers)
assert client.get_server_metadata(headers)["name"] == "mlops"
metadata = client.get_model_metadata(name, version, headers=headers)
kinds = {i["name"]: i["datatype"] for i in metadata["inputs"]}


def tensor(column, value, binary=False):
    kind = kinds[column]
    i = tritonclient.http.InferInput(column, [1, 1], kind)
    i.set_data_from_numpy(np.array([[KINDS[kind](value)]], dtype=TYPES[kind]), binary_data=binary)
    return i


samples = [{c: v for c, v in s["record"].items() if c in kinds and v is not None} for s in model["samples"]]
for record, packing in zip(samples, [{}] + [{"request_compression_algorithm": "gzip", "response_compression_algorithm": "gzip"}] * len(samples)):
    (want,) = ask("/predict", [record])["predictions"]
    inputs = [tensor(c, v) for c, v in record.items()]
    got = client.infer(name, inputs, version, request_id="a", headers=dict(headers), **packing)  # it adds to the headers
    assert got.get_response()["id"] == "a", got.get_response()
    got = {o["name"]: got.as_numpy(o["name"])[0].tolist() for o in metadata["outputs"]}
    assert got["excluded"] == [want.get("excluded", "")], (got, want)
    if got["excluded"] != [""]:
        continue
    if "interval" in got:
        want = {"value": [want["value"]], "interval": want["interval"]}
    elif "probabilities" in got:
        want = {"label": [want["label"]], "probabilities": list(want["probabilities"].values())}
    else:
        want = {"label": [want["label"]], "probability": [want["probability"]]}
    for part, values in want.items():
        if isinstance(values[0], str):
            assert got[part] == values, (part, got, want)
        else:
            np.testing.assert_allclose(got[part], values, rtol=1e-6, err_msg=f"{part}: {got}, want {want}")
assert samples

try:
    client.infer(name, [tensor(c, v, binary=True) for c, v in samples[0].items()], headers=dict(headers))
    raise SystemExit("binary tensors were taken")
except tritonclient.utils.InferenceServerException as e:
    assert "binary_data=False" in str(e), e
print(f"Triton's client has {len(samples)} samples of {name} scored as /predict does")
