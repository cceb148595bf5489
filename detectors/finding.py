"""Finding: what a detector claims, with evidence and an explanation. Frozen records and their JSON form."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, IntEnum
from typing import Any

MAX_EVIDENCE_FRAMES = 100  # frame numbers kept; `count` stays exact however many there were
MAX_EVIDENCE_PDUS = 20
MAX_EVIDENCE_PCAP_BYTES = 256 * 1024


class Severity(IntEnum):
    """How much it matters; ordered, so that findings compare."""

    INFORMATIONAL = 1
    LOW = 2
    MEDIUM = 3
    HIGH = 4
    CRITICAL = 5

    @property
    def word(self) -> str:
        """Lower-case name, as printed and stored."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Text:
    """The same sentence for people in Chinese and in English."""

    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What anybody can check a finding against.

    frames: numbers of the first MAX_EVIDENCE_FRAMES frames that show it, ascending.
    pdus: fields (names of sensor/schema.py) of the first few PDUs, as decoded at full depth.
    pcap: those frames as a small classic pcap, empty where none could be cut.
    """

    frames: tuple[int, ...] = ()
    pdus: tuple[Mapping[str, Any], ...] = ()
    pcap: bytes = b""


class Novelty(Enum):
    """How unusual it is here."""

    KNOWN = "known"  # it was seen before, while learning for instance
    USUAL = "usual"  # nothing speaks for or against
    FIRST = "first"  # against what was learned


class Confidence(Enum):
    """How sure the detector is that it happened as it says."""

    HINT = "hint"
    LIKELY = "likely"
    SURE = "sure"


@dataclass(frozen=True, slots=True)
class Risk:
    """Where the severity comes from: score = danger * importance * novelty * confidence, see detectors/severity.py.

    equation: for people. overridden: a person has set the level; the equation says who and why.
    """

    score: float
    danger: float
    importance: float
    novelty: float
    confidence: float
    equation: Text
    overridden: bool = False

    @property
    def plain(self) -> bool:
        """Whether the rule's level alone decides."""
        return self.importance == self.novelty == self.confidence == 1 and not self.overridden


@dataclass(frozen=True, slots=True)
class Finding:
    """One claim of one detector about one source and destination.

    rule_id: stable, dotted ("operation.s7comm.stop"); rule_name, explanation: for people, in both languages. The
        explanation is one paragraph: what was seen, why it matters, what to check.
    first_ns, last_ns: capture time of the first and last event counted, ns since 1970 UTC; count >= 1.
    source_ip, destination_ip: who acted on whom (the asker and the asked), "" where that means nothing.
    station: device behind the address where the protocol has one (Modbus unit, DNP3 outstation), otherwise None.
    techniques: ATT&CK for ICS ids.
    fields: what else is worth filtering by, names of sensor/schema.py ("s7comm.service", "event.action", ...).
    capture: path of the capture it came from, "" on a live interface.
    problem: fingerprint of the problem that this record goes on with, where that was first told by another rule; "" for
        its own. absorbs: fingerprints of problems told before that turn out to be parts of this one.
    novelty, confidence: as its detector sees it. risk: what follows from them; the pipeline weighs every finding.
    """

    rule_id: str
    rule_name: Text
    severity: Severity
    protocol: str
    first_ns: int
    last_ns: int
    explanation: Text
    source_ip: str = ""  # or the hardware address, of messages straight on Ethernet
    source_port: int | None = None
    destination_ip: str = ""
    destination_port: int | None = None
    station: int | None = None
    techniques: tuple[str, ...] = ()
    count: int = 1
    fields: Mapping[str, Any] = field(default_factory=dict)
    evidence: Evidence = Evidence()
    capture: str = ""
    problem: str = ""
    absorbs: tuple[str, ...] = ()
    novelty: Novelty = Novelty.USUAL
    confidence: Confidence = Confidence.SURE
    risk: Risk | None = None

    @property
    def fingerprint(self) -> str:
        """Names the problem: findings with the same fingerprint are one problem, counted. 32 hex digits."""
        if self.problem:
            return self.problem
        operation = "|".join(f"{name}={self.fields[name]}" for name in sorted(self.fields))
        parts = (self.rule_id, self.source_ip, self.destination_ip, str(self.station), self.protocol, operation)
        return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class FindingId:
    """Sensor, epoch, gap-free sequence: loss becomes visible.

    sensor: the sensor's name; epoch: when its spool was created, seconds since 1970; sequence: from 1, without gaps.
    """

    sensor: str
    epoch: int
    sequence: int

    def __str__(self) -> str:
        return f"{self.sensor}/{self.epoch}/{self.sequence}"


MAC = re.compile("[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def rfc3339(ts_ns: int) -> str:
    """Nanoseconds since 1970 as RFC 3339 in UTC with microseconds; out of range gives the nearest representable."""
    ts_ns = min(max(ts_ns, 0), 253_402_300_799_000_000_000)
    whole = datetime.fromtimestamp(ts_ns // 1_000_000_000, tz=UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{ts_ns % 1_000_000_000 // 1000:06d}Z"


def _address(end: str, text: str) -> dict[str, str]:
    """The address of one end under its name: hardware addresses have another than those of IP."""
    if MAC.fullmatch(text):
        return {f"{end}.ip": "", f"{end}.mac": text}
    return {f"{end}.ip": text}


def _risk(risk: Risk | None) -> dict[str, Any]:
    """The risk as fields of the JSON form."""
    if risk is None:
        return {}
    factors = {name: getattr(risk, name) for name in ("danger", "importance", "novelty", "confidence")}
    return {
        "finding.risk": risk.score,
        "finding.risk_factors": factors,
        "finding.risk_equation": risk.equation.en,
        "finding.risk_equation_zh": risk.equation.zh,
        "finding.risk_overridden": risk.overridden or None,
    }


def to_dict(finding: Finding, finding_id: FindingId) -> dict[str, Any]:
    """The finding as the flat JSON object that is printed, spooled, sent and indexed. Absent things have no key."""
    line: dict[str, Any] = {
        "finding.id": str(finding_id),
        "finding.fingerprint": finding.fingerprint,
        "@timestamp": rfc3339(finding.first_ns),
        "finding.last_seen": rfc3339(finding.last_ns),
        "finding.count": finding.count,
        "rule.id": finding.rule_id,
        "rule.name": finding.rule_name.en,
        "rule.name_zh": finding.rule_name.zh,
        "rule.severity": finding.severity.word,
        **_address("source", finding.source_ip),
        "source.port": finding.source_port,
        **_address("destination", finding.destination_ip),
        "destination.port": finding.destination_port,
        "station": finding.station,
        "network.protocol": finding.protocol,
        "threat.technique.id": list(finding.techniques),
        "message": finding.explanation.en,
        "message_zh": finding.explanation.zh,
        "capture": finding.capture,
        **_risk(finding.risk),
        "fields": dict(finding.fields),
        "frames": list(finding.evidence.frames[:MAX_EVIDENCE_FRAMES]),
        "evidence.pdus": [dict(pdu) for pdu in finding.evidence.pdus[:MAX_EVIDENCE_PDUS]],
        "evidence.pcap": base64.b64encode(finding.evidence.pcap).decode() if finding.evidence.pcap else None,
    }
    required = {"source.ip", "destination.ip", "threat.technique.id", "frames"}
    return {key: value for key, value in line.items() if key in required or value not in (None, "", [], {})}
