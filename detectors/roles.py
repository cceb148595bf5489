"""What a host does to a device, from the verbs of behaviours: who commands, and how."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors.contract import alike
from detectors.finding import Text
from sensor.decode.pdu import Kind, Outcome, Protocol
from sensor.operations import Verb
from sensor.view import View

# What changes a device or its process.
COMMANDING = frozenset({
    Verb.WRITE, Verb.COMMAND, Verb.PROGRAM_DOWN, Verb.START, Verb.STOP, Verb.RESTART, Verb.SILENCE, Verb.TIME_SET,
    Verb.CONFIGURE,
})  # fmt: skip

# In an S7 download the PLC asks for the blocks (0x1B, 0x1C): it is the one that is commanded.
FETCHED_BY_DEVICE = {(int(Protocol.S7COMM), 0x1B), (int(Protocol.S7COMM), 0x1C)}

WORDS = {
    Verb.WRITE: ("写入", "write"),
    Verb.COMMAND: ("控制", "control"),
    Verb.PROGRAM_DOWN: ("下载程序", "program download"),
    Verb.START: ("启动", "start"),
    Verb.STOP: ("停止", "stop"),
    Verb.RESTART: ("重启", "restart"),
    Verb.SILENCE: ("使其静默", "silence"),
    Verb.TIME_SET: ("对时", "set clock"),
    Verb.CONFIGURE: ("配置", "configure"),
}


class Roles:
    """Verbs of behaviours. A verb follows from the codes, so one behaviour of each is described."""

    def __init__(self) -> None:
        self._verbs: dict[tuple[int, ...], Verb | None] = {}

    def verb(self, view: View, row: int) -> Verb | None:
        """The verb of a behaviour; None where it is not known."""
        b = view.behaviours.table[row]
        group = int(b.object) >> 8 if b.protocol == Protocol.DNP3 else -1  # DNP3: a write of group 50 sets the clock
        key = (int(b.protocol), int(b.function), int(b.subfunction), group)
        if key not in self._verbs:
            try:
                self._verbs[key] = Verb(view.behaviours.describe(row).get("event.action", ""))
            except ValueError:
                self._verbs[key] = None
        return self._verbs[key]

    def commands(
        self,
        view: View,
        rows: npt.NDArray[np.int64],
        outcome: Outcome = Outcome.ASKED,
        kind: Kind = Kind.REQUEST,
    ) -> list[tuple[npt.NDArray[np.int64], Verb]]:
        """Those behaviours of `rows` that command, of this kind and outcome: arrays of rows, each with its verb."""
        if not len(rows):
            return []
        table: npt.NDArray[Any] = view.behaviours.table
        asked = rows[(table["kind"][rows] == kind) & (table["outcome"][rows] == outcome)]
        b = table.take(asked)
        group = np.where(b["protocol"] == Protocol.DNP3, b["object"] >> 8, -1)
        found = []
        for same in alike([b["protocol"], b["function"], b["subfunction"], group]):
            verb = self.verb(view, int(asked[same[0]]))
            code = int(b["protocol"][same[0]]), int(b["function"][same[0]])
            if verb is not None and verb in COMMANDING and code not in FETCHED_BY_DEVICE:
                found.append((asked[same], verb))
        return found


def said(verbs: Iterable[Verb]) -> Text:
    """Verbs as words for people."""
    pairs = [WORDS[verb] for verb in verbs]
    return Text("、".join(zh for zh, _ in pairs), ", ".join(en for _, en in pairs))
