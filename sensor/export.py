"""Events as lines: JSON objects, CSV rows, Parquet row groups. Names and types come from sensor/schema.py."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO

from sensor.schema import FIELDS

ROW_GROUP = 50_000  # rows of a Parquet row group: bounded memory, and large enough to compress

Line = dict[str, Any]
Writer = Callable[[Iterable[Line], BinaryIO], int]


def write_jsonl(lines: Iterable[Line], out: BinaryIO) -> int:
    """One JSON object a line, UTF-8. Returns the number of lines."""
    count = 0
    for count, line in enumerate(lines, 1):  # noqa: B007
        out.write(json.dumps(line, ensure_ascii=False, separators=(",", ":"), default=str).encode("utf-8", "replace"))
        out.write(b"\n")
    return count


def write_csv(lines: Iterable[Line], out: BinaryIO) -> int:
    """RFC 4180 with a header of every field of the schema; lists are joined by a space.

    Text from the wire that a spreadsheet would take for a formula is quoted with an apostrophe.
    """
    text = io.TextIOWrapper(out, encoding="utf-8", errors="replace", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(FIELDS)
    count = 0
    for count, line in enumerate(lines, 1):  # noqa: B007
        writer.writerow(_cell(line.get(name)) for name in FIELDS)
    text.detach()
    return count


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        value = " ".join(str(part) for part in value)
    text = str(value)
    if isinstance(value, str) and text[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + text
    return text


def write_parquet(lines: Iterable[Line], out: BinaryIO) -> int:
    """One Parquet file, zstd, with the columns of the schema. Needs the extra `columnar`."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise RuntimeError("Parquet needs pyarrow: install fenghuo with the extra `columnar`") from None
    kinds = {"long": pa.int64(), "double": pa.float64(), "boolean": pa.bool_()}
    schema = pa.schema(
        [
            (
                field.name,
                pa.list_(kinds.get(field.type, pa.string())) if field.many else kinds.get(field.type, pa.string()),
            )
            for field in FIELDS.values()
        ]
    )
    count = 0
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        group: list[Line] = []
        for count, line in enumerate(lines, 1):  # noqa: B007
            group.append(line)
            if len(group) == ROW_GROUP:
                writer.write_table(pa.Table.from_pylist(group, schema=schema))
                group = []
        if group:
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
    return count


WRITERS: dict[str, Writer] = {"jsonl": write_jsonl, "csv": write_csv, "parquet": write_parquet}
