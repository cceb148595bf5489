"""A record as the rows that it would make: all that takes time and needs no transaction, done before one begins."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from console.services.intake import FindingRecord
from console.store.engine import json_text
from console.store.many import Ready
from console.store.packed import Packed, packed, packed_list
from console.store.search.document import tokens
from console.store.storable import storable


@dataclass(slots=True)
class Draft:
    """A checked record; what a row of its own would hold is made when it is asked for, or by `finish`."""

    record: FindingRecord
    _values: dict[str, Any] | None = None
    _words: Ready | None = None
    _evidence: dict[str, Packed | Ready] | None = None
    _digest: int | None = None

    def finish(self) -> None:
        """Do now what would be done when the row is made: for a record that will probably make one."""
        self.words()
        self.evidence()

    def values(self) -> dict[str, Any]:
        """The columns of its row that follow from it alone."""
        if self._values is None:
            self._values = _values(self.record)
        return self._values

    def words(self) -> Ready:
        """The tokens by which its row is found."""
        if self._words is None:
            self._words = Ready(storable(tokens(SimpleNamespace(**self.values()))))
        return self._words

    def evidence(self) -> dict[str, Packed | Ready]:
        """The columns of its evidence that follow from it alone."""
        if self._evidence is None:
            record = self.record
            self._evidence = {
                "frames": _json(record.frames),
                "pdus": packed_list(json_text(record.pdus)),
                "pcap": packed(record.pcap),
            }
        return self._evidence

    def digest(self) -> int:
        """What its receipt keeps of what it says."""
        if self._digest is None:
            self._digest = digest(self.record)
        return self._digest


def digest(record: FindingRecord) -> int:
    """64 bits of what a record says, so that the same identity with another content is told from a repeat."""
    said = f"{record.fingerprint} {record.first_seen} {record.last_seen} {record.count} {record.message}"
    return int.from_bytes(hashlib.blake2b(said.encode(), digest_size=8).digest(), signed=True)


def _json(value: Any) -> Ready:
    return Ready(storable(json_text(value)))


def _values(record: FindingRecord) -> dict[str, Any]:
    return {
        "uid": str(record.id),
        "fingerprint": record.fingerprint,
        "severity": int(record.severity),
        "first_seen": record.first_seen,
        "last_seen": max(record.first_seen, record.last_seen),
        "count": record.count,
        "source_ip": record.source_ip or record.source_mac,
        "source_port": record.source_port,
        "destination_ip": record.destination_ip or record.destination_mac,
        "destination_port": record.destination_port,
        "station": record.station,
        "risk": _json(risk(record)),
        "capture": record.capture,
        **rule(record),
        **told(record),
    }


def rule(record: FindingRecord) -> dict[str, Any]:
    """Columns of what the record claims."""
    return {
        "rule_id": record.rule_id,
        "rule_name_en": record.rule_name,
        "rule_name_zh": record.rule_name_zh or record.rule_name,
        "protocol": record.protocol,
        "techniques": record.techniques,
        "fields": record.fields,
    }


def told(record: FindingRecord) -> dict[str, Any]:
    """Columns of how it explains that."""
    return {
        "message_en": record.message,
        "message_zh": record.message_zh or record.message,
        "techniques": record.techniques,
    }


def risk(record: FindingRecord) -> Mapping[str, Any]:
    """Where the severity comes from, as it is kept; empty where the sensor did not say."""
    if record.risk is None:
        return {}
    return {
        "score": record.risk,
        "factors": record.risk_factors,
        "en": record.risk_equation,
        "zh": record.risk_equation_zh or record.risk_equation,
        "overridden": record.risk_overridden,
    }
