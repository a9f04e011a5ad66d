"""Writes the tables of this folder, all of made-up rows: python make.py, with pandas and pyarrow."""

import datetime
import decimal
import random

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

draw = random.Random(7)
rows = 300
names = ["Ann", "Zoë, the elder", 'Bob "B." Roe', "two\nlines", "", None, "  blanks  ", "Łukasz"]
start = datetime.datetime(2023, 12, 30, 22, 31)
frame = pd.DataFrame(
    {
        "id": range(1, rows + 1),
        "small": pd.array([draw.choice([-5, 0, 7, None]) for _ in range(rows)], dtype="Int8"),
        "large": pd.array([draw.choice([0, 2**32 - 1, 9]) for _ in range(rows)], dtype="uint32"),
        "price": [draw.choice([0.1, 39.0, 1e-7, 123456789.125, -2.5, None, 1e20]) for _ in range(rows)],
        "ratio": pd.array([draw.choice([0.1, 3.0, 2.75]) for _ in range(rows)], dtype="float32"),
        "smoker": pd.array([draw.choice([True, False, None]) for _ in range(rows)], dtype="boolean"),
        "name": [draw.choice(names) for _ in range(rows)],
        "plan": pd.Categorical([draw.choice(["basic", "pro", None]) for _ in range(rows)]),
        "postcode": [draw.choice(["01234", "10115"]) for _ in range(rows)],
        "day": [(start + datetime.timedelta(days=i)).date() if i % 9 else None for i in range(rows)],
        "seen": [start + datetime.timedelta(minutes=17 * i) for i in range(rows)],
        "amount": [decimal.Decimal(draw.randint(-99999, 99999)) / 100 for _ in range(rows)],
        "left": [draw.choice(["yes", "no", "no"]) for _ in range(rows)],
    }
)
frame["amount"] = [a.quantize(decimal.Decimal("0.01")) for a in frame["amount"]]
frame.to_csv("members.csv", index=False, lineterminator="\n")
frame.to_parquet("members.parquet", index=False)  # snappy, one row group
table = pa.Table.from_pandas(frame, preserve_index=False)
for codec in ["NONE", "GZIP", "ZSTD", "BROTLI", "LZ4"]:
    pq.write_table(
        table, f"members-{codec.lower()}.parquet", compression=codec, row_group_size=77,
        data_page_size=512, data_page_version="2.0" if codec == "ZSTD" else "1.0", use_dictionary=codec != "GZIP",
    )
old = table.set_column(table.schema.get_field_index("seen"), "seen", table["seen"].cast(pa.timestamp("ns")))
pq.write_table(old, "members-int96.parquet", use_deprecated_int96_timestamps=True, version="1.0")
some = table.select(["id", "price", "plan", "left"])
for name, column in {
    "tags": pa.array([["a"], []] * (rows // 2)),
    "at": pa.array([{"x": 1}, None] * (rows // 2)),
    "pairs": pa.array([[("k", 1)], []] * (rows // 2), pa.map_(pa.string(), pa.int64())),
    "raw": pa.array([b"ab", b"cd"] * (rows // 2), pa.binary(2)),
}.items():
    some = some.append_column(name, column)
pq.write_table(some, "nested.parquet")
