"""Scores raw records as the inference server does, for MLflow's python_function flavor.

The file encoding.json says what each column's values do to the vector that the trees
see. Nothing here knows what the columns mean. Cells may be what a CSV file holds, as
text, or typed; all spellings of a value are one value, as they are for the server.
"""

import base64
import collections
import datetime
import gzip
import json
import math
import pathlib
import re
import warnings

import numpy as np
import pandas as pd
import xgboost

BLANKS = " \t\n\v\f\r\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
NUMBER = re.compile(r"[0-9.eE+-]+")
INTEGER = re.compile(r"[+-]?[0-9]+")
DIGITS = re.compile(r"[0-9]*")
LEAST, MOST = -(1 << 63), (1 << 63) - 1  # of an int64
LARGEST = 3.4028235677973366e38  # from here on a float32 is infinite
HISTORY = "history"
TRUE, FALSE = {"true", "t", "yes", "y", "on", "1"}, {"false", "f", "no", "n", "off", "0"}
MONTHS = ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"]
PARTS = ["YYYY", "YY", "MMMM", "MMM", "MM", "M", "DD", "D", "HH", "H", "hh", "h", "mm", "ss", "AM", "Qn"]
PANDAS_MISSING = {"None", "NA", "N/A", "n/a", "nan", "NaN", "null", "NULL", "<NA>"}  # what read_csv takes for no value
MOST_ERRORS = 5
EPOCH = datetime.datetime(1970, 1, 1)


class Wrong(ValueError):
    """A cell is no value of its column."""


# Numbers.


def number(text):
    """Returns the finite decimal number that a text is, or None."""
    if not NUMBER.fullmatch(text):
        return None
    try:
        x = float(text)
    except ValueError:
        return None
    return x if math.isfinite(x) else None


def number_text(x):
    """Returns the canonical form of a finite number."""
    if x == 0:
        return "0"
    if 1e-4 <= abs(x) < 1e15:
        return np.format_float_positional(x, unique=True, trim="-")
    return np.format_float_scientific(x, unique=True, trim="-", exp_digits=2)


def int64(text):
    if not INTEGER.fullmatch(text) or not LEAST <= int(text) <= MOST:
        return None
    return int(text)


def integer(text):
    """Returns the whole number that a text is in any spelling, or None."""
    n = int64(text)
    if n is not None:
        return n
    mantissa, exponent = text, 0
    at = re.search("[eE]", text)
    if at:
        mantissa, exponent = text[: at.start()], int64(text[at.end() :])
        if exponent is None or not -32768 <= exponent <= 32767:
            return None
    whole, _, fraction = mantissa.partition(".")
    digits = whole + fraction
    if not digits.lstrip("+-") or not DIGITS.fullmatch(fraction):
        return None
    exponent -= len(fraction)
    while exponent < 0 and len(digits) > 1 and digits[-1] == "0":
        digits, exponent = digits[:-1], exponent + 1
    if int64(digits) == 0:
        return 0
    if not 0 <= exponent <= 18:
        return None
    return int64(digits + "0" * exponent)


# Dates.


class Scanner:
    def __init__(self, text):
        self.text, self.at = text, 0

    def peek(self):
        return self.text[self.at : self.at + 1]

    def skip(self, c):
        if c and self.peek() == c:
            self.at += 1
            return True
        return False

    def digits(self, least, most):
        n = 0
        while n < most and "0" <= self.peek() <= "9":
            self.at += 1
            n += 1
        if n < least:
            raise Wrong
        return int(self.text[self.at - n : self.at] or 0)

    def need(self, ok):
        if not ok:
            raise Wrong

    def fraction(self):
        start = self.at
        while "0" <= self.peek() <= "9":
            self.at += 1
        digits = self.text[start : self.at]
        self.need(digits)
        return int(digits[:6].ljust(6, "0"))  # microseconds

    def word(self, words):
        for i, w in enumerate(words):
            if self.text[self.at : self.at + len(w)].lower() == w:
                self.at += len(w)
                return i + 1
        raise Wrong

    def offset(self):
        while self.skip(" "):
            pass
        if self.at == len(self.text) or self.skip("Z") or self.skip("z"):
            return 0
        if self.text[self.at :] == "UTC":
            self.at = len(self.text)
            return 0
        sign = 1
        if not self.skip("+"):
            sign = -1
            self.need(self.skip("-"))
        hours = self.digits(2, 2)
        self.need(hours <= 14)
        self.skip(":")
        start = self.at
        minutes = self.digits(0, 2)
        self.need((self.at - start == 2 or minutes == 0) and minutes < 60)
        return sign * (60 * hours + minutes)


