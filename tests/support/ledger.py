"""What a sensor made, what a console has, what the ledger says is lost: they must add up, to the unit."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from random import Random
from typing import Any

from sensor.spool import Spool
from sensor.spool_files import LOSS, SEVERITIES, Record
from sensor.spool_loss import Loss

EPOCH = 1_764_000_000
WORDS = {weight: word for word, weight in SEVERITIES.items()}


def graded(rule: str, severity: int, text: str = "", events: int = 1) -> Any:
    """What a detector would have the spool build."""

    def build(sequence: int) -> dict[str, Any]:
        fields = {"rule.id": rule, "rule.severity": WORDS[severity], "finding.count": events, "message": text}
        return {"finding.id": f"s/{EPOCH}/{sequence}", **fields}

    return build


def noise(chance: Random, length: int) -> str:
    """Text that cannot be compressed to less than half."""
    return "".join(chance.choices("0123456789abcdef", k=length))


def told(loss: Loss) -> dict[str, Any]:
    """A loss as the JSON object that is sent."""
    tally = [[rule, severity, *counts] for (rule, severity), counts in loss.tally.items()]
    return {"finding.id": f"s/{EPOCH}/{loss.last}", "why": loss.why, "of": loss.findings, "tally": tally}


class Books:
    """A console that stores by sequence, each one once, whatever comes how often and in which order."""

    def __init__(self) -> None:
        self.known: dict[int, str] = {}  # sequence to rule, or to why it is lost
        self.stored: Counter[tuple[str, int]] = Counter()
        self.events: Counter[tuple[str, int]] = Counter()
        self.lost: Counter[tuple[str, int]] = Counter()
        self.lost_events: Counter[tuple[str, int]] = Counter()
        self.untold = 0  # lost, and nobody knows of which rule
        self.arrived = 0

    @property
    def acknowledged(self) -> int:
        """The highest sequence without a gap below it."""
        end = 0
        while end + 1 in self.known:
            end += 1
        return end

    def take(self, records: Iterable[Record]) -> int:
        """A batch."""
        for record in records:
            self.arrived += 1
            value = json.loads(record.line)
            if record.severity == LOSS:
                self._take_loss(record, value)
            elif record.sequence not in self.known:
                key = (value["rule.id"], SEVERITIES[value["rule.severity"]])
                assert value["finding.id"].endswith(f"/{record.sequence}")
                self.known[record.sequence] = key[0]
                self.stored[key] += 1
                self.events[key] += value["finding.count"]
        return self.acknowledged

    def _take_loss(self, record: Record, value: Mapping[str, Any]) -> None:
        new = [number for number in range(record.first, record.sequence + 1) if number not in self.known]
        self.known |= dict.fromkeys(new, value["why"])
        if len(new) < record.span or not value["tally"]:
            self.untold += len(new)
            return
        assert sum(findings for _, _, findings, _ in value["tally"]) == record.span
        for rule, severity, findings, events in value["tally"]:
            self.lost[rule, severity] += findings
            self.lost_events[rule, severity] += events

    def drain(self, spool: Spool) -> None:
        """Take everything that is safe."""
        while records := spool.batch(50, 1 << 20):
            spool.acknowledge(self.take(records))
