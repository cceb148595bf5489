"""S7comm-plus: an S7-1200 or S7-1500 that is told to stop or to run.

Engineering tools do so by writing one attribute of the object that executes the program. Its numbers are in common use
among analysts, for no public standard exists: object 52 (the execution unit), attribute 2167 (the state that is asked
for), a DInt of 1 (STOP) or 3 (RUN). Catches such a write in messages that set variables, however they are laid out.
Blind where the connection is encrypted, as it is by default from TIA Portal V17 on. Looks at messages that set
variables only. Technique: T0858.
"""

from __future__ import annotations

import numpy as np

from detectors.attacks.cases import CaseDetector
from detectors.contract import Scene, ends
from detectors.finding import Severity, Text
from sensor.decode.pdu import Kind, Protocol
from sensor.events import EventBatch
from sensor.protocols.s7comm_plus import SET_MULTI_VARIABLES, SET_VARIABLE

EXECUTION_UNIT = (52).to_bytes(4, "big")
STATE_ASKED_FOR = bytes([0x90, 0x77])  # 2167 in seven bits an octet
PLAIN_DINT = bytes([0x00, 0x08])  # flags, type
STOP, RUN = 1, 3
MOST = 4096  # messages of one batch that are looked at: panels send a few a second
SETS = (SET_VARIABLE, SET_MULTI_VARIABLES)
WORDS = {STOP: Text("停机（STOP）", "STOP"), RUN: Text("运行（RUN）", "RUN")}


class S7PlusMode(CaseDetector):
    """See the module."""

    name = "s7plus_mode"

    def __init__(self) -> None:
        super().__init__()

    def _look(self, batch: EventBatch, scene: Scene) -> None:
        c = batch.columns
        rows = np.flatnonzero(c.protocol == Protocol.S7COMM_PLUS)  # the protocol first: it leaves few
        if not len(rows):
            return
        rows = rows[(c.kind[rows] == Kind.REQUEST) & np.isin(c.function[rows], SETS)]
        for row in rows[:MOST].tolist():
            state = asked_for(batch.pdu(row))
            if state is not None:
                self._told(batch, row, state, scene)

    def _told(self, batch: EventBatch, row: int, state: int, scene: Scene) -> None:
        behaviour, at_ns = int(batch.columns.behaviour[row]), int(batch.columns.ts_ns[row])
        b = scene.view.behaviours.table[behaviour]
        who = ends(scene.view.behaviours.describe(behaviour))
        key = (int(b.client), int(b.server), state)
        case = self._cases.case(scene, "controller.mode", key, protocol="s7comm_plus", **who)
        case.values = {"operation": WORDS[state]}
        case.severity = Severity.CRITICAL if state == STOP else Severity.HIGH
        case.problem.add(1, at_ns, at_ns)
        scene.show(case.problem.exhibit, batch, (row,))


def asked_for(pdu: bytes) -> int | None:
    """STOP or RUN, where a message that sets variables asks the execution unit for it; otherwise None."""
    unit = pdu.find(EXECUTION_UNIT)
    at = pdu.find(STATE_ASKED_FOR, unit + len(EXECUTION_UNIT)) if unit >= 0 else -1
    if at < 0:
        return None
    value = pdu.find(PLAIN_DINT, at + len(STATE_ASKED_FOR))  # of several variables the numbers stand before the values
    state = pdu[value + 2] if 0 <= value < len(pdu) - 2 else 0
    return state if state in WORDS else None
