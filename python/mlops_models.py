"""For notebooks: what a model needs to be served by mlops, and evaluation of served versions.

Copy this file beside the notebook, or put its folder on PYTHONPATH. It needs mlflow,
numpy and pandas.
"""

import copy

import mlflow
import numpy as np
import pandas as pd


def served(rows, model=None, title="", threshold=None, errors=None, coverage=0.9, classes=None):
    """Returns the arguments of mlflow.xgboost.log_model or mlflow.lightgbm.log_model that serving needs.

    rows: some rows of the training frame, with its types; everybody sees them on the page,
        so give none that point to a person.
    model: the model, which predicts the rows here: a server that computes anything else
        from the files that were logged refuses them.
    threshold: of a binary model, the probability from which on its label is 1; 0.5 by default.
    errors: of a regression, what it was wrong by on rows that it was not trained on. The
        interval that is served with a prediction held the share coverage of them.
    classes: names of a classifier's classes in the order of their codes, such as
        LabelEncoder.classes_.
    """
    categories = {c: "string" for c in rows if isinstance(rows[c].dtype, pd.CategoricalDtype)}
    says = {"title": title, "threshold": threshold}
    if errors is not None:
        says |= {"coverage": coverage, "half_width": float(np.quantile(np.abs(errors), coverage))}
    # XGBoost's file doesn't keep letters beyond ASCII whole.
    levels = {c: [str(level) for level in rows[c].cat.categories] for c in categories}
    says["levels"] = {c: texts for c, texts in levels.items() if not "".join(texts).isascii()} or None
    if classes is not None:
        says["classes"] = [str(name) for name in classes]
    if not pd.isna(getattr(model, "missing", np.nan)):
        raise ValueError(f"the file that mlflow logs doesn't say that missing is {model.missing}: replace it by NaN before training")
    if model is not None:
        says["outputs"] = _outputs(model, rows).astype(float).reshape(len(rows), -1).tolist()
    says = {key: value for key, value in says.items() if value is not None and value != ""}
    signature = mlflow.models.infer_signature(rows.astype(categories))
    return {"signature": signature, "input_example": rows, "metadata": {"mlops": says}}


def _outputs(model, rows):
    """Returns a probability per row, one per class, or a value."""
    if type(model).__module__.startswith("xgboost") and type(model).__name__ == "Booster":
        import xgboost

        return np.asarray(model.predict(xgboost.DMatrix(rows, enable_categorical=True)))
    if hasattr(model, "predict_proba"):
        outputs = np.asarray(model.predict_proba(rows))
        return outputs[:, 1] if outputs.shape[1] == 2 else outputs
    return np.asarray(model.predict(rows))


def evaluate(model, data, targets, evaluator_config=None, **more):
    """Does what mlflow.models.evaluate does, for a version that mlops trained.

    Such a version predicts several columns. MLflow's own evaluators take one, and look for
    probabilities in predict_proba, which they ask of scikit-learn's models alone.

    model: the version, from mlflow.pyfunc.load_model.
    data: raw records and the column targets: 0 and 1, the classes' names, or values. Records
        that the version's cohort leaves out are left out here too, and counted in the
        result's metrics as excluded.
    more: as for mlflow.models.evaluate.
    """
    given = data.drop(columns=targets)
    outputs = model.predict(given)
    scores = _Scores(model)
    kept = outputs[scores.answer].notna().to_numpy()
    meta = copy.deepcopy(model.metadata)
    meta.flavors["python_function"]["loader_module"] = "mlflow.sklearn"
    config = {"log_model_explainability": False, **(evaluator_config or {})}
    if scores.labels is not None:
        config.setdefault("label_list", scores.labels)
    result = mlflow.models.evaluate(
        mlflow.pyfunc.PyFuncModel(meta, scores), data[kept], targets=targets, evaluator_config=config,
        model_type="regressor" if scores.answer == "value" else "classifier", **more,
    )
    result.metrics["excluded"] = int((~kept).sum())
    return result


class _Scores:
    """A version as a model of scikit-learn."""

    def __init__(self, model):
        self.model = model
        names = [output.name for output in model.metadata.signature.outputs]
        self.answer = "value" if "value" in names else "label"
        self.columns, self.labels = None, None
        if self.answer == "label":
            self.columns, self.labels = ["probability"], [0, 1]
        if self.columns and "probability" not in names:
            self.labels = sorted(n.removeprefix("probability_") for n in names if n.startswith("probability_"))
            self.columns = ["probability_" + label for label in self.labels]
        if self.columns:
            self.predict_proba = self._probabilities

    def predict(self, frame, **_):
        """Returns a label or a value per record."""
        return self.model.predict(frame)[self.answer].to_numpy()

    def _probabilities(self, frame):
        p = self.model.predict(frame)[self.columns].to_numpy()
        return np.hstack([1 - p, p]) if len(self.columns) == 1 else p
