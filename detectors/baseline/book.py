"""A baseline as it is held in memory: lines that people can read and decide upon, one by one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from detectors.baseline.extents import Extents
from sensor.decode.pdu import Protocol, family

MAX_LINES = 10_000  # a plant has hundreds; a flood while learning is cut off here, counted, and told
MAX_MACS = 8  # hardware addresses of one host: redundant pairs have two
MAX_EVIDENCE = 3  # places where a line can be looked up


class State(StrEnum):
    """What people have decided about a line. Only approved lines count as normal."""

    LEARNED = "learned"
    APPROVED = "approved"
    REFUSED = "refused"


class Way(StrEnum):
    """Who takes the initiative: the client asks the server, or the server reports unasked."""

    ASKS = "asks"
    REPORTS = "reports"


@dataclass(slots=True)
class Line:
    """What every line has. count: how often it was seen; times in ns since 1970 UTC; evidence: "capture frame 12".

    by, reason, decided_ns: who approved or refused it, why and when.
    """

    count: int = 0
    first_ns: int = 0
    last_ns: int = 0
    evidence: list[str] = field(default_factory=list)
    state: State = State.LEARNED
    by: str = ""
    reason: str = ""
    decided_ns: int = 0

    def seen(self, count: int, first_ns: int, last_ns: int, evidence: Iterable[str] = ()) -> None:
        """Add what was seen of it once more."""
        if count:
            self.first_ns = min(self.first_ns, first_ns) if self.count else first_ns
            self.last_ns = max(self.last_ns, last_ns)
            self.count += count
        for place in evidence:
            if place not in self.evidence and len(self.evidence) < MAX_EVIDENCE:
                self.evidence.append(place)

    def reopen(self, other: Line) -> None:
        """What was approved has grown: somebody must look at it again, unless the other was approved too."""
        if self.state is State.APPROVED and other.state is not State.APPROVED:
            self.decide(State.LEARNED, "", "", 0)

    def decide(self, state: State, by: str, reason: str, now_ns: int) -> None:
        """Note a person's decision."""
        self.state, self.by, self.reason, self.decided_ns = state, by, reason, now_ns


@dataclass(slots=True)
class HostLine(Line):
    """A host: its address, its hardware addresses where known, and whether it asks, is asked, or both."""

    address: str = ""
    macs: list[str] = field(default_factory=list)
    asks: bool = False
    asked: bool = False

    @property
    def identity(self) -> tuple[Any, ...]:
        """What makes it this line and no other."""
        return ("host", self.address)

    def merge(self, other: HostLine) -> None:
        """Add what another run saw of the same host."""
        self.seen(other.count, other.first_ns, other.last_ns, other.evidence)
        self.asks |= other.asks
        self.asked |= other.asked
        macs = sorted({*self.macs, *other.macs})[:MAX_MACS]
        if self.macs and macs != self.macs:
            self.reopen(other)
        self.macs = macs


@dataclass(slots=True)
class ExchangeLine(Line):
    """Who asks what of whom.

    station: the device behind the address as the kernel's column has it, -1 where there is none. function, subfunction:
    the protocol's codes; name: the same for people. operation, kind: id and class of the operation that the rules know
    it as, "" where they know none. values: lowest and highest first value of a write, a hint. period_s, jitter_s: mean
    and standard deviation of the time between two of them, 0 where there is no rhythm.
    """

    client: str = ""
    server: str = ""
    protocol: Protocol = Protocol.NONE
    station: int = -1
    way: Way = Way.ASKS
    function: int = -1
    subfunction: int = -1
    name: str = ""
    operation: str = ""
    kind: str = ""
    objects: Extents = field(default_factory=Extents)
    values: tuple[int, int] | None = None
    period_s: float = 0.0
    jitter_s: float = 0.0

    @property
    def identity(self) -> tuple[Any, ...]:
        """What makes it this line and no other."""
        return (
            "exchange", self.client, self.server, family(self.protocol).name, self.station, self.way.value,
            self.function, self.subfunction, self.operation,
        )  # fmt: skip

    def merge(self, other: ExchangeLine) -> None:
        """Add what another run saw of the same exchange; the rhythm is that of the run with more of it."""
        if other.period_s and (not self.period_s or other.count > self.count):
            self.period_s, self.jitter_s = other.period_s, other.jitter_s
        self.seen(other.count, other.first_ns, other.last_ns, other.evidence)
        if not all(self.objects.covers(it) for it in other.objects):
            self.reopen(other)
        self.objects.add(other.objects)
        if other.values:
            low, high = self.values or other.values
            self.values = min(low, other.values[0]), max(high, other.values[1])


def line_id(line: HostLine | ExchangeLine) -> str:
    """A line's name: 10 hex digits that depend on what it says, not on how often it was seen."""
    text = "\x1f".join(str(part) for part in line.identity)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


class Baseline:
    """Lines by id. sources: what it was learned from. left_out: exchanges beyond MAX_LINES, which are not in it."""

    def __init__(self) -> None:
        self.hosts: dict[str, HostLine] = {}
        self.exchanges: dict[str, ExchangeLine] = {}
        self.sources: list[str] = []
        self.first_ns = 0
        self.last_ns = 0
        self.left_out = 0

    def __len__(self) -> int:
        return len(self.hosts) + len(self.exchanges)

    def __iter__(self) -> Iterator[tuple[str, HostLine | ExchangeLine]]:
        """All lines with their ids, hosts first, in a stable order."""
        yield from sorted(self.hosts.items(), key=lambda it: it[1].identity)
        yield from sorted(self.exchanges.items(), key=lambda it: it[1].identity)

    def get(self, name: str) -> HostLine | ExchangeLine | None:
        """The line of this id."""
        return self.hosts.get(name) or self.exchanges.get(name)

    def put(self, line: HostLine | ExchangeLine) -> None:
        """Put a line in, or add it to the one of the same identity."""
        name = line_id(line)
        if isinstance(line, HostLine):
            if host := self.hosts.get(name):
                host.merge(line)
            elif self._room():
                self.hosts[name] = line
        elif exchange := self.exchanges.get(name):
            exchange.merge(line)
        elif self._room():
            self.exchanges[name] = line

    def _room(self) -> bool:
        full = len(self) >= MAX_LINES
        self.left_out += full
        return not full

    def merge(self, other: Baseline) -> None:
        """Add everything that another run learned. Decisions stand, unless a line has grown."""
        for _, line in other:
            self.put(line)
        self.sources += [it for it in other.sources if it not in self.sources]
        times = [it for it in (self.first_ns, other.first_ns) if it]
        self.first_ns = min(times, default=0)
        self.last_ns = max(self.last_ns, other.last_ns)
        self.left_out += other.left_out


DANGEROUS = frozenset({"critical", "engineering"})  # classes of operations that are never learned silently


def dangerous(line: HostLine | ExchangeLine) -> bool:
    """Whether a line needs an approval of its own."""
    return isinstance(line, ExchangeLine) and line.kind in DANGEROUS