def moment(day, clock, offset=0):
    try:
        t = datetime.datetime(day[0], day[1], day[2], clock[0], clock[1], clock[2], clock[3])
        return t - datetime.timedelta(minutes=offset)
    except (ValueError, OverflowError) as e:
        raise Wrong from e


def iso_date(text):
    s = Scanner(text)
    day = [s.digits(4, 4)]
    if text[s.at :].removeprefix("-")[:1] in ("W", "w"):
        return week(s, day[0])
    sep = s.peek()
    for _ in range(2):
        if sep in ("-", "/", ".") and sep:
            s.need(s.skip(sep))
            day.append(s.digits(1, 2))
        else:
            day.append(s.digits(2, 2))
    if s.at == len(text):
        return moment(day, [0, 0, 0, 0])
    s.need(s.skip("T") or s.skip("t") or s.skip(" "))
    while s.skip(" "):
        pass
    clock = [0, 0, 0, 0]
    basic = sep not in ("-", "/", ".")
    for i in range(3):
        if i and not s.skip(":") and not (basic and "0" <= s.peek() <= "9"):
            s.need(i == 2)
            break
        clock[i] = s.digits(2, 2)
        if i == 2 and (s.skip(".") or s.skip(",")):
            clock[3] = s.fraction()
    offset = s.offset()
    s.need(s.at == len(text))
    return moment(day, clock, offset)


def week(s, year):
    extended = s.skip("-")
    s.at += 1  # W
    number, day = s.digits(2, 2), 1
    if s.at < len(s.text):
        s.need(s.skip("-") == extended)
        day = s.digits(1, 1)
    s.need(s.at == len(s.text))
    try:
        return datetime.datetime.fromisocalendar(year, number, day)
    except ValueError as e:
        raise Wrong from e


# Where a date is a number: since when, and the milliseconds of a step.
COUNTED = {
    "unix": (datetime.datetime(1970, 1, 1), 1000),
    "unix_ms": (datetime.datetime(1970, 1, 1), 1),
    "excel": (datetime.datetime(1899, 12, 30), 24 * 60 * 60 * 1000),
}


def counted_date(form, text):
    x, (start, milli) = number(text), COUNTED[form]
    if x is None or not abs(x * milli) < 1e15:
        raise Wrong
    try:
        return start + datetime.timedelta(milliseconds=math.floor(x * milli + 0.5))
    except OverflowError as e:
        raise Wrong from e


def layout_parts(form):
    parts = []
    while form:
        part = next((p for p in PARTS if form.startswith(p)), form[0])
        parts.append(part)
        form = form[len(part) :]
    return parts


def layout_date(parts, text):
    s, day, clock = Scanner(text), [0, 1, 1], [0, 0, 0, 0]
    for i, p in enumerate(parts):
        after = parts[i + 1] if i + 1 < len(parts) else None
        least = 1 if after is None or len(after) == 1 and after not in PARTS else 2
        if p == "YYYY":
            day[0] = s.digits(4, 4)
        elif p == "YY":
            day[0] = 1900 + s.digits(2, 2)
            day[0] += 100 if day[0] < 1969 else 0  # as in POSIX
        elif p == "MMMM":
            day[1] = s.word(MONTHS)
        elif p == "MMM":
            day[1] = s.word([m[:3] for m in MONTHS])
        elif p in ("MM", "M"):
            day[1] = s.digits(least, 2)
        elif p in ("DD", "D"):
            day[2] = s.digits(least, 2)
        elif p in ("HH", "H"):
            clock[0] = s.digits(least, 2)
        elif p in ("hh", "h"):
            clock[0] = s.digits(least, 2)
            s.need(1 <= clock[0] <= 12)
            clock[0] %= 12
        elif p == "mm":
            clock[1] = s.digits(2, 2)
        elif p == "ss":
            clock[2] = s.digits(2, 2)
            if s.skip("."):
                clock[3] = s.fraction()
        elif p == "Qn":
            s.need(s.skip("Q") or s.skip("q"))
            n = s.digits(1, 1)
            s.need(1 <= n <= 4)
            day[1] = 3 * n - 2
        elif p == "AM":
            clock[0] += 12 * (s.word(["am", "pm"]) - 1)
        else:
            s.need(s.skip(p))
    s.need(s.at == len(text))
    return moment(day, clock)


