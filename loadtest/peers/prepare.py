"""Converts a model version into what the peers load, and checks the results.

    python prepare.py MODEL_DIR OUT_DIR

MODEL_DIR has the version's files; its trees must split on numbers only, with
categories as their codes, since not every peer supports sets of categories.
"""
import json
import math
import pathlib
import shutil
import sys

import mlflow
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import tl2cgen
import treelite
import xgboost
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from onnx import TensorProto, helper

from encoder import Encoder

TOLERANCE = 1e-5


def write_onnx(model, path):
    """Writes the trees node by node as a TreeEnsembleRegressor and a Sigmoid.

    The classifier's label and two probabilities would cost more, and ONNX
    Runtime's regressor passes over post_transform. XGBoost goes left where a
    number is less than the split, which is BRANCH_LT, and every number is a
    float32 in both: nothing is rounded.
    """
    learner = json.loads(xgboost.Booster(model_file=model).save_raw("json"))["learner"]
    if learner["objective"]["name"] != "binary:logistic":
        sys.exit(f"the objective is {learner['objective']['name']}, not binary:logistic")
    [base] = json.loads(learner["learner_model_param"]["base_score"])
    width = int(learner["learner_model_param"]["num_feature"])
    nodes, leaves = [], []
    for t, tree in enumerate(learner["gradient_booster"]["model"]["trees"]):
        if any(tree["split_type"]):
            sys.exit(f"tree {t} splits on a set of categories; train with all features as numbers")
        columns = "left_children", "right_children", "split_indices", "split_conditions", "default_left"
        for n, (left, right, feature, value, default) in enumerate(zip(*(tree[c] for c in columns))):
            if left < 0:
                nodes.append((t, n, 0, 0.0, "LEAF", 0, 0, 0))
                leaves.append((t, n, 0, value))
            else:
                nodes.append((t, n, feature, value, "BRANCH_LT", left, right, default))
    node_names = (
        "treeids", "nodeids", "featureids", "values", "modes",
        "truenodeids", "falsenodeids", "missing_value_tracks_true",
    )
    leaf_names = "treeids", "nodeids", "ids", "weights"
    attributes = {f"nodes_{name}": list(column) for name, column in zip(node_names, zip(*nodes))}
    attributes |= {f"target_{name}": list(column) for name, column in zip(leaf_names, zip(*leaves))}
    ensemble = helper.make_node(
        "TreeEnsembleRegressor", ["x"], ["margin"], domain="ai.onnx.ml", n_targets=1,
        base_values=[math.log(base / (1 - base))], **attributes,
    )
    sigmoid = helper.make_node("Sigmoid", ["margin"], ["probability"])
    graph = helper.make_graph(
        [ensemble, sigmoid], "trees",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, [None, 1])],
    )
    versions = [helper.make_opsetid("ai.onnx.ml", 3), helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=versions, ir_version=8), path)


def write_pyfunc(model, spec, example, path):
    """Saves the ancestor's kind of model: a raw table in, probabilities out."""
    ignored = {spec.get("key"), spec.get("group"), spec["target"]["column"]}
    columns = [
        ColSpec("string" if c["type"] == "category" else "double", c["name"], required=False)
        for c in spec["columns"] if c["name"] not in ignored
    ]
    for column in columns:
        if column.type.name == "double" and column.name in example:
            example = {**example, column.name: float(example[column.name])}
    mlflow.pyfunc.save_model(
        path,
        python_model=str(pathlib.Path(__file__).with_name("pyfunc.py")),
        artifacts={
            "model": str(model / "model.ubj"), "spec": str(model / "spec.yaml"), "encoder": str(model / "encoder.json")
        },
        signature=ModelSignature(Schema(columns), Schema([ColSpec("double")])),
        input_example=pd.DataFrame([example]),
        pip_requirements=["mlflow", "pandas", "PyYAML", "xgboost-cpu"],
    )


def write_tl2cgen(model, path):
    """Compiles the trees as C.

    tl2cgen lets the compiler know which branch is the likely one from how many
    rows came to each node. Boosting has kept that, by weight, in the model; told
    so, the code is a fifth quicker. Its own -O3 is as quick as -march=native.
    """
    trees = treelite.frontend.load_xgboost_model(model)
    weights = (trees.get_tree_accessor(t).get_field("sum_hess") for t in range(trees.num_tree))
    counts = path.with_name("counts.json")
    counts.write_text(json.dumps([np.rint(1000 * w).astype(int).tolist() for w in weights]))
    # Two files: quicker to compile on two processors, no slower to run.
    tl2cgen.generate_c_code(trees, path, {"quantize": 1, "parallel_comp": 2, "annotate_in": counts})
    tl2cgen.create_shared("gcc", path, long_build_time_warning=False)


def check(name, got, want):
    difference = np.abs(np.asarray(got, dtype=np.float64).ravel() - want).max()
    if not difference <= TOLERANCE:
        sys.exit(f"{name} differs from serving.json's probabilities by {difference:g}, more than {TOLERANCE:g}")
    print(f"{name}: differs by at most {difference:.1g}")


def main():
    model, out = map(pathlib.Path, sys.argv[1:])
    encoder = Encoder(model)
    samples = json.loads((model / "serving.json").read_text())["samples"]
    records = [s["record"] for s in samples]
    want = np.array([s["probability"] for s in samples])

    out.mkdir(parents=True, exist_ok=True)
    for made in ("pyfunc", "tl2cgen"):  # neither is written over an older one
        shutil.rmtree(out / made, ignore_errors=True)
    write_onnx(model / "model.ubj", out / "model.onnx")
    write_pyfunc(model, encoder.spec, records[0], out / "pyfunc")
    write_tl2cgen(model / "model.ubj", out / "tl2cgen")

    x = encoder.encode(records)
    session = onnxruntime.InferenceSession(out / "model.onnx", providers=["CPUExecutionProvider"])
    check("model.onnx", session.run(None, {"x": x})[0], want)
    frame = pd.DataFrame(records)
    numbers = [c["name"] for c in encoder.spec["columns"] if c["type"] != "category" and c["name"] in frame]
    frame[numbers] = frame[numbers].astype(float)
    check("pyfunc", mlflow.pyfunc.load_model(str(out / "pyfunc")).predict(frame), want)
    check("tl2cgen", tl2cgen.Predictor(out / "tl2cgen" / "predictor.so", nthread=1).predict(tl2cgen.DMatrix(x)), want)


if __name__ == "__main__":
    main()
