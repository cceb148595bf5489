"""A baseline as tables, so that behaviours are compared with it by columns."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors.baseline.book import Baseline, ExchangeLine, State, Way
from detectors.contract import Fresh, Labels
from detectors.keys import Keys
from sensor.decode.link import MAC48
from sensor.decode.pdu import Kind, Outcome, Protocol
from sensor.view import View

Rows = npt.NDArray[np.int64]


class Hosts:
    """Numbers of the baseline's hosts, found for rows of the host table."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self.addresses = list(addresses)
        parts = [_packed(address) for address in addresses]
        order = sorted(range(len(parts)), key=lambda at: parts[at][1])
        self._place = np.array(order, np.int32)
        self._high, self._low = (np.array([parts[at][half] for at in order], np.uint64) for half in (0, 1))
        self._family = np.array([parts[at][2] for at in order], np.uint8)
        self._number = Labels()
        self._fresh = Fresh()

    def numbers(self, view: View, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """Number of each host in `addresses`, -1 where the baseline does not know it."""
        hosts = view.hosts
        new = self._fresh.rows(hosts)
        if len(new):
            host = hosts[new]
            at, end = (np.searchsorted(self._low, host["lo"], side=side) for side in ("left", "right"))
            while (here := np.flatnonzero(at < end)).size:  # addresses of two families may share their low half
                known = at[here]
                same = (host["hi"][here] == self._high[known]) & (host["family"][here] == self._family[known])
                self._number[new[here[same]]] = self._place[known[same]]
                at = at + 1
        return self._number[rows]


def _packed(address: str) -> tuple[int, int, int]:
    """(high, low, family) of an address as the host table has it; family 0 of what is no address."""
    if address.count(":") == 5 and len(address) == 17:
        return 0, int(address.replace(":", ""), 16), MAC48
    try:
        ip = ip_address(address)
    except ValueError:
        return 0, 0, 0
    return (0, int(ip), 4) if ip.version == 4 else (int(ip) >> 64, int(ip) & ((1 << 64) - 1), 6)


class Types:
    """Kinds of exchanges in a run: behaviours with the same ends, station and codes. `rows`: behaviours, in order.

    number: of each row's type; first: position in `rows` of each type's first; known: whether the baseline has a line
    for it; client, server: numbers of its hosts in the baseline, -1 for strangers.
    """

    def __init__(self, rows: Rows, hashes: npt.NDArray[np.uint64], known: npt.NDArray[np.uint64],
                 client: npt.NDArray[np.int32], server: npt.NDArray[np.int32]) -> None:  # fmt: skip
        self.rows = rows
        distinct, self.first, self.number = np.unique(hashes, return_index=True, return_inverse=True)
        self.known = np.isin(distinct, known)
        self.client, self.server = client[self.first], server[self.first]
        self._order = np.argsort(self.number, kind="stable")
        self._begins = np.searchsorted(self.number[self._order], np.arange(len(distinct) + 1))

    def members(self, number: int) -> Rows:
        """The behaviours of one type."""
        return self.rows[self._order[self._begins[number] : self._begins[number + 1]]]


class Tables:
    """Lines of a baseline by what stands in columns. approved: numbers of hosts that people know of."""

    def __init__(self, baseline: Baseline) -> None:
        addresses = {it.address for it in baseline.hosts.values()}
        for line in baseline.exchanges.values():
            addresses |= {line.client, line.server}
        self.hosts = Hosts(sorted(addresses))
        number = {address: at for at, address in enumerate(self.hosts.addresses)}
        self._keys = Keys(7)
        self._lines: dict[tuple[int, ...], list[tuple[str, ExchangeLine]]] = {}
        self._pairs: dict[tuple[int, int, int], list[ExchangeLine]] = {}
        self._asked_by: dict[int, dict[str, None]] = {}
        asks, asked = set(), set()
        self.approved = {number[it.address] for it in baseline.hosts.values() if it.state is State.APPROVED}
        for name, line in baseline.exchanges.items():
            client, server = number[line.client], number[line.server]
            reports = int(line.way is Way.REPORTS)
            key = (client, server, int(line.protocol), line.station, line.function, line.subfunction, reports)
            self._lines.setdefault(key, []).append((name, line))
            self._pairs.setdefault(key[:3], []).append(line)
            if line.state is State.APPROVED:
                self.approved |= {client, server}
            if line.state is not State.REFUSED:
                asked.add(server)
                self._asked_by.setdefault(server, {})[line.client] = None
                if not reports:
                    asks.add(client)
        self._only_asked = asked - asks
        keys = np.array(list(self._lines), np.int64).reshape(-1, 7)
        self._known = self._keys.of([keys[:, at] for at in range(7)])

    def types(self, view: View, new: Rows) -> Types | None:
        """The kinds of requests and reports among behaviours; None where there are none."""
        table = view.behaviours.table
        outcome = table["outcome"][new]
        asks = (outcome == Outcome.ASKED) & (table["kind"][new] == Kind.REQUEST)
        rows = new[asks | (outcome == Outcome.UNSOLICITED)]
        if not len(rows):
            return None
        b = table.take(rows)
        client, server = self.hosts.numbers(view, b["client"]), self.hosts.numbers(view, b["server"])
        protocol = np.where(b["protocol"] == Protocol.MODBUS_RTU, int(Protocol.MODBUS), b["protocol"])
        columns = [
            np.where(client >= 0, client, -2 - b["client"]),  # strangers are told apart by their rows
            np.where(server >= 0, server, -2 - b["server"]),
            protocol, b["station"], b["function"], b["subfunction"], b["outcome"] == Outcome.UNSOLICITED,
        ]  # fmt: skip
        return Types(rows, self._keys.of(columns), self._known, client, server)

    def lines(self, client: int, server: int, b: Any) -> list[tuple[str, ExchangeLine]]:
        """The lines for a type, with their ids; several where its requests are different operations."""
        protocol = int(Protocol.MODBUS) if b.protocol == Protocol.MODBUS_RTU else int(b.protocol)
        reports = int(b.outcome == Outcome.UNSOLICITED)
        return self._lines.get(
            (client, server, protocol, int(b.station), int(b.function), int(b.subfunction), reports), []
        )

    def between(self, client: int, server: int, b: Any) -> list[ExchangeLine]:
        """All lines of two hosts in the protocol of a behaviour."""
        protocol = int(Protocol.MODBUS) if b.protocol == Protocol.MODBUS_RTU else int(b.protocol)
        return self._pairs.get((client, server, protocol), [])

    def only_asked(self, host: int) -> bool:
        """Whether a host is asked by others and never asks itself."""
        return host in self._only_asked

    def askers(self, host: int) -> list[str]:
        """Who asks a host."""
        return list(self._asked_by.get(host, {}))
