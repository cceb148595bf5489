"""IEC 104 sequence numbers that do not follow each other: somebody puts APDUs into a connection, or takes some out.

Each side counts its I-format APDUs from the beginning of the connection (IEC 60870-5-104:2006, 5.1). Catches a number
that is used again, and numbers left out although no byte of the TCP stream is missing. Blind to an injector that counts
on, and behind it to what the real station then says. Looks at rows of IEC 104 only. Techniques: T0856, T0830.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from detectors.attacks.cases import CaseDetector
from detectors.contract import Scene
from sensor.decode.pdu import Anomaly, Protocol
from sensor.events import EventBatch
from sensor.records import Growing

ENOUGH = 2  # breaks between two hosts: one may be a capture that began or lost a segment unseen
MODULUS = 1 << 15
UNSOUND = Anomaly.GAP | Anomaly.TRUNCATED | Anomaly.LENGTH
MOST = 1024  # breaks of one batch that are counted one by one
IEC104 = int(Protocol.IEC104)


class Iec104Sequence(CaseDetector):
    """See the module."""

    name = "iec104_sequence"

    def __init__(self) -> None:
        super().__init__()
        self._numbers = Growing(np.int32, -1)  # 2 * conversation + forward -> the last number seen
        self._last = self._numbers.values
        self._recycled = 0
        self._breaks: dict[tuple[int, int], int] = {}

    def _look(self, batch: EventBatch, scene: Scene) -> None:
        rows = np.flatnonzero(batch.columns.protocol == IEC104)
        if len(rows):
            self._follow(batch, rows, scene)

    def _follow(self, batch: EventBatch, rows: npt.NDArray[np.int64], scene: Scene) -> None:
        if scene.view.recycled != self._recycled:  # rows may stand for others now
            self._recycled = scene.view.recycled
            self._last[:] = -1
        self._last = self._numbers.grow(2 * len(scene.view.conversations))
        c = batch.columns
        sent = _send_sequence(batch, rows)
        rows, sent = rows[sent >= 0], sent[sent >= 0]
        if not len(rows):
            return
        side = 2 * c.conversation[rows].astype(np.int64) + c.forward[rows]
        order = np.argsort(side, kind="stable")
        rows, sent, side = rows[order], sent[order], side[order]
        begins = np.concatenate([[True], side[1:] != side[:-1]])
        before = np.concatenate([[-1], sent[:-1]])
        before[begins] = self._last[side[begins]]
        self._last[side[np.concatenate([begins[1:], [True]])]] = sent[np.concatenate([begins[1:], [True]])]
        # A connection that begins anew under the same ports counts from 0 again.
        odd = (before >= 0) & (sent != (before + 1) % MODULUS) & (sent != 0) & ((c.anomalies[rows] & UNSOUND) == 0)
        for at in np.flatnonzero(odd)[:MOST].tolist():
            self._broken(batch, int(rows[at]), int(before[at]), int(sent[at]), scene)

    def _broken(self, batch: EventBatch, row: int, before: int, sent: int, scene: Scene) -> None:
        c = batch.columns
        talk = scene.view.conversations[int(c.conversation[row])]
        sender, receiver = int(talk.a_host), int(talk.b_host)
        if not c.forward[row]:
            sender, receiver = receiver, sender
        key = (sender, receiver)
        if key not in self._breaks and len(self._breaks) >= MOST:
            return
        self._breaks[key] = self._breaks.get(key, 0) + 1
        case = self._cases.known("iec104.sequence", key)
        if case is None and self._breaks[key] < ENOUGH:
            return
        first = case is None
        case = self._cases.case(
            scene, "iec104.sequence", key, protocol="iec104", source_ip=scene.view.host(sender),
            destination_ip=scene.view.host(receiver),
        )  # fmt: skip
        case.values = {"seen": str((before + 1) % MODULUS), "other": str(sent)}
        case.problem.add(self._breaks[key] if first else 1, int(c.ts_ns[row]), int(c.ts_ns[row]))
        scene.show(case.problem.exhibit, batch, (row,))


def _send_sequence(batch: EventBatch, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """N(S) of each row; -1 where it is no I format."""
    at = batch.columns.pdu_at[rows]
    low, high = np.ones(len(rows), np.int32), np.zeros(len(rows), np.int32)
    long = batch.columns.pdu_length[rows] >= 4
    for buffer, mine, begin in ((batch.frames, long & (at >= 0), at), (batch.assembled, long & (at < 0), ~at)):
        if mine.any():
            low[mine], high[mine] = buffer[begin[mine] + 2], buffer[begin[mine] + 3]
    found: npt.NDArray[np.int32] = np.where(low & 1, -1, low >> 1 | high << 7).astype(np.int32)
    return found
