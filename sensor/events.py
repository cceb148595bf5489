"""EventBatch: decoded PDUs as columns, one row for each PDU."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Columns(NamedTuple):
    """Parallel arrays of shape (n,). A NamedTuple, because compiled code takes it as it is.

    Absent integers are -1; see sensor/decode/pdu.py for the meaning of the protocol columns.
    """

    ts_ns: npt.NDArray[np.int64]  # capture time of the frame that completes the PDU, ns since 1970 UTC
    frame: npt.NDArray[np.int64]  # its number, from 1
    conversation: npt.NDArray[np.int32]  # row of the conversation table
    forward: npt.NDArray[np.uint8]  # 1: sent by endpoint a of the conversation, 0: by endpoint b
    behaviour: npt.NDArray[np.int32]  # row of the behaviour table
    protocol: npt.NDArray[np.uint8]
    kind: npt.NDArray[np.uint8]
    outcome: npt.NDArray[np.uint8]
    station: npt.NDArray[np.int64]
    function: npt.NDArray[np.int32]
    subfunction: npt.NDArray[np.int32]
    transaction: npt.NDArray[np.int64]
    object: npt.NDArray[np.int64]  # of a response: its request's, where that is known
    quantity: npt.NDArray[np.int32]
    value: npt.NDArray[np.int64]
    status: npt.NDArray[np.int32]
    anomalies: npt.NDArray[np.uint32]
    request: npt.NDArray[np.int64]  # event number (from 0, over the whole run) of the matched request, -1 if none
    request_frame: npt.NDArray[np.int64]
    asked: npt.NDArray[np.int32]  # behaviour of the matched request, -1 if none
    latency_ns: npt.NDArray[np.int64]  # response time less request time, -1 if no request
    pdu_at: npt.NDArray[np.int64]  # where the PDU's bytes begin: >= 0 in `frames`, otherwise ~pdu_at in `assembled`
    pdu_length: npt.NDArray[np.int32]


DTYPES: dict[str, str] = {
    "ts_ns": "i8", "frame": "i8", "conversation": "i4", "forward": "u1", "behaviour": "i4", "protocol": "u1",
    "kind": "u1", "outcome": "u1", "station": "i8", "function": "i4", "subfunction": "i4", "transaction": "i8",
    "object": "i8", "quantity": "i4", "value": "i8", "status": "i4", "anomalies": "u4", "request": "i8",
    "request_frame": "i8", "asked": "i4", "latency_ns": "i8", "pdu_at": "i8", "pdu_length": "i4",
}  # fmt: skip


NO_EVENTS = Columns(**{name: np.zeros(0, kind) for name, kind in DTYPES.items()})


class EventBatch(NamedTuple):
    """Events of a run of frames, in the order in which they were completed. May be empty: then only time has passed.

    columns: see Columns; `len(batch)` rows.
    first: event number of row 0 in the whole run.
    frames, assembled: the bytes that `pdu_at` points into; valid as long as the batch is held.
    """

    columns: Columns
    first: int
    frames: npt.NDArray[np.uint8]
    assembled: npt.NDArray[np.uint8]

    @property
    def size(self) -> int:
        """Number of events."""
        return len(self.columns.ts_ns)

    def pdu(self, row: int) -> bytes:
        """The bytes of one PDU, copied."""
        at, length = int(self.columns.pdu_at[row]), int(self.columns.pdu_length[row])
        buffer, at = (self.frames, at) if at >= 0 else (self.assembled, ~at)
        return buffer[at : at + length].tobytes()


def no_events(first: int) -> EventBatch:
    """A batch without events: time has passed. first: number of the next event."""
    nothing = np.zeros(0, np.uint8)
    return EventBatch(NO_EVENTS, first, nothing, nothing)
