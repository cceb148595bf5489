"""Lines of a log, plain or gzip, and the records in them. Bounded: the length of a line, what a file unpacks to."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from detectors.hunting.imports.record import Record, UnfitError

MAX_LINE = 1 << 20
MAX_FIELDS = 512
MAX_DEPTH = 32
BOMB_BYTES = 256 << 20  # so much is unpacked whatever the ratio
BOMB_RATIO = 200  # logs pack to a twentieth


class LogError(Exception):
    """A file cannot be read, or not to its end; the text says why."""


@dataclass(frozen=True, slots=True)
class Line:
    """One record: its line, from 1, what it is about ("modbus_detailed", "eve"), its values or why there are none."""

    number: int
    kind: str
    record: Record | None
    why: str = ""
    raw: bytes = b""


def lines_of(path: Path) -> Iterator[Line]:
    """The records of a log of Zeek (TSV or JSON) or Suricata (JSON); comments and empty lines are none.

    LogError where it cannot be read (to its end).
    """
    header = _Header(kind=re.split(r"[.\d]", path.name, maxsplit=1)[0])
    for number, raw in _raw_lines(path):
        if raw is None:
            yield Line(number, header.kind, None, f"the line is longer than {MAX_LINE} octets")
        elif raw.startswith(b"#"):
            header.learn(raw)
        elif raw.strip():
            try:
                values = _json(raw) if raw.lstrip()[:1] == b"{" else header.values(raw)
            except UnfitError as error:
                yield Line(number, header.kind, None, str(error), raw[:MAX_FIELDS])
                continue
            kind = "eve" if "event_type" in values else str(values.get("_path", header.kind))[:40]
            yield Line(number, kind, Record(values), raw=raw[:MAX_FIELDS])


class _Header:
    """What the lines with # of a Zeek log say."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._names: list[str] = []
        self._separator, self._unset, self._empty = "\t", "-", "(empty)"

    def learn(self, raw: bytes) -> None:
        """One such line."""
        text = raw.rstrip(b"\r\n").decode("utf-8", "replace")
        if text.startswith("#separator "):
            given = text.removeprefix("#separator ").strip()
            code = re.fullmatch(r"\\x([0-9a-fA-F]{2})", given)
            self._separator = chr(int(code[1], 16)) if code else (given[:1] or "\t")
            return
        name, _, rest = text.partition(self._separator)
        if name == "#fields":
            self._names = rest.split(self._separator)[:MAX_FIELDS]
        elif name == "#path":
            self.kind = rest[:40]
        elif name == "#unset_field":
            self._unset = rest
        elif name == "#empty_field":
            self._empty = rest

    def values(self, raw: bytes) -> dict[str, Any]:
        """The values of a record by name; unset ones are absent."""
        if not self._names:
            raise UnfitError("no line with #fields before it, and no JSON")
        values = raw.rstrip(b"\r\n").decode("utf-8", "replace").split(self._separator)
        if len(values) != len(self._names):
            raise UnfitError("it has not as many values as #fields names")
        pairs = zip(self._names, values, strict=True)
        return {name: "" if it == self._empty else it for name, it in pairs if it != self._unset}


def _json(raw: bytes) -> dict[str, Any]:
    """One JSON object; Zeek's `id` may be an object inside."""
    if _depth(raw) > MAX_DEPTH:
        raise UnfitError("JSON is nested too deeply")
    try:
        values = json.loads(raw)
    except (ValueError, RecursionError):
        raise UnfitError("it is no JSON") from None
    if not isinstance(values, dict):
        raise UnfitError("JSON is no object")
    inside = values.get("id")
    if isinstance(inside, dict):
        values |= {f"id.{name}": value for name, value in inside.items()}
    return values


def _depth(raw: bytes) -> int:
    """An upper bound of how deeply JSON is nested; brackets in texts count too."""
    if raw.count(b"{") + raw.count(b"[") <= MAX_DEPTH:
        return 0
    depth = deepest = 0
    for octet in re.findall(rb"[\[\]{}]", raw):
        depth += 1 if octet in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _raw_lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """(number, octets) of each line; None for one that is too long, which is passed over."""
    try:
        with path.open("rb") as plain:
            packed = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            source = cast(BinaryIO, gzip.GzipFile(fileobj=plain)) if packed else plain
            number = unpacked = 0
            while raw := source.readline(MAX_LINE + 1):
                number += 1
                too_long = len(raw) > MAX_LINE
                while True:
                    unpacked += len(raw)
                    if packed and unpacked > BOMB_BYTES and unpacked > BOMB_RATIO * plain.tell():
                        raise LogError(f"{path} unpacks to more than {BOMB_RATIO} times its size: it is no log")
                    if raw.endswith(b"\n") or not too_long:
                        break
                    raw = source.readline(MAX_LINE)
                    if not raw:
                        break
                yield number, None if too_long else raw
    except (OSError, EOFError, zlib.error) as error:
        raise LogError(f"{path} cannot be read to its end: {getattr(error, 'strerror', None) or error}") from error
