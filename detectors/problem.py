"""A problem: what one detector claims about one source and destination, counted while it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detectors.evidence import Exhibit
from detectors.finding import Finding, Severity, Text
from detectors.knowledge import NOTHING, Rule

FIRST_PAUSE_NS = 10 * 10**9  # between the first and the second record of a problem that goes on, in capture time
LAST_PAUSE_NS = 3600 * 10**9  # the pause doubles up to this
DNP3_BROADCASTS = range(0xFFFD, 0x10000)  # IEEE 1815, 9.2.5.2.1


class Problem:
    """Counts what belongs to one fingerprint and makes the records that are sent about it.

    The first record goes out at once; while the problem goes on further ones follow at growing pauses. Each carries the
    additional count, so that sums are exact.
    """

    def __init__(self, rule: Rule, exhibit: Exhibit, **who: Any) -> None:
        """who: the fields of Finding that say where: protocol, source_ip, destination_ip, station, fields, ..."""
        self.rule, self.exhibit, self.who = rule, exhibit, who
        self.techniques: tuple[str, ...] = ()  # instead of the rule's
        self.values: dict[str, Any] = {}  # what the rule's texts may name, the same in every record
        self.total = 0
        self._open = 0
        self.began_ns: int | None = None  # of the first event of all
        self._first_ns = self._last_ns = 0
        self._next_ns: int | None = None
        self._pause_ns = FIRST_PAUSE_NS

    def add(self, count: int, first_ns: int, last_ns: int) -> None:
        """Count what happened between two capture times, in either order: a capture's clock may jump back."""
        if count <= 0:
            return
        first_ns, last_ns = min(first_ns, last_ns), max(first_ns, last_ns)
        self._first_ns = min(self._first_ns, first_ns) if self._open else first_ns
        self._last_ns = max(self._last_ns, last_ns) if self._open else last_ns
        self.began_ns = first_ns if self.began_ns is None else min(self.began_ns, first_ns)
        self._open += count
        self.total += count

    def due(self, now_ns: int) -> bool:
        """Whether a record should go out now."""
        return self._open > 0 and (self._next_ns is None or now_ns >= self._next_ns)

    @property
    def open(self) -> bool:
        """Whether something was counted that no record carries yet."""
        return self._open > 0

    def record(
        self,
        now_ns: int,
        values: Mapping[str, Any],
        more: Text = NOTHING,
        severity: Severity | None = None,
    ) -> Finding:
        """The record of what was counted since the last one. values: what the rule's texts may name besides `who`."""
        count, self._open = self._open, 0
        if self._next_ns is not None:
            self._pause_ns = min(2 * self._pause_ns, LAST_PAUSE_NS)
        self._next_ns = now_ns + self._pause_ns
        named = {
            "source": self.who.get("source_ip"),
            "destination": self.who.get("destination_ip"),
            "station": station_words(self.who["protocol"], self.who.get("station")),
            "port": self.who.get("destination_port"),
            "count": self.total,
            **self.values,
            **values,
        }
        return Finding(
            rule_id=self.rule.id,
            rule_name=self.rule.name,
            severity=self.rule.severity if severity is None else severity,
            techniques=self.techniques or self.rule.techniques,
            first_ns=self._first_ns,
            last_ns=self._last_ns,
            explanation=self.rule.explain(named, more),
            count=count,
            evidence=self.exhibit.take(),
            **self.who,
        )


def station_words(protocol: str, station: int | None) -> Text | None:
    """The device behind the address, in the words of its protocol."""
    if station is None:
        return None
    if protocol == "bacnet":
        if station < 1 << 48:
            return Text(f"设备 {station}", f"device {station}")
        network, address = station >> 48, station & 0xFFFFFFFFFFFF
        return Text(f"网络 {network} 地址 {address:02X}", f"network {network} address {address:02X}")
    if protocol != "dnp3":
        return Text(f"单元 {station}", f"unit {station}")
    if station in DNP3_BROADCASTS:
        return Text(f"广播地址 {station}", f"broadcast address {station}")
    return Text(f"子站 {station}", f"outstation {station}")
