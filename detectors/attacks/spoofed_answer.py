"""Spoofed answers: one request, two answers that differ.

Catches a second answer under the number of a request that was answered within the last seconds, with other content: the
device and somebody else both answered, or a host in between let both through. Blind to an impostor whose answer alone
arrives, to answers that are the same, to clients that use one number for all requests, and where so much is said that
the first answer is not remembered any more. Looks at answers without a request only, which are rare. Techniques: T0856,
T0830.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.attacks.cases import CaseDetector
from detectors.contract import Scene, ends, station_of
from sensor.decode.pdu import Anomaly, Kind, Protocol, family
from sensor.events import EventBatch

WITHIN_NS = 10 * 10**9  # of the first answer
MOST = 256  # second answers of one batch that are compared
PAST_ROWS = 1 << 14  # events that are remembered at least
NUMBERED = (Protocol.MODBUS, Protocol.S7COMM, Protocol.DNP3, Protocol.MMS, Protocol.OPCUA)
UNSOUND = Anomaly.GAP | Anomaly.LENGTH | Anomaly.TRUNCATED | Anomaly.CHECKSUM | Anomaly.ILLEGAL | Anomaly.SPLIT


class _Past(NamedTuple):
    """What is remembered of a batch: columns of the same length."""

    ts_ns: npt.NDArray[np.int64]
    frame: npt.NDArray[np.int64]
    conversation: npt.NDArray[np.int32]
    protocol: npt.NDArray[np.uint8]
    kind: npt.NDArray[np.uint8]
    function: npt.NDArray[np.int32]
    station: npt.NDArray[np.int64]
    transaction: npt.NDArray[np.int64]
    request: npt.NDArray[np.int64]
    anomalies: npt.NDArray[np.uint32]


class _Near(NamedTuple):
    """The part of a past that is compared. place: where it stands in it. torn, torn_ns: events behind missing bytes."""

    past: _Past
    place: npt.NDArray[np.int64]
    torn: npt.NDArray[np.int32]
    torn_ns: npt.NDArray[np.int64]


class SpoofedAnswer(CaseDetector):
    """See the module."""

    name = "spoofed_answer"

    def __init__(self) -> None:
        super().__init__()
        self._past: deque[_Past] = deque()
        self._rows = 0

    def _look(self, batch: EventBatch, scene: Scene) -> None:
        if not batch.size:
            return
        columns = [getattr(batch.columns, name) for name in _Past._fields]
        rows = np.flatnonzero((batch.columns.anomalies & (Anomaly.ORPHAN | UNSOUND)) == Anomaly.ORPHAN)[:MOST]
        if len(rows):
            rows = rows[np.isin(batch.columns.protocol[rows], NUMBERED)]
            near = [_near(past, batch, rows) for past in (*self._past, _Past(*columns))]
            for row in rows.tolist():
                self._judge(batch, row, near, scene)
        kept = _Past(*(column[-PAST_ROWS:].copy() for column in columns))  # the batch's own are used again
        self._past.append(kept)
        self._rows += len(kept.ts_ns)
        while self._rows - len(self._past[0].ts_ns) >= PAST_ROWS:
            self._rows -= len(self._past.popleft().ts_ns)

    def _judge(self, batch: EventBatch, row: int, near: list[_Near], scene: Scene) -> None:
        """Look for the answer that came before this one. near: what of the past may have to do with it."""
        c = batch.columns
        if _incomplete(batch, row, near, scene):
            return
        requests, answers = 0, []
        for past, place, _, _ in near:
            same = (
                (past.conversation == c.conversation[row])
                & (past.transaction == c.transaction[row])
                & (past.station == c.station[row])
                & (past.protocol == c.protocol[row])
                & (np.abs(past.ts_ns - c.ts_ns[row]) <= WITHIN_NS)
            )
            if past is near[-1].past:
                same &= place < row
            requests += int((same & (past.kind == Kind.REQUEST)).sum())
            paired = same & (past.kind == Kind.RESPONSE) & (past.request >= 0) & ((past.anomalies & UNSOUND) == 0)
            answers += [(past, at) for at in np.flatnonzero(paired).tolist()]
        if requests != 1 or len(answers) != 1 or c.function[row] < 0:  # S7 user data goes on under its number
            return
        first, at = answers[0]
        before = scene.frame(int(first.frame[at]))
        if first.function[at] != c.function[row] or before is None or batch.pdu(row) in before:
            return
        behaviour = int(c.behaviour[row])
        b = scene.view.behaviours.table[behaviour]
        who = ends(scene.view.behaviours.describe(behaviour))
        case = self._cases.case(
            scene,
            "spoof.answer",
            (int(b.client), int(b.server), int(b.protocol), int(b.station)),
            protocol=family(int(b.protocol)).name.lower(),
            source_ip=who["destination_ip"],
            destination_ip=who["source_ip"],
            station=station_of(int(b.protocol), int(b.station)),
        )
        case.values = {"sequence": int(c.transaction[row])}
        case.problem.add(1, int(first.ts_ns[at]), int(c.ts_ns[row]))
        scene.show_frame(case.problem.exhibit, int(first.frame[at]))
        scene.show(case.problem.exhibit, batch, (row,))


def _near(past: _Past, batch: EventBatch, rows: npt.NDArray[np.int64]) -> _Near:
    """What of a past may have to do with these answers: there are few of them, and their numbers are rare."""
    conversation, transaction = batch.columns.conversation[rows], batch.columns.transaction[rows]
    place = np.flatnonzero(np.isin(past.transaction, transaction) & np.isin(past.conversation, conversation))
    torn = np.flatnonzero((past.anomalies & Anomaly.GAP) != 0)
    return _Near(_Past._make(column[place] for column in past), place, past.conversation[torn], past.ts_ns[torn])


def _incomplete(batch: EventBatch, row: int, near: list[_Near], scene: Scene) -> bool:
    """Whether bytes of the conversation are missing: then a request may be read after its answer, or never."""
    c = batch.columns
    parked = scene.view.parked
    conversation = int(c.conversation[row])
    if parked[2 * conversation] or parked[2 * conversation + 1]:
        return True
    return any(((it.torn == conversation) & (np.abs(it.torn_ns - c.ts_ns[row]) <= WITHIN_NS)).any() for it in near)
