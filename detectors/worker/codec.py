"""A finding as JSON and octets, and back: what comes from a worker is checked field by field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from detectors.carving.artifact import Artifact
from detectors.finding import Confidence, Evidence, Finding, Novelty, Risk, Severity, Text
from sensor.reports import KEYS, MAX_RECORDS

T = TypeVar("T")
MAX_TEXT = 65_536  # characters of one text
MAX_ITEMS = 4096  # of one list or object


class CodecError(ValueError):
    """What came is no finding, or no artifact."""


def packed(finding: Finding) -> tuple[dict[str, Any], bytes]:
    """(JSON object, octets of the pcap). TypeError where its fields are no JSON shows when it is written."""
    risk = finding.risk
    return {
        "rule": finding.rule_id,
        "name": [finding.rule_name.zh, finding.rule_name.en],
        "severity": int(finding.severity),
        "protocol": finding.protocol,
        "ns": [finding.first_ns, finding.last_ns],
        "text": [finding.explanation.zh, finding.explanation.en],
        "source": [finding.source_ip, finding.source_port],
        "destination": [finding.destination_ip, finding.destination_port],
        "station": finding.station,
        "techniques": list(finding.techniques),
        "count": finding.count,
        "fields": dict(finding.fields),
        "frames": list(finding.evidence.frames),
        "pdus": [dict(pdu) for pdu in finding.evidence.pdus],
        "capture": finding.capture,
        # Worked out here: JSON has no tuples, so that it could come out otherwise on the other side.
        "problem": finding.fingerprint,
        "absorbs": list(finding.absorbs),
        "novelty": finding.novelty.value,
        "confidence": finding.confidence.value,
        "risk": None if risk is None else {
            "factors": [risk.score, risk.danger, risk.importance, risk.novelty, risk.confidence],
            "equation": [risk.equation.zh, risk.equation.en],
            "overridden": risk.overridden,
        },
    }, finding.evidence.pcap  # fmt: skip


def unpacked_report(content: Mapping[str, Any]) -> tuple[str, str, list[dict[str, Any]]]:
    """(kind, run, records) of what stands; CodecError where it is no report. The console checks what records say."""
    what, run, records = content.get("what"), content.get("run"), content.get("records")
    if what not in KEYS or not isinstance(run, str) or not isinstance(records, list) or len(records) > MAX_RECORDS:
        raise CodecError("no report of what stands")
    if not all(isinstance(record, dict) for record in records):
        raise CodecError("a record is an object")
    return str(what), run[:64], records


def unpacked(content: Mapping[str, Any], pcap: bytes) -> Finding:
    """The finding; CodecError where it is none."""
    try:
        source, destination = content["source"], content["destination"]
        return Finding(
            rule_id=_is(content["rule"], str),
            rule_name=_text(content["name"]),
            severity=Severity(content["severity"]),
            protocol=_is(content["protocol"], str),
            first_ns=_is(content["ns"][0], int),
            last_ns=_is(content["ns"][1], int),
            explanation=_text(content["text"]),
            source_ip=_is(source[0], str),
            source_port=_or_none(source[1]),
            destination_ip=_is(destination[0], str),
            destination_port=_or_none(destination[1]),
            station=_or_none(content["station"]),
            techniques=_all(content["techniques"], str),
            count=max(_is(content["count"], int), 1),
            fields=_is(content["fields"], dict),
            evidence=Evidence(_all(content["frames"], int), _all(content["pdus"], dict), pcap),
            capture=_is(content["capture"], str),
            problem=_is(content["problem"], str),
            absorbs=_all(content["absorbs"], str),
            novelty=Novelty(content["novelty"]),
            confidence=Confidence(content["confidence"]),
            risk=_risk(content["risk"]),
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise CodecError(f"this is no finding: {error!r}") from None


def packed_artifact(it: Artifact) -> tuple[dict[str, Any], bytes]:
    """(JSON object, its octets)."""
    names = [name for name in Artifact.__slots__ if name not in ("data", "details")]
    return {**{name: getattr(it, name) for name in names}, "details": dict(it.details)}, it.data


def unpacked_artifact(content: Mapping[str, Any], data: bytes) -> Artifact:
    """The artifact; CodecError where it is none."""
    try:
        body = content["body"]
        return Artifact(
            kind=_is(content["kind"], str),
            name=_is(content["name"], str),
            data=data,
            protocol=_is(content["protocol"], str),
            device=_is(content["device"], str),
            source=_is(content["source"], str),
            destination=_is(content["destination"], str),
            first_ns=_is(content["first_ns"], int),
            last_ns=_is(content["last_ns"], int),
            frames=_all(content["frames"], int),
            station=_or_none(content["station"]),
            to_device=_is(content["to_device"], bool),
            missing=_is(content["missing"], int),
            complete=_is(content["complete"], bool),
            body=None if body is None else (_is(body[0], int), _is(body[1], int)),
            details=_is(content["details"], dict),
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise CodecError(f"this is no artifact: {error!r}") from None


def _is(value: Any, kind: type[T]) -> T:
    if type(value) is not kind:
        raise TypeError(f"{kind.__name__} expected")
    if isinstance(value, (str, list, dict)) and len(value) > (MAX_TEXT if isinstance(value, str) else MAX_ITEMS):
        raise ValueError("too long")
    return value


def _or_none(value: Any) -> int | None:
    return None if value is None else _is(value, int)


def _all(values: Any, kind: type[T]) -> tuple[T, ...]:
    return tuple(_is(value, kind) for value in _is(values, list))


def _text(pair: Any) -> Text:
    return Text(_is(pair[0], str), _is(pair[1], str))


def _risk(content: Any) -> Risk | None:
    if content is None:
        return None
    score, danger, importance, novelty, confidence = (float(value) for value in content["factors"])
    equation, overridden = _text(content["equation"]), _is(content["overridden"], bool)
    return Risk(score, danger, importance, novelty, confidence, equation, overridden)
