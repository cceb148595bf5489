"""A baseline as a file: YAML text with one line for each fact in a stable order, so that versions can be compared with
any tool, and an Ed25519 signature (RFC 8032) in its last line.

    fenghuo_baseline: 1
    sources: ["monday.pcap"]
    lines:
    - {"id": "0c1f...", "state": "approved", "host": "10.20.2.11", "mac": [...], ...}
    - {"id": "9b3e...", "state": "learned", "client": "10.20.1.10", "server": "10.20.2.11", ...}
    signature: {"by": "li.na", "at": "...", "key": "...", "ed25519": "..."}

The signature covers every byte before its line, and who signed when with which key.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from detectors.baseline.book import MAX_LINES, Baseline, ExchangeLine, HostLine, State, Way, line_id
from detectors.baseline.extents import MAX_RANGES, MAX_SPACES, Extents, parse
from detectors.content import Block, load
from detectors.finding import rfc3339
from sensor.decode.pdu import Protocol
from sensor.notes import sync_folder

VERSION = 1
MAX_TEXT = 300

_COMMON = ("id", "state", "count", "first", "last", "evidence", "by", "reason", "decided")
_HOST = ("host", "mac", "asks", "asked")
_EXCHANGE = ("client", "server", "protocol", "station", "way", "function", "subfunction", "name", "operation", "class",
             "objects", "values", "period_s", "jitter_s")  # fmt: skip
COLUMNS = ("id", "state", "host", "mac", "asks", "asked", *_EXCHANGE, *_COMMON[2:])


class TrustError(Exception):
    """A key or a signature cannot be used (signing.py); says why and what to do."""


@dataclass(frozen=True, slots=True)
class Signature:
    """Who vouches for a file. key: fingerprint of the public key, 16 hex digits."""

    by: str
    at: str
    key: str
    value: bytes

    def covered(self, content: bytes) -> bytes:
        """What the signature is made over."""
        return content + json.dumps([self.by, self.at, self.key], ensure_ascii=False).encode()


def dump(baseline: Baseline) -> bytes:
    """The text without a signature."""
    parts = [
        "# A Fenghuo baseline: what is normal here, one fact a line. `fenghuo baseline report FILE` says it in words;",
        "# only approved lines count (`fenghuo baseline approve`). A change by hand breaks the signature.",
        f"fenghuo_baseline: {VERSION}",
        f"learned: {_json([rfc3339(baseline.first_ns), rfc3339(baseline.last_ns)])}",
        f"sources: {_json(baseline.sources)}",
    ]
    if baseline.left_out:
        parts.append(f"left_out: {baseline.left_out}")
    parts.append("lines:" if len(baseline) else "lines: []")
    parts += [f"- {_json(_line(name, line))}" for name, line in baseline]
    return "\n".join(parts).encode()


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _line(name: str, line: HostLine | ExchangeLine) -> dict[str, Any]:
    fields: dict[str, Any] = {"id": name, "state": line.state.value}
    if isinstance(line, HostLine):
        fields |= {"host": line.address, "mac": line.macs, "asks": line.asks, "asked": line.asked}
    else:
        fields |= {
            "client": line.client,
            "server": line.server,
            "protocol": line.protocol.name.lower(),
            "station": station_text(line.protocol, line.station),
            "way": line.way.value,
            "function": line.function,
            "subfunction": line.subfunction,
            "name": line.name,
            "operation": line.operation,
            "class": line.kind,
            "objects": line.objects.words(),
            "values": list(line.values or ()),
            "period_s": round(line.period_s, 3),
            "jitter_s": round(line.jitter_s, 3),
        }
    fields |= {
        "count": line.count,
        "first": rfc3339(line.first_ns),
        "last": rfc3339(line.last_ns),
        "evidence": line.evidence,
        "by": line.by,
        "reason": line.reason,
        "decided": rfc3339(line.decided_ns) if line.decided_ns else "",
    }
    return {key: value for key, value in fields.items() if value not in ("", [], None) and value is not False
            and not (key in {"period_s", "jitter_s"} and not line_has_rhythm(line))
            and not (key == "subfunction" and value == -1)}  # fmt: skip


def line_has_rhythm(line: HostLine | ExchangeLine) -> bool:
    """Whether a period was learned."""
    return isinstance(line, ExchangeLine) and line.period_s > 0


def station_text(protocol: Protocol, station: int) -> str:
    """A station as it is written: "3"; of DNP3 both link addresses, "1>1024"; "" where there is none."""
    if station < 0:
        return ""
    return f"{station >> 16}>{station & 0xFFFF}" if protocol == Protocol.DNP3 else str(station)


def export_rows(baseline: Baseline, form: str) -> Iterator[str]:
    """The lines as CSV (RFC 4180, with a header) or as JSON lines, without line ends."""
    rows = [_line(name, line) for name, line in baseline]
    if form == "jsonl":
        yield from (_json(row) for row in rows)
        return
    for row in [dict(zip(COLUMNS, COLUMNS, strict=True)), *rows]:
        text = io.StringIO()
        csv.writer(text, lineterminator="").writerow([_cell(row.get(name, "")) for name in COLUMNS])
        yield text.getvalue()


def _cell(value: object) -> str:
    """A value for a spreadsheet, which must not take it for a formula."""
    text = " ".join(str(it) for it in value) if isinstance(value, list) else str(value)
    return f"'{text}" if text[:1] in tuple("=+-@\t\r") and not text.lstrip("-").isdigit() else text


def write(path: Path, content: bytes) -> None:
    """Write a file so that a crash leaves the old one or the new one."""
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    sync_folder(path)


def save(path: Path, baseline: Baseline) -> None:
    """Write a baseline without a signature. OSError where it cannot be written."""
    write(path, dump(baseline) + b"\n")


def read(path: Path) -> tuple[Baseline, Signature | None]:
    """The baseline in a file and its signature, which is not verified here; ContentError says file and line."""
    content = load(path)
    content.only("fenghuo_baseline", "learned", "sources", "left_out", "lines", "signature")
    if content.get("fenghuo_baseline") != VERSION:
        raise content.error(f"is not a baseline of version {VERSION}", "fenghuo_baseline")
    baseline = Baseline()
    baseline.sources = _texts(content, "sources", MAX_LINES)
    learned = _texts(content, "learned", 2)
    if len(learned) == 2:
        baseline.first_ns, baseline.last_ns = (_time(content, "learned", it) for it in learned)
    baseline.left_out = _number(content, "left_out", 0)
    lines = content.get("lines")
    if not isinstance(lines, list) or not all(isinstance(it, Block) for it in lines):
        raise content.error("'lines' must be a list of mappings", "lines")
    if len(lines) > MAX_LINES:
        raise content.error(f"has more than {MAX_LINES} lines", "lines")
    for block in lines:
        _take(baseline, block)
    return baseline, _signature(content)


def _take(baseline: Baseline, block: Block) -> None:
    """Put one line of the file into a baseline."""
    line: HostLine | ExchangeLine
    if "host" in block:
        block.only(*_COMMON, *_HOST)
        line = HostLine(
            address=block.text("host"),
            macs=_texts(block, "mac", 64),
            asks=block.get("asks") is True,
            asked=block.get("asked") is True,
        )
    else:
        block.only(*_COMMON, *_EXCHANGE)
        line = _exchange(block)
    line.state = _choice(block, "state", State)
    line.count = _number(block, "count", 0)
    line.first_ns, line.last_ns = (_time(block, key, block.get(key)) for key in ("first", "last"))
    line.evidence = _texts(block, "evidence", 16)
    line.by, line.reason = _text(block, "by"), _text(block, "reason")
    line.decided_ns = _time(block, "decided", block.get("decided")) if block.get("decided") else 0
    name = line_id(line)
    if block.get("id") != name:
        raise block.error(f"id {block.get('id')!r} does not fit what the line says (expected {name!r})", "id")
    if baseline.get(name):
        raise block.error(f"id {name!r} stands twice", "id")
    baseline.put(line)


def _exchange(block: Block) -> ExchangeLine:
    word = block.text("protocol").upper()
    if word not in Protocol.__members__ or word == "NONE":
        raise block.error(f"unknown protocol {word.lower()!r}", "protocol")
    protocol = Protocol[word]
    values = block.get("values", [])
    if not isinstance(values, list) or len(values) not in (0, 2) or not all(isinstance(it, int) for it in values):
        raise block.error("'values' must be two numbers", "values")
    return ExchangeLine(
        client=block.text("client"),
        server=block.text("server"),
        protocol=protocol,
        station=_station(block, protocol),
        way=_choice(block, "way", Way),
        function=_number(block, "function", -1),
        subfunction=_number(block, "subfunction", -1),
        name=_text(block, "name"),
        operation=_text(block, "operation"),
        kind=_text(block, "class"),
        objects=Extents(parse(it) for it in _texts(block, "objects", MAX_RANGES * MAX_SPACES)),
        values=(values[0], values[1]) if values else None,
        period_s=_seconds(block, "period_s"),
        jitter_s=_seconds(block, "jitter_s"),
    )


def _station(block: Block, protocol: Protocol) -> int:
    text = str(block.get("station", ""))
    if not text:
        return -1
    match = re.fullmatch(r"(?:(\d{1,5})>)?(\d{1,19})", text)
    if not match or (match[1] is not None) != (protocol == Protocol.DNP3):
        raise block.error(f"station {text!r} must be a number, of DNP3 master>outstation", "station")
    return int(match[2]) if match[1] is None else int(match[1]) << 16 | int(match[2])


def _choice(block: Block, key: str, kind: type[Any]) -> Any:
    try:
        return kind(block.get(key))
    except ValueError:
        expected = ", ".join(it.value for it in kind)
        raise block.error(f"{key} {block.get(key)!r} is none of: {expected}", key) from None


def _number(block: Block, key: str, default: int) -> int:
    value = block.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise block.error(f"{key!r} must be a number", key)
    return value


def _seconds(block: Block, key: str) -> float:
    value = block.get(key, 0)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < 1e9:
        raise block.error(f"{key!r} must be seconds", key)
    return float(value)


def _text(block: Block, key: str) -> str:
    value = block.get(key, "")
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise block.error(f"{key!r} must be a text of at most {MAX_TEXT} characters", key)
    return value


def _texts(block: Block, key: str, most: int) -> list[str]:
    value = block.get(key, [])
    if not isinstance(value, list) or len(value) > most or not all(isinstance(it, str) for it in value):
        raise block.error(f"{key!r} must be a list of at most {most} texts", key)
    return list(value)


def _time(block: Block, key: str, value: object) -> int:
    """RFC 3339 with microseconds as ns since 1970."""
    try:
        moment = datetime.fromisoformat(str(value))
        seconds = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
        since = moment - seconds
    except (ValueError, TypeError):
        raise block.error(f"{key!r} must be a time such as 2026-01-31T08:00:00Z, got {value!r}", key) from None
    return ((since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds) * 1000


def _signature(content: Block) -> Signature | None:
    if "signature" not in content:
        return None
    block = content.block("signature")
    block.only("by", "at", "key", "ed25519")
    try:
        value = base64.b64decode(block.text("ed25519"), validate=True)
    except ValueError:
        raise block.error("'ed25519' must be base64", "ed25519") from None
    return Signature(block.text("by"), block.text("at"), block.text("key"), value)
