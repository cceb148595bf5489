"""Maintenance tickets: who may do what to which device, from when to when. What fits one is kept, and quiet.

    tickets:
      - id: CHG-2026-017
        who: [10.20.1.20]                  # addresses or networks
        device: [10.20.3.31, 10.20.2.0/24]
        station: 3                         # optional: only this device behind the address
        operations: [operation.s7comm.*, engineering.*]
        classes: [engineering, critical]   # operations, classes or both
        from: 2026-11-22T08:00:00+08:00
        to: 2026-11-22T12:00:00+08:00
        reason: new recipe block for press 3

A ticket that cannot be read is reported with file and line and quiets nothing; the others hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any

from detectors.content import Block, ContentError, load
from detectors.finding import Finding
from detectors.sigma.rule import CLASSES

MAX_TICKETS = 10_000
MAX_LISTED = 256  # addresses or operations of one ticket
MAX_TEXT = 300
_KEYS = ("id", "who", "device", "station", "operations", "classes", "from", "to", "reason")

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Ticket:
    """One planned change. begin_ns, end_ns: its window in ns since 1970 UTC, both ends included."""

    id: str
    who: tuple[Network, ...]
    devices: tuple[Network, ...]
    station: int | None
    operations: tuple[str, ...]
    classes: frozenset[str]
    begin_ns: int
    end_ns: int
    reason: str

    def fits(self, finding: Finding, kind: str) -> bool:
        """Whether all of what a finding says was planned: who, device, what, and when. kind: its operation's class."""
        return (
            self.begin_ns <= finding.first_ns
            and finding.last_ns <= self.end_ns
            and (kind in self.classes or any(fnmatchcase(finding.rule_id, it) for it in self.operations))
            and (self.station is None or self.station == finding.station)
            and _among(finding.source_ip, self.who)
            and _among(finding.destination_ip, self.devices)
        )


def _among(address: str, networks: Sequence[Network]) -> bool:
    try:
        ip = ip_address(address)
    except ValueError:  # nobody, or a hardware address
        return False
    return any(ip.version == network.version and ip in network for network in networks)


def load_tickets(path: Path) -> tuple[list[Ticket], list[ContentError]]:
    """(tickets, what is wrong with others) of a file; ContentError where it cannot be read at all."""
    content = load(path)
    content.only("tickets")
    items = content.get("tickets")
    if not isinstance(items, list) or len(items) > MAX_TICKETS:
        raise content.error(f"'tickets' must be a list of at most {MAX_TICKETS} tickets", "tickets")
    tickets: list[Ticket] = []
    errors: list[ContentError] = []
    for item in items:
        try:
            if not isinstance(item, Block):
                raise content.error("a ticket must be a mapping", "tickets")
            ticket = _ticket(item)
            if any(ticket.id == other.id for other in tickets):
                raise item.error(f"id {ticket.id!r} stands twice", "id")
            tickets.append(ticket)
        except ContentError as error:
            errors.append(error)
    return tickets, errors


def _ticket(block: Block) -> Ticket:
    block.only(*_KEYS)
    operations = tuple(_texts(block, "operations", required=False))
    classes = frozenset(_texts(block, "classes", required=False))
    if unknown := classes.difference(CLASSES):
        raise block.error(f"unknown class {min(unknown)!r}, expected one of: {', '.join(CLASSES)}", "classes")
    if "*" in operations or not (operations or classes):
        raise block.error("name the operations or classes that were planned: a ticket for everything hides attacks")
    station = block.get("station")
    if station is not None and (not isinstance(station, int) or isinstance(station, bool)):
        raise block.error("'station' must be a number", "station")
    begin_ns, end_ns = _time(block, "from"), _time(block, "to")
    if begin_ns >= end_ns:
        raise block.error("'to' must be later than 'from'", "to")
    name, reason = str(block.get("id", "")), block.text("reason")
    if not name or len(name) > MAX_TEXT or len(reason) > MAX_TEXT:
        raise block.error(f"'id' and 'reason' must be there, of at most {MAX_TEXT} characters", "id")
    return Ticket(
        name,
        _networks(block, "who"),
        _networks(block, "device"),
        station,
        operations,
        classes,
        begin_ns,
        end_ns,
        reason,
    )


def _texts(block: Block, key: str, *, required: bool = True) -> list[str]:
    value = block.get(key, [])
    items = value if isinstance(value, list) else [value]
    if (required and not items) or len(items) > MAX_LISTED or not all(isinstance(it, str) and it for it in items):
        raise block.error(f"{key!r} must be a text or a list of 1 to {MAX_LISTED} texts", key)
    return items


def _networks(block: Block, key: str) -> tuple[Network, ...]:
    try:
        return tuple(ip_network(it, strict=False) for it in _texts(block, key))
    except ValueError as error:
        raise block.error(f"{key!r} must be addresses or networks: {error}", key) from None


def _time(block: Block, key: str) -> int:
    value: Any = block.get(key)
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        if moment.tzinfo is None:
            raise ValueError
        since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    except ValueError:
        raise block.error(
            f"{key!r} must be a time with its zone, such as 2026-01-31T08:00:00+08:00, got {str(value)!r}", key
        ) from None
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000
