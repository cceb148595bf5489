"""The passes over a capture give the same events whether they overlap on two cores or follow each other on one."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from sensor.capture.source import open_capture
from sensor.decode import recycle
from sensor.decode.decoder import Decoder
from sensor.decode.state import MESSAGES
from sensor.decode.stream_tables import ROOM_MESSAGES
from tools import traffic
from tools.traces import write

PACKETS = 60_000


def digest(path: Path) -> tuple[str, int, dict[str, int]]:
    """(hash of all columns and of the bytes of every fiftieth PDU, number of events, counters)."""
    hashed, events = hashlib.sha256(), 0
    decoder = Decoder(seed=1)
    for batch in decoder.decode(open_capture(path.as_posix())):
        assert batch.first == events
        events += batch.size
        for name, column in zip(batch.columns._fields, batch.columns, strict=True):
            hashed.update(name.encode() + np.ascontiguousarray(column).tobytes())
        for row in range(0, batch.size, 50):
            hashed.update(batch.pdu(row))
    hashed.update(decoder.view.behaviours.table.tobytes())
    return hashed.hexdigest(), events, decoder.counters()


@pytest.mark.parametrize("name", ["modbus", "dnp3", "flows"])
def test_events_are_the_same_on_one_core_and_on_two(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = write(traffic.traces()[name], PACKETS, tmp_path / "trace.pcap")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    alone = digest(made.path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    assert digest(made.path) == alone
    assert alone[1] == sum(made.messages.values())
    assert PACKETS > 2 * (MESSAGES - ROOM_MESSAGES)  # so there is something to overlap with


def test_rows_are_freed_only_when_no_message_is_on_its_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the table is looked through again and again."""
    made = write(traffic.traces()["flows"], PACKETS, tmp_path / "trace.pcap")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    plain = digest(made.path)
    monkeypatch.setattr(recycle, "due", lambda used, rows: True)
    monkeypatch.setattr(recycle, "RETRY_NS", 1)
    assert digest(made.path) == plain