def date_text(t):
    text = t.strftime(f"{t.year:04d}-%m-%d")
    if t.time() == datetime.time():
        return text
    text += t.strftime("T%H:%M:%S")
    return text + f".{t.microsecond:06d}".rstrip("0") if t.microsecond else text


def date_part(t, part):
    return t.isoweekday() if part == "weekday" else getattr(t, part)


def fnv(text):
    h = 0xCBF29CE484222325
    for b in text.encode():
        h = ((h ^ b) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h


def sameness(text):
    h = fnv(text)
    return np.array([(h ^ h >> 32) & 0xFFFFFFFF & ~(1 << 23)], np.uint32).view(np.float32)[0]


class Column:
    """Reads the cells of one column."""

    def __init__(self, recipe):
        self.name, self.type, self.required = recipe["name"], recipe["type"], recipe.get("required", False)
        self.unit = recipe.get("unit", "")
        self.least, self.most = recipe.get("min"), recipe.get("max")
        self.earliest, self.latest = recipe.get("earliest", ""), recipe.get("latest", "")
        self.format = recipe.get("format", "")
        self.layout = [] if self.format in COUNTED else layout_parts(self.format)
        self.markers = set(recipe.get("markers") or [])
        self.missing, self.missing_dates = set(), set()
        for m in self.markers:
            x = number(m)
            if x is not None and self.type in ("integer", "number", "boolean"):
                self.missing.add(x)
            if self.type == "date":
                try:
                    self.missing_dates.add(date_text(self.scan_date(m)))
                except Wrong:
                    pass
        self.texts = set(recipe.get("texts") or [])
        self.numbers, self.words = {}, {}
        for text in sorted(self.texts, key=lambda s: (len(s.encode()), s.encode())):
            x = number(text)
            if x is not None:
                self.numbers.setdefault(x, text)
            if text.lower() in ("true", "false"):
                self.words.setdefault(text.lower(), text)
        self.excluded = recipe.get("excluded") or {}
        self.levels = recipe.get("levels")
        if self.levels is not None:
            self.levels = set(np.frombuffer(base64.b64decode(self.levels), ">u8").tolist())
        self.ops = recipe.get("ops") or []

    def scan_date(self, text):
        if self.format in COUNTED:
            try:
                return counted_date(self.format, text)
            except Wrong:
                pass
        if self.layout:
            try:
                return layout_date(self.layout, text)
            except Wrong:
                pass
        return iso_date(text)

    def read(self, cell):
        """Returns the canonical form of a cell, None where it is missing."""
        if isinstance(cell, str):
            return self.value(cell)
        if cell is None or cell is pd.NA or cell is pd.NaT or isinstance(cell, (float, np.floating)) and cell != cell:
            return None
        if isinstance(cell, (bool, np.bool_)):
            return self.value(self.literal("true" if cell else "false", True))
        if isinstance(cell, (int, np.integer)):
            return self.value(self.literal(str(int(cell)), False))
        if isinstance(cell, (float, np.floating)):
            if not math.isfinite(cell):
                raise Wrong(f"{cell} is not finite")
            return self.value(self.literal(repr(float(cell)), False))
        if isinstance(cell, np.datetime64):
            cell = pd.Timestamp(cell)
        if isinstance(cell, (datetime.date, datetime.datetime)):
            return self.value(cell.isoformat())
        if isinstance(cell, (list, dict, tuple, set, np.ndarray)):
            raise Wrong("it is no single value")
        return self.value(str(cell))

    def literal(self, text, boolean):
        """Returns the text that a typed cell stands for: in a category the level with its value."""
        if self.type != "category":
            if boolean and self.type != "boolean":
                raise Wrong("it is a boolean; it must be a number or a string")
            return text
        if text in self.texts:
            return text
        if boolean:
            if text not in self.words:
                raise Wrong("it is a boolean; it must be a number or a string")
            return self.words[text]
        x = number(text)
        return self.numbers.get(x) or number_text(x)

    def value(self, text):
        text = text.strip(BLANKS)
        if text == "" or text in self.markers:
            return None
        if self.unit:
            text = self.without_unit(text)
        return getattr(self, self.type)(text)

    def without_unit(self, text):
        sign, rest = "", text
        if text.endswith(self.unit):
            rest = text[: -len(self.unit)]
        else:
            if text[0] in "+-":
                sign, rest = text[0], text[1:].strip(BLANKS)
            if not rest.startswith(self.unit):
                return text
            rest = rest[len(self.unit) :]
        rest = rest.strip(BLANKS)
        return text if not rest or self.unit in rest else sign + rest

    def category(self, text):
        return text

    def integer(self, text):
        n = integer(text)
        if n is None:
            if number(text) in self.missing:
                return None
            raise Wrong(f"{text!r} is not an integer")
        if float(n) in self.missing:
            return None
        self.in_range(text, float(n))
        return str(n)

    def number(self, text):
        x = number(text)
        if x is None:
            raise Wrong(f"{text!r} is not a number")
        if x in self.missing:
            return None
        if abs(x) >= LARGEST:
            raise Wrong(f"{text!r} is too large for a model, which takes numbers up to 3.4e38")
        self.in_range(text, x)
        return number_text(x)

    def in_range(self, text, x):
        if self.least is not None and x < self.least:
            raise Wrong(f"{text!r} is below {self.least:g}")
        if self.most is not None and x > self.most:
            raise Wrong(f"{text!r} is above {self.most:g}")

    def boolean(self, text):
        x = number(text)
        if text.lower() in TRUE or x == 1:
            return "true"
        if text.lower() in FALSE or x == 0:
            return "false"
        if x in self.missing:
            return None
        raise Wrong(f"{text!r} is not a boolean")

    def date(self, text):
        try:
            canonical = date_text(self.scan_date(text))
        except Wrong:
            raise Wrong(f"{text!r} is not a date") from None
        if canonical in self.missing_dates:
            return None
        if self.earliest and canonical < self.earliest:
            raise Wrong(f"{text!r} is before {self.earliest}")
        if self.latest and canonical > self.latest:
            raise Wrong(f"{text!r} is after {self.latest}")
        return canonical

    def unseen(self, value):
        return self.levels is not None and fnv(value) not in self.levels

    def place(self, value):
        """Returns what orders rows by this column's value."""
        if self.type == "integer":
            return min(int(value), MOST - 1)
        if self.type == "date":
            return (iso_date(value) - EPOCH) // datetime.timedelta(microseconds=1)
        bits = int(np.float64(number(value) + 0.0).view(np.int64))
        return bits if bits >= 0 else LEAST - bits - 1


def effect(op, value, features):
    """Returns what an op makes of a value, and how: set, add, keep."""
    kind, x = op["kind"], None
    if kind == "number":
        x = number(value)
    elif kind == "code":
        x = op.get("codes", {}).get(value)
    elif kind == "range":
        x = in_ranges(op["ranges"], value)
    elif kind == "date":
        x = date_part(iso_date(value), op["part"])
    elif kind == "day":
        x = iso_date(value).toordinal()
    elif kind == "hash":
        x = sameness(value)
    else:
        counts = (value in op.get("codes", {})) != op.get("inverse", False)
        return float(counts) - op.get("typical", 0), "add"
    if x is not None:
        return x, "set"
    if op.get("folds"):
        return op.get("other", 0), "set"
    return math.nan, "set" if op["feature"] >= features else "unknown"


def in_ranges(ranges, value):
    x = number(value)
    for r in ranges:
        prefix = r.get("prefix")
        if value.startswith(prefix) if prefix else x is not None and r["from"] <= x < r["to"]:
            return r["code"]
    return None


def factorize(cells):
    """Returns the number of each cell's value, and the values."""
    if cells.dtype != object:
        codes, values = pd.factorize(cells, use_na_sentinel=False)
        return codes, list(values)
    seen, values = {}, []  # 1, 1.0 and True are equal, and not the same
    codes = np.empty(len(cells), np.int64)
    for i, cell in enumerate(cells):
        key = (type(cell), cell if isinstance(cell, collections.abc.Hashable) else id(cell))
        if key not in seen:
            seen[key] = len(values)
            values.append(cell)
        codes[i] = seen[key]
    return codes, values


class Encoder:
    """Turns a data frame of raw records into the matrix that the trees see."""

    def __init__(self, folder):
        recipe = json.loads((pathlib.Path(folder) / "encoding.json").read_text(encoding="utf-8"))["recipe"]
        self.names, self.categorical = recipe["names"], recipe["categorical"]
        self.width = len(self.names)
        self.blank = np.array([math.nan if x is None else x for x in recipe["blank"]], np.float32)
        self.columns = {c["name"]: Column(c) for c in recipe["columns"]}
        self.group, self.order = recipe.get("group"), recipe.get("order")
        self.pasts = recipe.get("pasts") or []
        self.snapshot = None
        file = pathlib.Path(folder) / "history.bin"
        if self.pasts and file.exists():
            self.snapshot = Snapshot(file.read_bytes())

    def encode(self, frame):
        """Returns a float32 matrix with NaN for missing, and per row the cohort's rule that leaves it out, or -1."""
        rows = Rows(self, frame, "row")
        rows.fail()
        self.absent(frame)
        if self.pasts:
            self.look_back(rows, frame)
        return rows.work[:, : self.width], rows.rule

    def absent(self, frame):
        """Warns of columns that the frame hasn't got: MLflow drops those of other names before the model sees them."""
        used = [c.name for c in self.columns.values() if c.ops]
        absent = [name for name in used if name not in frame.columns]
        if absent and len(frame):
            first = ", ".join(absent[:MOST_ERRORS]) + (f", and {len(absent) - MOST_ERRORS} more" if len(absent) > MOST_ERRORS else "")
            warnings.warn(
                f"{len(absent)} of the {len(used)} columns that the model uses are not in the frame, and count as missing in all {len(frame)} rows: {first}; "
                "rename the frame's columns if it has them under other names, such as those of the table's file",
                stacklevel=2,
            )

    def look_back(self, rows, frame):
        n = len(frame)
        past = Past(n, len(self.blank) - self.width)
        given = np.zeros(n, bool)
        if HISTORY in frame.columns:
            self.given(rows, frame[HISTORY], past, given)
        groups, places = rows.canonical.get(self.group, [None] * n), rows.canonical.get(self.order, [None] * n)
        unknown = 0
        for i in np.flatnonzero(~given):
            if groups[i] is None or self.snapshot is None:
                unknown += rows.rule[i] < 0
                continue
            place = MOST if places[i] is None else self.columns[self.order].place(places[i])
            for values in self.snapshot.before(groups[i], place):
                past.add(i, values)
        if unknown:
            warnings.warn(
                f"{unknown} of {n} records have no {HISTORY}, and no {self.group} to look it up by: scored as the first of their group",
                stacklevel=2,
            )
        past.complete(rows.work, self.width, self.pasts)

    def given(self, rows, column, past, given):
        """Adds the earlier records that the records brought, the newest last."""
        lists = []
        for i, cell in enumerate(column):
            if isinstance(cell, str):
                cell = json.loads(cell) if cell.strip() else None
            if isinstance(cell, np.ndarray):
                cell = cell.tolist()
            if isinstance(cell, (list, tuple)):
                given[i] = True
                lists += [(i, record) for record in cell]
            elif cell is not None and cell == cell:
                raise ValueError(f"row {i}, {HISTORY}: it must be a list of earlier records, the newest last")
        if not lists:
            return
        # dtype=object: a column of whole numbers and missing ones must not become floats
        earlier = Rows(self, pd.DataFrame([record for _, record in lists], dtype=object), f"{HISTORY} of row", [i for i, _ in lists], earlier=True)
        earlier.fail()
        order = self.columns[self.order]
        own, last = rows.canonical.get(self.order), {}
        places = earlier.canonical.get(self.order, [None] * len(lists))
        for (i, _), values, text in zip(lists, earlier.work[:, self.width :], places):
            if text is not None:
                place = order.place(text)
                if place < last.get(i, LEAST):
                    raise ValueError(f"row {i}, {HISTORY}: the newest record has to be last by {self.order}")
                if own is not None and own[i] is not None and place >= order.place(own[i]):
                    raise ValueError(f"row {i}, {HISTORY}: it has a record that is not before the row itself by {self.order}")
                last[i] = place
            past.add(i, values)


class Rows:
    """The working vectors of a data frame's rows."""

    def __init__(self, encoder, frame, what, labels=None, earlier=False):
        n = len(frame)
        self.what, self.labels, self.errors = what, labels, []
        self.work = np.tile(encoder.blank, (n, 1))
        self.rule = np.full(n, -1)
        self.canonical = {}  # of the columns that say which rows are earlier
        days = {}
        for name, column in encoder.columns.items():
            if name not in frame.columns:
                if column.required and not earlier and n:
                    self.errors.append((0, name, "is required, and not given"))
                continue
            cells = frame[name]
            if isinstance(cells, pd.DataFrame):
                raise ValueError(f"column {name} is there twice")
            if isinstance(cells.dtype, pd.CategoricalDtype):
                cells = cells.astype(object)
            codes, values = factorize(cells)
            texts = []
            for k, cell in enumerate(values):
                text = None
                try:
                    text = column.read(cell)
                    if text is None and column.required and not earlier:
                        raise Wrong("is required, and has no value")
                except Wrong as e:
                    self.errors += [(i, name, e) for i in np.flatnonzero(codes == k)]
                texts.append(text)
            self.hint(column, values, texts)
            if name in (encoder.group, encoder.order):
                self.canonical[name] = [texts[k] for k in codes]
            if not n:
                continue
            if column.excluded and not earlier:
                rules = np.array([column.excluded.get(t, -1) if t is not None else -1 for t in texts])[codes]
                self.rule = np.where((rules >= 0) & ((self.rule < 0) | (rules < self.rule)), rules, self.rule)
            for op in column.ops:
                if op["kind"] == "days":
                    self.days(days, op, codes, texts)
                else:
                    self.apply(op, column, codes, texts, encoder.width)
        for feature, (start, end) in days.items():
            if start is not None and end is not None:
                both = ~np.isnan(end - start)
                self.work[both, feature] = (end - start)[both].astype(np.float32)

    def apply(self, op, column, codes, texts, width):
        change, add, to = np.zeros(len(texts), bool), op["kind"] == "count", np.zeros(len(texts), np.float32)
        for k, text in enumerate(texts):
            if text is None:
                continue
            x, how = effect(op, text, width)
            if how == "unknown" and column.unseen(text):
                continue  # as if it were missing
            change[k], to[k] = True, x
        at = change[codes]
        if add:
            self.work[at, op["feature"]] += to[codes][at]
        else:
            self.work[at, op["feature"]] = to[codes][at]

    def days(self, days, op, codes, texts):
        day = np.array([math.nan if t is None else iso_date(t).toordinal() for t in texts], np.float64)[codes]
        pair = days.setdefault(op["feature"], [None, None])
        pair[op.get("inverse", False)] = day
        if op.get("day"):
            pair[1] = np.full(len(day), float(op["day"]))

    def hint(self, column, values, texts):
        """Warns where pandas may have taken a level for a missing value."""
        levels = sorted(PANDAS_MISSING & column.texts - column.markers)
        if levels and any(t is None and not isinstance(v, str) for v, t in zip(values, texts)) and not any(v in levels for v in texts):
            warnings.warn(
                f"column {column.name} has cells without a value, and {levels[0]!r} is one of its values, which pandas reads as missing: "
                "read the table with keep_default_na=False",
                stacklevel=2,
            )

    def fail(self):
        if not self.errors:
            return
        first = [f"{self.what} {self.labels[i] if self.labels else i}, column {name}: {why}" for i, name, why in sorted(self.errors, key=lambda e: e[0])[:MOST_ERRORS]]
        more = len(self.errors) - len(first)
        raise ValueError("; ".join(first) + (f"; and {more} more" if more else ""))


class Past:
    """What the earlier rows of each row add up to."""

    def __init__(self, n, slots):
        self.rows = np.zeros(n, np.int64)
        self.values = np.zeros((n, slots), np.int64)
        self.sum = np.zeros((n, slots), np.float64)
        self.largest = np.full((n, slots), -np.inf, np.float32)
        self.last = np.full((n, slots), np.nan, np.float32)

    def add(self, i, values):
        self.rows[i] += 1
        self.last[i] = values
        has = values == values
        self.values[i] += has
        self.sum[i] += np.where(has, values, 0)
        self.largest[i] = np.where(has, np.maximum(self.largest[i], values), self.largest[i])

    def complete(self, work, width, pasts):
        for p in pasts:
            kind, slot = p["kind"], p["slot"]
            if kind == "count":
                work[:, p["feature"]] = self.rows
                continue
            own, last, some = work[:, width + slot], self.last[:, slot], self.values[:, slot] > 0
            if kind == "sum":
                x = np.where(some, self.sum[:, slot], np.nan)
            elif kind == "mean":
                x = np.where(some, self.sum[:, slot] / np.maximum(self.values[:, slot], 1), np.nan)
            elif kind == "largest":
                x = np.where(some, self.largest[:, slot], np.nan)
            elif kind == "last":
                x = last
            elif kind == "same":
                x = np.where((own == own) & (last == last), own == last, np.nan)
            else:  # change, days_since
                x = own.astype(np.float64) - last.astype(np.float64)
            work[:, p["feature"]] = x.astype(np.float32)


class Snapshot:
    """The earlier rows that the version holds, by group; see the server's feature.Snapshot."""

    def __init__(self, text):
        self.text = gzip.decompress(text)
        form = b"mlops history 1\n"
        if not self.text.startswith(form):
            raise ValueError("history.bin is of another format")
        self.at = len(form)
        slots, groups, rows = self.read("<u4", 3)
        self.keys, self.starts, self.places = self.read("<u8", groups), self.read("<u4", groups + 1), self.read("<i8", rows)
        values = []
        for _ in range(slots):
            different = self.read("<f4", self.read("<u4", 1)[0])
            width = self.read("u1", 1)[0]
            values.append(self.read("<f4", rows) if width == 4 else different[self.read(f"<u{width}", rows)])
        self.values = np.stack(values, axis=1) if values else np.zeros((rows, 0), np.float32)
        del self.text

    def read(self, kind, n):
        a = np.frombuffer(self.text, kind, int(n), self.at)
        self.at += a.nbytes
        return a

    def before(self, group, place):
        key = np.uint64(fnv(group))
        i = np.searchsorted(self.keys, key)
        if i == len(self.keys) or self.keys[i] != key:
            return []
        first, end = int(self.starts[i]), int(self.starts[i + 1])
        return self.values[first : first + int(np.searchsorted(self.places[first:end], place))]


class Model:
    """What mlflow.pyfunc.load_model returns predicts with."""

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        said = json.loads((folder / "encoding.json").read_text(encoding="utf-8"))
        self.task, self.classes, self.because = said["task"], said.get("classes") or [], said.get("because") or []
        self.threshold, self.half_width = said.get("threshold", 0), said.get("half_width", 0)
        self.encoder = Encoder(folder)
        self.booster = xgboost.Booster(model_file=str(folder / "model.ubj"))

    def matrix(self, frame):
        """Returns the encoded records as xgboost.Booster.predict takes them."""
        return self.dmatrix(self.encoder.encode(frame)[0])

    def dmatrix(self, vectors):
        e = self.encoder
        kinds = ["c" if c else "float" for c in e.categorical]
        return xgboost.DMatrix(vectors, feature_names=e.names, feature_types=kinds, enable_categorical=True)

    def predict(self, model_input, params=None):
        """Returns a data frame with the server's outputs per record; a record that the cohort leaves out has none, and the reason."""
        frame = model_input if isinstance(model_input, pd.DataFrame) else pd.DataFrame(model_input)
        vectors, rule = self.encoder.encode(frame)
        outputs = np.zeros((0, max(1, len(self.classes))), np.float32)
        if len(frame):
            outputs = self.booster.predict(self.dmatrix(vectors)).reshape(len(frame), -1)
        outputs = outputs.astype(np.float64)
        outputs[rule >= 0] = np.nan
        left = np.isnan(outputs[:, 0])
        out = {}
        if self.task == "multiclass":
            best = np.where(left, 0, np.nan_to_num(outputs).argmax(axis=1))
            out["label"] = np.where(left, None, np.array(self.classes, object)[best])
            for k, c in enumerate(self.classes):
                out[f"probability_{c}"] = outputs[:, k]
        elif self.task == "regression":
            value = np.clip(outputs[:, 0], -np.finfo(np.float32).max, np.finfo(np.float32).max)
            out = {"value": value, "lower": value - self.half_width, "upper": value + self.half_width}
        else:
            p = outputs[:, 0]
            label = (p >= self.threshold).astype(np.int64)
            out = {"label": pd.array(np.where(left, None, label), "Int64") if left.any() else label, "probability": p}
        if self.because:
            out["excluded"] = np.array([*self.because, None], object)[rule]
        return pd.DataFrame(out, index=frame.index)


def _load_pyfunc(path):
    return Model(path)
