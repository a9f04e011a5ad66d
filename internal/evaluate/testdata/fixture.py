"""Writes sklearn.json: scikit-learn's answers that evaluate's tests compare with.

    python internal/evaluate/testdata/fixture.py > internal/evaluate/testdata/sklearn.json

Made with scikit-learn 1.9.1 and NumPy's default generator, seed 7. Scores are
written so that reading them as float64 gives the same bits; those of the case
float32 are float32 values.
"""

import json
import sys
import warnings

import numpy as np
from sklearn import metrics

warnings.filterwarnings("ignore")
random = np.random.default_rng(7)


def rows(n, rate, separation):
    labels = random.random(n) < rate
    labels[0], labels[1] = True, False
    margin = random.normal(size=n) + separation * labels - 1
    return 1 / (1 + np.exp(-margin)), labels


def case(name, scores, labels, thresholds):
    labels = np.asarray(labels, dtype=bool)
    distinct = np.unique(scores)[::-1]
    f1 = [metrics.f1_score(labels, scores >= t) for t in distinct]
    fpr, tpr, cuts = metrics.roc_curve(labels, scores, drop_intermediate=False)
    precision, recall, pr_cuts = metrics.precision_recall_curve(labels, scores)
    out = {
        "name": name,
        "float32": scores.dtype == np.float32,
        "scores": [float(s) for s in scores],
        "labels": [int(y) for y in labels],
        "auc": metrics.roc_auc_score(labels, scores),
        "average_precision": metrics.average_precision_score(labels, scores),
        "log_loss": metrics.log_loss(labels, np.clip(scores.astype(np.float64), np.finfo(scores.dtype).eps, 1 - np.finfo(scores.dtype).eps)),
        # argmax takes the first, here the highest threshold, of equal ones up to
        # rounding: 1e-12 stands in for exact comparison.
        "max_f1": float(distinct[int(np.argmax(np.array(f1) > max(f1) - 1e-12))]),
        "max_youden": float(cuts[1:][int(np.argmax((tpr - fpr)[1:] > (tpr - fpr)[1:].max() - 1e-12))]),
        "recall": {r: float(max(pr_cuts[recall[:-1] >= float(r)])) for r in ["0.25", "0.8", "1"]},
        "roc": [[float(x), float(y)] for x, y in zip(fpr, tpr)],
        "pr": [[float(x), float(y)] for x, y in zip(recall[::-1], precision[::-1])],
        "at": [],
    }
    for t in thresholds:
        predicted = scores >= np.array(t, dtype=np.float64)
        tn, fp, fn, tp = metrics.confusion_matrix(labels, predicted, labels=[False, True]).ravel()
        out["at"].append({
            "threshold": t, "tp": int(tp), "fp": int(fp), "tn": int(tn), "fn": int(fn),
            "precision": metrics.precision_score(labels, predicted, zero_division=0),
            "recall": metrics.recall_score(labels, predicted),
            "accuracy": metrics.accuracy_score(labels, predicted),
            "f1": metrics.f1_score(labels, predicted, zero_division=0),
        })
    return out


usual = [0.0, 0.2, 0.5, 0.9, 1.0, 1.1]
distinct = rows(300, 0.3, 1.0)
rare = rows(400, 0.03, 1.5)
weak = rows(200, 0.5, 0.1)
cases = [
    case("distinct", *distinct, usual),
    case("float32", distinct[0].astype(np.float32), distinct[1], usual),
    case("heavy ties", np.round(distinct[0], 1), distinct[1], [0.0, 0.1, 0.3, 0.30000000000000004, 0.5, 1.0]),
    case("two scores", np.where(distinct[0] > 0.3, 0.75, 0.25), distinct[1], usual + [0.25, 0.75]),
    case("one score", np.full(20, 0.5), np.arange(20) % 4 == 0, usual),
    case("rare", *rare, usual),
    case("rare, ties", np.round(rare[0], 2), rare[1], usual),
    case("hardly told apart", *weak, usual),
    case("perfect", np.array([0.9, 0.8, 0.2, 0.1]), [1, 1, 0, 0], usual),
    case("upside down", np.array([0.9, 0.8, 0.2, 0.1]), [0, 0, 1, 1], usual),
    case("sure of it", np.array([1.0, 1.0, 0.0, 0.0, 1.0]), [1, 1, 0, 0, 0], usual),
    case("sure of it, float32", np.array([1, 1, 0, 0, 1], dtype=np.float32), [1, 1, 0, 0, 0], usual),
    case("smallest", np.array([0.5, 0.5]), [1, 0], usual),
]
json.dump(cases, sys.stdout, separators=(",", ":"))
print()
