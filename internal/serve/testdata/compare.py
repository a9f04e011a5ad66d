"""Loads versions with MLflow and compares what they predict with what the server said."""
import io
import json
import sys
import warnings

import mlflow.pyfunc
import numpy as np
import pandas as pd

warnings.simplefilter("ignore")
for case in json.load(open(sys.argv[1])):
    model = mlflow.pyfunc.load_model(case["folder"])
    text = pd.DataFrame(case["text"], columns=case["columns"], dtype=object)
    typed = pd.DataFrame(case["typed"], columns=case["columns"], dtype=object)
    frames = {
        "text": (text, "text"),
        "text in pandas' own type": (text.astype({c: "str" for c in case["columns"] if c != "history"}), "text"),
        "typed": (typed, "typed"),
        "typed by pandas": (typed.infer_objects(), "typed"),
    }
    for name, (frame, of) in frames.items():
        want, got = case["server"][of], model.predict(frame)
        assert len(want) == len(got) > 0, (len(want), len(got))
        largest = 0.0
        for i, (w, g) in enumerate(zip(want, got.to_dict("records"))):
            if len(w) == 1:
                assert g["excluded"] == w[0], f"{case['folder']}, {name}, row {i}: {g}, want {w}: {case[of][i]}"
                continue
            assert pd.isna(g.pop("excluded", None)), f"{name}, row {i}: {g}, want {w}"
            g = list(g.values())
            assert len(g) == len(w), (g, w)
            for x, y in zip(g, w):
                if isinstance(y, str):
                    assert x == y, f"{name}, row {i}: {g}, want {w}"
                    continue
                d = abs(x - y) / max(1, abs(y))
                assert d <= 1e-6, f"{case['folder']}, {name}, row {i}: {g}, want {w}: {case[of][i]}"
                largest = max(largest, d)
        print(f"{len(got)} rows of {case['folder'].rsplit('/')[-1]}, {name}: largest difference {largest:.2g}")
