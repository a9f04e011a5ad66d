"""Times the evaluators in one process with one thread; prints a JSON object.

    python inprocess.py MODEL_DIR OUT_DIR ROWS_FILE [EVALUATOR ...]

ROWS_FILE holds rows of little-endian float32. For each evaluator, or for those
named (libxgboost alone takes every model and needs nothing in OUT_DIR):
microseconds per row, one row at a time and all in one batch; the median of
REPETITIONS. The evaluators take turns, so that a slow minute of the machine
affects all of them.
"""
import os

# Before any library reads it: the comparison is of one thread.
os.environ["OMP_NUM_THREADS"] = "1"

import ctypes
import json
import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np
import onnxruntime
import xgboost.libpath

from encoder import Encoder

REPETITIONS = 7
TOLERANCE = 1e-5


def compile_score(out):
    library = out / "score.so"
    source = pathlib.Path(__file__).with_name("score.c")
    subprocess.run(["gcc", "-O3", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    score = ctypes.CDLL(str(library))
    score.failure.restype = ctypes.c_char_p
    return score


def evaluators(names, model, out, rows):
    """Returns by name the functions that score all rows: one at a time, in a batch."""
    out.mkdir(parents=True, exist_ok=True)
    score = compile_score(out)
    n, width = rows.shape

    def opened(code):
        if code:
            sys.exit(score.failure().decode())

    def function(name):
        result = np.empty(n, dtype=np.float32)
        call = getattr(score, name)
        pointer = ctypes.c_void_p
        arguments = pointer(rows.ctypes.data), ctypes.c_size_t(n), ctypes.c_size_t(width), pointer(result.ctypes.data)

        def run():
            opened(call(*arguments))
            return result

        return run

    def libxgboost():
        opened(score.open_xgboost(xgboost.libpath.find_lib_path()[0].encode(), str(model / "model.ubj").encode()))
        return {"one": function("xgboost_one"), "batch": function("xgboost_batch")}

    def tl2cgen():
        opened(score.open_tl2cgen(str(out / "tl2cgen" / "predictor.so").encode(), width))
        return {"one": function("tl2cgen_rows"), "batch": function("tl2cgen_rows")}

    def onnx_runtime():  # called from Python: its wheel has no headers for C
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(out / "model.onnx", options, providers=["CPUExecutionProvider"])
        everything = {"x": rows}
        singly = [{"x": rows[i : i + 1]} for i in range(n)]  # made beforehand: not its own cost
        outputs = ["probability"]
        run = session.run
        return {
            "one": lambda: [run(outputs, feed)[0] for feed in singly],
            "batch": lambda: run(outputs, everything)[0],
        }

    known = {"libxgboost": libxgboost, "onnxruntime": onnx_runtime, "tl2cgen": tl2cgen}
    return {name: known[name]() for name in names or known}


def main():
    model, out, file = map(pathlib.Path, sys.argv[1:4])
    rows = np.fromfile(file, dtype="<f4").reshape(-1, Encoder(model).width)
    contenders = evaluators(sys.argv[4:], model, out, rows)
    ways = [(name, way) for name in contenders for way in ("one", "batch")]
    times = {pair: [] for pair in ways}
    scores = {}
    for repetition in range(1 + REPETITIONS):
        for name, way in ways:
            run = contenders[name][way]
            start = time.perf_counter()
            result = run()
            took = time.perf_counter() - start
            if repetition > 0:  # the first warms up
                times[name, way].append(took)
            scores[name, way] = np.array(result, dtype=np.float32).ravel()

    report, wrong = {}, []
    for name, way in ways:
        figures = report.setdefault(name, {"difference": 0.0})
        figures[way] = round(statistics.median(times[name, way]) / len(rows) * 1e6, 3)
        difference = float(np.abs(scores[name, way] - scores[ways[0]]).max())
        figures["difference"] = max(figures["difference"], difference)
        if not difference <= TOLERANCE:
            wrong.append(f"{name}, {way}: differs from {ways[0][0]} by {difference:g}")
    print(json.dumps(report))
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
