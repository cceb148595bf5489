"""Events as JSON lines, CSV and Parquet: names and types of the schema, nothing a spreadsheet would run."""

from __future__ import annotations

import csv
import io
import json

import pytest

from sensor.export import WRITERS, write_csv, write_jsonl, write_parquet
from sensor.schema import FIELDS

LINE = {
    "@timestamp": "2026-01-01T00:00:00.000000001Z",
    "frame": 7,
    "source.ip": "10.0.0.1",
    "anomalies": ["gap", "split"],
}


def written(write, lines) -> tuple[int, bytes]:
    out = io.BytesIO()
    return write(iter(lines), out), out.getvalue()


@pytest.mark.parametrize("form", WRITERS)
def test_lines_are_counted_and_none_is_none(form):
    assert written(WRITERS[form], [])[0] == 0
    assert written(WRITERS[form], [LINE, LINE])[0] == 2


def test_jsonl_is_one_object_a_line_with_chinese_as_it_is():
    _, data = written(write_jsonl, [LINE | {"capture": "样例.pcap"}])
    assert data.decode().count("\n") == 1
    assert "样例" in data.decode()
    assert json.loads(data) == LINE | {"capture": "样例.pcap"}


def test_csv_has_every_field_of_the_schema_in_its_header():
    _, data = written(write_csv, [LINE])
    header, row = csv.reader(io.StringIO(data.decode(), newline=""))
    assert header == list(FIELDS)
    assert dict(zip(header, row, strict=True))["anomalies"] == "gap split"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_csv_text_from_the_wire_is_no_formula(text):
    _, data = written(write_csv, [{"capture": text}])
    row = next(csv.DictReader(io.StringIO(data.decode(), newline="")))
    assert row["capture"] == "'" + text


def test_csv_keeps_numbers_that_are_negative():
    _, data = written(write_csv, [{"frame": -1}])
    assert next(csv.DictReader(io.StringIO(data.decode(), newline="")))["frame"] == "-1"


def test_parquet_reads_back_with_the_types_of_the_schema():
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra `columnar` is not installed")
    _, data = written(write_parquet, [LINE, {"frame": 8}])
    table = parquet.read_table(io.BytesIO(data))
    assert table.column_names == list(FIELDS)
    rows = table.select(["frame", "source.ip", "anomalies"]).to_pylist()
    assert rows == [
        {"frame": 7, "source.ip": "10.0.0.1", "anomalies": ["gap", "split"]},
        {"frame": 8, "source.ip": None, "anomalies": None},
    ]
