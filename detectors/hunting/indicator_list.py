"""Lists of indicators as people have them: one a line, CSV, or the STIX bundle of a bulletin.

Every record is used or rejected with a reason: records = used + rejected. Files of others are hostile: they are
bounded, and nothing in them raises.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from detectors.hunting.wanted import Condition, Sought, condition
from detectors.sigma.plain import condition as plain_condition
from sensor.archive.terms import span_of, term

MAX_BYTES = 64 << 20
MAX_RECORDS = 200_000
MAX_ALTERNATIVES = 500  # of one pattern
MAX_TITLE = 200

_PATTERN = re.compile(
    r"\s*(?:ipv[46]-addr:value|mac-addr:value|network-traffic:(?:src|dst)_ref\.value"
    r"|file:hashes\.(?:'SHA-256'|\"SHA-256\"|SHA256))\s*(?:=|ISSUBSET\s)\s*'([0-9A-Za-z:./]{2,64})'\s*"
)
_OTHER_HASH = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{40}|[0-9a-fA-F]{128}")


class ListError(Exception):
    """A list cannot be read at all; the text says why."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that is not used. place: line, or position among the objects of a bundle, from 1."""

    place: int
    why: str


@dataclass(slots=True)
class Indicators:
    """What a list gives. records counts those that were read: each made something or is in `rejected`."""

    sought: list[Sought] = field(default_factory=list)
    conditions: list[Condition] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    records: int = 0


def read_indicators(path: Path) -> Indicators:
    """A list in a file; ListError where it is none. The format is told by its content."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ListError(f"{path}: {error.strerror or error}") from None
    if len(data) > MAX_BYTES:
        raise ListError(f"{path} is larger than {MAX_BYTES >> 20} MiB: that is no list of indicators")
    text = data.decode("utf-8-sig", "replace")
    found = Indicators()
    if text.lstrip()[:1] == "{":
        _bundle(path, text, found)
    else:
        _lines(path, text, found)
    return found


def seek(text: str, title: str = "") -> Sought:
    """An address, network, hardware address or SHA-256, also defanged; ValueError says why it is none."""
    bare = text.strip().strip("'\"").replace("[.]", ".").replace("(.)", ".").replace("[:]", ":")
    octets = term(bare)
    if octets is not None:
        return Sought(bare.lower(), title, octets, octets)
    if _OTHER_HASH.fullmatch(bare):
        raise ValueError("of hashes only SHA-256 is kept in the archive")
    try:
        network = ip_network(bare, strict=False)
    except ValueError:
        raise ValueError(f"{bare[:80]!r} is no address, network, hardware address or SHA-256") from None
    low, high = span_of(network)
    return Sought(str(network), title, low, high)


def _lines(path: Path, text: str, found: Indicators) -> None:
    """One record a line, or CSV: of a row every cell that is an indicator, the others are its title."""
    lines = io.StringIO(text)
    begin = text[:4096]
    delimiter = next((mark for mark in ",;\t" if mark in begin.partition("\n")[0]), None)
    rows: Iterator[list[str]] = csv.reader(lines, delimiter=delimiter) if delimiter else ([line] for line in lines)
    for place in range(1, MAX_BYTES):
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            found.records += 1
            found.rejected.append(Rejected(place, str(error)))
            continue
        cells = [cell.strip() for cell in row if cell.strip()]
        if not cells or cells[0].startswith("#"):
            continue
        if found.records >= MAX_RECORDS:
            raise ListError(f"{path} has more than {MAX_RECORDS} records: cut it into several lists")
        if found.records == 0 and delimiter and not _any(cells):
            continue  # the header
        found.records += 1
        _row(cells if delimiter else [cells[0].partition("#")[0].strip()], place, found)


def _any(cells: Iterable[str]) -> bool:
    for cell in cells:
        try:
            seek(cell)
        except ValueError:
            continue
        return True
    return False


def _row(cells: list[str], place: int, found: Indicators) -> None:
    used, others, why = [], [], ""
    for cell in cells:
        try:
            used.append(seek(cell))
        except ValueError as error:
            others.append(cell)
            why = why or str(error)
    title = "; ".join(others)[:MAX_TITLE]
    if used:
        found.sought += [Sought(it.name, title, it.low, it.high) for it in used]
    else:
        found.rejected.append(Rejected(place, why))


def _bundle(path: Path, text: str, found: Indicators) -> None:
    """Indicators of a STIX 2 bundle, or one object; whatever else is in there is no record."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ListError(f"{path} is no JSON: {error}") from None
    objects = given.get("objects", [given]) if isinstance(given, dict) else []
    if not isinstance(objects, list):
        raise ListError(f"{path}: 'objects' must be a list")
    for place, thing in enumerate(objects, 1):
        if not isinstance(thing, Mapping) or thing.get("type") != "indicator":
            continue
        if found.records >= MAX_RECORDS:
            raise ListError(f"{path} has more than {MAX_RECORDS} indicators: cut it into several bundles")
        found.records += 1
        try:
            _indicator(thing, found)
        except ValueError as error:
            found.rejected.append(Rejected(place, str(error)))
    if not found.records:
        raise ListError(f"{path} holds no indicator: expected a STIX bundle, CSV, or one indicator a line")


def _indicator(thing: Mapping[str, Any], found: Indicators) -> None:
    title = str(thing.get("name") or thing.get("id") or "")[:MAX_TITLE]
    pattern, kind = thing.get("pattern"), thing.get("pattern_type", "stix")
    if not isinstance(pattern, str):
        raise ValueError("it has no pattern")
    if kind == "sigma":
        found.conditions.append(_sigma(pattern, title))
    elif kind == "stix":
        found.sought += [Sought(it.name, title, it.low, it.high) for it in _alternatives(pattern)]
    else:
        raise ValueError(f"patterns of type {str(kind)[:40]!r} are not understood: stix and sigma are")


def _alternatives(pattern: str) -> list[Sought]:
    """What a pattern names, joined by OR only: with AND or FOLLOWEDBY left out more would match than was meant."""
    values: list[Sought] = []
    for observation in re.split(r"(?<=\])\s*OR\s*(?=\[)", pattern.strip()):
        if not (observation.startswith("[") and observation.endswith("]")):
            raise ValueError("its pattern asks for more than addresses and SHA-256 joined by OR")
        for comparison in re.split(r"\sOR\s", observation[1:-1]):
            match = _PATTERN.fullmatch(comparison)
            if match is None:
                raise ValueError("its pattern asks for more than addresses and SHA-256 joined by OR")
            values.append(seek(match[1]))
            if len(values) > MAX_ALTERNATIVES:
                raise ValueError(f"its pattern has more than {MAX_ALTERNATIVES} alternatives")
    return values


def _sigma(pattern: str, title: str) -> Condition:
    """A Sigma rule as bulletins carry it: one selection of fields and values."""
    import yaml

    try:
        rule = yaml.safe_load(pattern)
        selection = dict(rule["detection"]["selection"])
        selection["network.protocol"] = rule["logsource"]["product"]
        given = rule["detection"]["condition"]
    except (yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError):
        raise ValueError("its Sigma rule is not one selection with a log source") from None
    if given != "selection":
        raise ValueError("its Sigma rule has another condition than 'selection'")
    node = plain_condition(selection)
    return condition(title or str(rule.get("title", "")), str(rule.get("title", ""))[:MAX_TITLE], node)
