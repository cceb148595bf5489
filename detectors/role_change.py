"""Role change: a device that was only ever asked begins to ask others.

A field device answers; one that starts to read other devices explores them for somebody who got hold of it, or of its
address. Who writes or commands is left to new_writer.py, which weighs that more. Learning is the same: of a device that
just appeared nothing is claimed. Blind to gateways and controllers that have asked from the beginning. Looks at new
behaviours of protocols in which roles are fixed. Techniques: T0848, T0846.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from detectors import knowledge
from detectors.contract import Fresh, Labels, Scene, ends
from detectors.finding import Finding
from detectors.keys import distinct
from detectors.new_writer import LEARN_MIN_S, LEARN_SHARE, MIN_EXCHANGES
from detectors.problem import Problem
from detectors.roles import FETCHED_BY_DEVICE, Roles
from sensor.decode.pdu import Kind, Outcome, Protocol, family
from sensor.events import EventBatch

PROTOCOLS = (Protocol.MODBUS, Protocol.MODBUS_RTU, Protocol.S7COMM)
MAX_CHANGED = 1024  # devices told; a network in which more of them change is another network
MOST_SHOWN = 20  # behaviours of one device shown as evidence


class _Changed(NamedTuple):
    """A device that was asked and asks. host: row of the host table; row: the first behaviour that it asked for."""

    host: int
    row: int
    first_ns: int


class RoleChange:
    """See the module. learn_s: seconds on a live link; None: a share of the span, judged at the end."""

    name = "role_change"

    def __init__(self, learn_s: float | None = None, share: float = LEARN_SHARE) -> None:
        self._learn_ns = None if learn_s is None else int(max(learn_s, LEARN_MIN_S) * 1e9)
        self._share = share
        self._rule = knowledge.detector_rules()["role.device-asks"]
        self._roles = Roles()
        self._fresh = Fresh()
        self._asked = Labels()  # by host: 1 where it has been asked for something and has answered
        self._asks = Labels()  # by host: 1 where it has asked
        self._waiting: list[_Changed] = []

    def observe(self, batch: EventBatch, scene: Scene) -> Iterator[Finding]:
        """See Detector."""
        self._learn(scene)
        if self._learn_ns is not None and self._waiting:
            yield from self._judge(scene, self._learn_ns)

    def flush(self, scene: Scene) -> Iterator[Finding]:
        """See Detector."""
        self._learn(scene)
        learn_ns = self._learn_ns
        if learn_ns is None:
            learn_ns = max(int(max(scene.now_ns - scene.start_ns, 0) * self._share), int(LEARN_MIN_S * 1e9))
        yield from self._judge(scene, learn_ns)

    def _learn(self, scene: Scene) -> None:
        """Who asks and who is asked among behaviours that are new."""
        table = scene.view.behaviours.table
        new = self._fresh.rows(table)
        new = new[np.isin(table["protocol"][new], PROTOCOLS)]
        if not len(new):
            return
        b = table.take(new)
        codes = b["protocol"].astype(np.int64) << 16 | (b["function"] & 0xFFFF)
        own = np.isin(codes, [protocol << 16 | function for protocol, function in FETCHED_BY_DEVICE])
        requests = new[(b["kind"] == Kind.REQUEST) & (b["outcome"] == Outcome.ASKED) & ~own]
        self._asked[b["server"][(b["outcome"] == Outcome.ANSWERED) & ~own]] = 1
        clients, first = np.unique(table["client"][requests], return_index=True)
        for host, row in zip(clients.tolist(), requests[first].tolist(), strict=True):
            if self._asks[host] < 0 and self._asked[host] > 0 and len(self._waiting) < MAX_CHANGED:
                self._waiting.append(_Changed(host, row, int(table["first_ns"][row])))
        self._asks[clients] = 1

    def _judge(self, scene: Scene, learn_ns: int) -> Iterator[Finding]:
        """What is to be said of devices that began to ask; each is judged once."""
        waiting, self._waiting = self._waiting, []
        table = scene.view.behaviours.table
        for it in waiting:
            polled = table.take(np.flatnonzero((table["server"] == it.host) & (table["kind"] == Kind.REQUEST)))
            before = polled[polled["first_ns"] < it.first_ns]
            asks = np.flatnonzero((table["client"] == it.host) & (table["kind"] == Kind.REQUEST))
            if int(before["count"].sum()) < MIN_EXCHANGES or it.first_ns - int(before["first_ns"].min()) < learn_ns:
                continue
            if self._roles.commands(scene.view, asks):
                continue
            b = table.take(asks)
            fields = scene.view.behaviours.describe(it.row)
            problem = Problem(
                self._rule,
                scene.exhibit(),
                protocol=family(int(table["protocol"][it.row])).name.lower(),
                **ends(fields),
            )
            problem.add(int(b["count"].sum()), int(b["first_ns"].min()), int(b["last_ns"].max()))
            for row in asks[:MOST_SHOWN].tolist():
                described = scene.view.behaviours.describe(row)
                number = int(table["first_frame"][row])
                scene.show_frame(problem.exhibit, number, ({"frame": number, **described},))
            learned = (it.first_ns - int(before["first_ns"].min())) // 10**9
            values = {"learned": learned, "protocol": problem.who["protocol"], "distinct": len(distinct(b["server"]))}
            yield problem.record(scene.now_ns, values)
