"""Survey: everything that the checks ask about one run over frames."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import numpy as np
import numpy.typing as npt

from sensor.capture.frames import FrameBatch
from sensor.capture.pcap import empty_columns
from sensor.span import walk
from sensor.span.content import port_table
from sensor.span.fault import MAX_EXAMPLES
from sensor.span.tables import new_survey
from sensor.text import timestamp


class Survey:
    """One run over one source of frames, in constant memory.

    expected_vlans: VLAN identifiers that must be seen. seed: of the hashes, random unless given.
    damage: why the source ended before its time, "" if it did not. dropped: frames that the capturing machine lost.
    no_link: what is the matter with the interface that was listened on, "" for nothing. now_ns: how far time has come,
    where the source says so, on a live link also without frames.
    """

    def __init__(self, expected_vlans: Iterable[int] = (), seed: int | None = None) -> None:
        self.expected_vlans = frozenset(expected_vlans)
        self.damage = ""
        self.dropped = 0
        self.no_link = ""
        self.now_ns = 0
        self._records = new_survey(secrets.randbits(63) if seed is None else seed)
        self.state: Any = self._records[0]
        self.state.ports[:] = port_table()

    def prepare(self) -> None:
        """Compile what is not compiled yet: afterwards no frame waits for a compiler."""
        self.feed(FrameBatch(np.zeros(0, np.uint8), *empty_columns(0), first=1))
        walk.settle(self._records)

    def feed(self, batch: FrameBatch) -> None:
        """Count the frames of one batch. Never raises on traffic."""
        walk.walk(
            batch.data, batch.ts_ns, batch.offset, batch.captured, batch.wire, batch.link, batch.first, self._records
        )

    def settle(self) -> None:
        """No more frames will come; call once, before the checks."""
        walk.settle(self._records)

    def run(self, batches: Iterable[FrameBatch]) -> None:
        """Count all frames of a source, and settle."""
        for batch in batches:
            self.feed(batch)
            self.now_ns = max(self.now_ns, batch.clock_ns)
        self.settle()

    @property
    def counts(self) -> Any:
        """The COUNTS record."""
        return self.state.counts[0]

    @property
    def conversations(self) -> npt.NDArray[np.void]:
        """(n,) CONVERSATION rows."""
        rows: npt.NDArray[np.void] = self.state.conversations[: int(self.counts.conversations)]
        return rows

    @property
    def sides(self) -> npt.NDArray[np.void]:
        """(n, 2) SIDE rows: what endpoint a and endpoint b of each conversation sent."""
        count = int(self.counts.conversations)
        rows: npt.NDArray[np.void] = self.state.sides[: 2 * count].reshape(count, 2)
        return rows

    def ends(self, row: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """(family, high half, low half of the address, port) of endpoints a and b."""
        c = self.state.conversations[row]
        family = int(c.family)
        return (
            (family, int(c.a_hi), int(c.a_lo), int(c.a_port)),
            (family, int(c.b_hi), int(c.b_lo), int(c.b_port)),
        )

    def address(self, row: int, end: int) -> str:
        """An endpoint's address as text."""
        family, high, low, _ = self.ends(row)[end]
        if family == 4:
            return str(IPv4Address(low & 0xFFFFFFFF))
        if family == 6:
            return str(IPv6Address(high << 64 | low))
        return low.to_bytes(6, "big").hex(":")

    def name(self, row: int) -> str:
        """A conversation as text."""
        ports = [f":{end[3]}" if end[3] and end[0] != 48 else "" for end in self.ends(row)]
        addresses = [f"[{a}]" if port and ":" in a else a for a, port in zip(self._addresses(row), ports, strict=True)]
        return f"{addresses[0]}{ports[0]} - {addresses[1]}{ports[1]}"

    def _addresses(self, row: int) -> list[str]:
        return [self.address(row, 0), self.address(row, 1)]

    def busiest(
        self, rows: npt.NDArray[Any], ends: npt.NDArray[Any], weights: npt.NDArray[Any] | None = None
    ) -> list[str]:
        """Addresses of these endpoints, each once, those with the largest weight (frames, unless given) first."""
        if weights is None:
            weights = self.sides["frames"][rows, ends]
        totals: dict[str, int] = {}
        # Ordered first: of a flood of endpoints only the heaviest need a name.
        for k in np.argsort(-weights, kind="stable")[: 64 * MAX_EXAMPLES].tolist():
            address = self.address(int(rows[k]), int(ends[k]))
            totals[address] = totals.get(address, 0) + int(weights[k])
        return sorted(totals, key=lambda address: -totals[address])[:MAX_EXAMPLES]

    def peak_mbit(self) -> float:
        """Mbit/s in the busiest span of walk.PEAK_NS."""
        return float(f"{self.counts.peak_bytes * 8000 / walk.PEAK_NS:.3g}")

    @staticmethod
    def time(ts_ns: int) -> str:
        """A capture time as RFC 3339, whole seconds."""
        return timestamp(ts_ns).split(".")[0] + "Z"
