"""Turns raw records into vectors as internal/feature does, quickly.

What a value means for a feature is worked out once and cached by the raw value,
so a record costs one look-up per feature, in C code. Unlike our server it
validates nothing: unknown columns, numbers below their minimum and values that
are lists are the caller's mistake.
"""
import json
import math
import operator
import pathlib
import re

import numpy as np
import yaml

MOST = 100_000  # values cached per feature: clients that always send new ones must not fill the memory
DECIMAL = re.compile(r"[0-9.eE+-]+")  # not float()'s "inf", "nan" and "1_000"


class Known(dict):
    """By raw value: a feature's four bytes. A value not met yet is worked out."""

    def __init__(self, work_out):
        super().__init__()
        self.work_out = work_out

    def __missing__(self, raw):
        packed = np.float32(self.work_out(raw)).tobytes()
        if len(self) < MOST:
            self[raw] = packed
        return packed


class Encoder:
    def __init__(self, folder):
        folder = pathlib.Path(folder)
        # BaseLoader: every value is text, as Go reads it; No is not False.
        self.spec = yaml.load((folder / "spec.yaml").read_text(), yaml.BaseLoader)
        self.missing = {"", *self.spec.get("missing", [])}
        fitted = json.loads((folder / "encoder.json").read_text())["features"]
        self.width = len(fitted)
        self.columns, self.known = [], []  # of features that look at one column
        self.counts = []  # of features that look at several: place, columns, known
        for place, (feature, stored) in enumerate(zip(self.spec["features"], fitted, strict=True)):
            if "count" in feature:
                self.counts.append((place, feature["count"], Known(self.count(feature))))
            else:
                kind = next(k for k in ("number", "category", "ranges") if k in feature)
                self.columns.append(feature[kind])
                self.known.append(Known(getattr(self, kind)(feature, stored)))

    def encode(self, records):
        """Returns an array with a row for each record, a dict."""
        parts = []
        for record in records:
            get = record.get  # a missing column is None
            vector = list(map(operator.getitem, self.known, map(get, self.columns)))
            for place, columns, known in self.counts:
                vector.insert(place, known[tuple(map(get, columns))])
            parts += vector
        return np.frombuffer(b"".join(parts), dtype=np.float32).reshape(-1, self.width)

    # Each of these returns the function from a raw value to the feature's number.

    def number(self, feature, stored):
        if "values" in feature:
            numbers = {value: float(x) for value, x in feature["values"].items()}
            return lambda raw: numbers.get(self.text(raw), math.nan)
        return lambda raw: decimal(self.text(raw))

    def category(self, feature, stored):
        codes = {level: code for code, level in enumerate(stored.get("levels", []))}
        other = len(codes) if stored.get("folded") else math.nan
        codes[None] = math.nan  # missing is not a level that was folded
        return lambda raw: codes.get(self.text(raw), other)

    def ranges(self, feature, stored):
        codes = {level: code for code, level in enumerate(stored["levels"])}
        table = [
            (e.get("prefix"), float(e.get("from", 0)), float(e.get("to", 0)), codes[e["name"]])
            for e in feature["table"]
        ]

        def work_out(raw):
            text = self.text(raw)
            x = decimal(text)
            for prefix, start, end, code in table:  # the first that fits counts
                if prefix:
                    fits = text is not None and text.startswith(prefix)
                else:
                    fits = start <= x < end  # never for NaN
                if fits:
                    return code
            return math.nan

        return work_out

    def count(self, feature):
        inverse = "not_of" in feature
        wanted = feature["not_of" if inverse else "of"]

        def work_out(raw):
            texts = [text for value in raw if (text := self.text(value)) is not None]
            return sum((text in wanted) != inverse for text in texts)

        return work_out

    def text(self, raw):
        """Returns a value as the table would hold it, None where it is missing."""
        if isinstance(raw, float) and raw.is_integer():
            raw = int(raw)  # some clients write 1.0 for the code 1
        text = "" if raw is None else str(raw).strip()
        return None if text in self.missing else text


def decimal(text):
    """Returns the finite number that a text is, else NaN."""
    if text is None or not DECIMAL.fullmatch(text):
        return math.nan
    try:
        x = float(text)
    except ValueError:
        return math.nan
    return x if math.isfinite(x) else math.nan
