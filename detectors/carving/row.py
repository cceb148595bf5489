"""One event as carvers see it: who sent which PDU in which conversation."""

from __future__ import annotations

from typing import NamedTuple

from sensor.decode.pdu import Anomaly, Outcome
from sensor.events import EventBatch
from sensor.view import View

_DAMAGED = Anomaly.GAP | Anomaly.TRUNCATED


class Row(NamedTuple):
    """See the columns of sensor/events.py. source, destination: addresses of who sent the PDU and who got it.

    gap: octets are missing just before or in it.
    """

    ts_ns: int
    frame: int
    conversation: int
    protocol: int
    kind: int
    refused: bool
    station: int
    function: int
    subfunction: int
    transaction: int
    source: str
    destination: str
    gap: bool
    pdu: bytes


def row_of(batch: EventBatch, row: int, view: View) -> Row:
    """One row of a batch with its octets."""
    c = batch.columns
    talk = view.conversation(int(c.conversation[row]))
    ends = (talk.ip_a, talk.ip_b) if c.forward[row] else (talk.ip_b, talk.ip_a)
    return Row(
        int(c.ts_ns[row]),
        int(c.frame[row]),
        int(c.conversation[row]),
        int(c.protocol[row]),
        int(c.kind[row]),
        int(c.outcome[row]) == Outcome.REFUSED,
        int(c.station[row]),
        int(c.function[row]),
        int(c.subfunction[row]),
        int(c.transaction[row]),
        *ends,
        bool(int(c.anomalies[row]) & _DAMAGED),
        batch.pdu(row),
    )
