"""A finding as a document: named fields for people and programs, tokens for queries."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any

from console.store.search.fields import FIELDS, ORGANISATION, OWN, RANK, TOKENS, SearchField
from console.store.search.text import MESSAGE, NAME, OTHER, line, value_token
from detectors.finding import MAC

if TYPE_CHECKING:
    from console.store.models import Finding

MAX_LETTERS = 80_000  # characters of all texts of one finding; a long explanation has some thousands
MAX_FIELDS, MAX_LIST = 40, 20  # fields that a sensor sends beside the row, values of one of them
MAX_LONG, MIN_LONG = 2**63 - 1, -(2**63)
_OWN = frozenset(field.name for field in OWN)
_IS_CUT = value_token("finding.cut", "true")


@lru_cache(maxsize=16_384)  # a plant has few addresses, and this is asked for each finding
def plain_address(text: str) -> str:
    """An IP address in its one form: no scope, an IPv4 address inside IPv6 as itself; "" where it is none."""
    try:
        address = ip_address(text.split("%", 1)[0])
    except ValueError:
        return ""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return address.compressed


@lru_cache(maxsize=8192)
def sixteen(address: str) -> str:
    """An address of `plain_address` as 32 hex digits in which every network is a prefix; IPv4 as IPv6 has it."""
    parsed = ip_address(address)
    bits = int(parsed) if parsed.version == 6 else int(parsed) | 0xFFFF00000000
    return f"{bits:032x}"


def typed(field: SearchField, value: Any) -> Any:
    """A value as the field's type has it, None where it does not fit: then it is found as a word only."""
    if field.type == "boolean":
        return value if isinstance(value, bool) else None
    if isinstance(value, bool):
        return None
    if field.type == "long":
        return value if isinstance(value, int) and MIN_LONG <= value <= MAX_LONG else None
    if field.type == "double":
        return float(value) if isinstance(value, int | float) else None
    if field.type == "ip":
        return plain_address(value) or None if isinstance(value, str) else None
    if isinstance(value, int | float):  # a number where the schema has a name
        value = str(value)
    return value if isinstance(value, str) and value else None


@lru_cache(maxsize=8192)  # but for ids, a plant's values come again and again
def _tokens_of_value(name: str, text: str) -> str:
    token = value_token(name, text)
    return f"{token} {value_token(f'{name}#', sixteen(text))}" if FIELDS[name].type == "ip" else token


def _values(row: Finding) -> dict[str, list[Any]]:
    """Values of the fields that never change but with the rule, typed, without what is absent."""
    given: dict[str, Any] = {
        "finding.id": row.uid,
        "rule.id": row.rule_id,
        "threat.technique.id": row.techniques,
        "network.protocol": row.protocol,
        "source.port": row.source_port,
        "destination.port": row.destination_port,
        "station": row.station,
        "capture": row.capture,
    }
    for end, address in (("source", row.source_ip), ("destination", row.destination_ip)):
        given[f"{end}.mac" if MAC.fullmatch(address) else f"{end}.ip"] = address
    for name, value in list(row.fields.items())[:MAX_FIELDS]:
        if name in FIELDS and name not in _OWN:  # never in the place of what the row says
            given[name] = value
    found: dict[str, list[Any]] = {}
    for name, value in given.items():
        if value is None or value == "":
            continue
        field = FIELDS[name]
        listed = value[:MAX_LIST] if isinstance(value, list) else [value]
        fitting = [item for item in (typed(field, item) for item in listed) if item is not None]
        if fitting:
            found[name] = fitting
    return found


def _leaves(value: Any) -> Iterator[str]:
    """All words of a free-form value. Its depth is bounded where it comes in."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif value is not None:
        yield str(value)


def _texts(row: Finding) -> Iterator[tuple[str, str]]:
    """(place, text) of all texts in which words are searched."""
    yield NAME, row.rule_name_en
    if row.rule_name_zh != row.rule_name_en:
        yield NAME, row.rule_name_zh
    yield MESSAGE, row.message_en
    if row.message_zh != row.message_en:
        yield MESSAGE, row.message_zh
    yield OTHER, row.uid
    for text in (row.rule_id, row.protocol, row.source_ip, row.destination_ip, *row.techniques, row.capture):
        yield OTHER, text
    for text in _leaves(row.fields):
        yield OTHER, text


def tokens(row: Finding | Any) -> str:
    """All tokens of a finding in one line: values of fields, then words. row: or whatever has its columns."""
    found: list[str] = []
    for name, values in _values(row).items():
        for value in values:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            found.append(_tokens_of_value(name, text) if name != "finding.id" else value_token(name, text))
    left = MAX_LETTERS
    for place, text in _texts(row):
        if left > 0 and text:
            found.append(line(place, text[:left]))
        left -= len(text)
        if left < 0:
            break
    if left < 0 or len(row.fields) > MAX_FIELDS or any(_is_long(value) for value in row.fields.values()):
        found.append(_IS_CUT)
    return " ".join(filter(None, found))


def _is_long(value: Any) -> bool:
    return isinstance(value, list) and len(value) > MAX_LIST


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def document(row: Finding | Any, line: str = "") -> dict[str, Any]:
    """A finding as the search index keeps it: fields of console.store.search.fields; absent things have no key.

    Reads the row's sensor with its place: load them together where many are made. A field with several values is a
    list, one with one value stands alone. line: its tokens, where they are at hand.
    """
    found: dict[str, Any] = {
        ORGANISATION: row.organisation_id,
        "@timestamp": _utc(row.first_seen),
        "finding.last_seen": _utc(row.last_seen),
        "finding.received": _utc(row.received_at),
        "finding.number": row.id,
        "finding.count": row.count,
        "rule.severity": row.severity_word,
        RANK: row.severity,
        "rule.name": row.rule_name_en,
        "rule.name_zh": row.rule_name_zh,
        "message": row.message_en,
        "message_zh": row.message_zh,
        "sensor": row.sensor.name,
        "sensor.number": row.sensor_id,
        "site": row.sensor.segment.site.name,
        "segment": row.sensor.segment.name,
        "state": row.verdict or "new",
        "drill": row.drill,
    }
    score = typed(FIELDS["finding.risk"], row.risk.get("score")) if row.risk else None
    if score is not None:
        found["finding.risk"] = score
    for name, values in _values(row).items():
        found[name] = values if len(values) > 1 or FIELDS[name].many else values[0]
    made = line or tokens(row)
    if made.endswith(_IS_CUT):
        found["finding.cut"] = True
    places = (value_token(name, found[name]) for name in ("sensor", "site", "segment"))
    found[TOKENS] = " ".join([made, *places])
    return found
