"""The passes over a capture give the same events whether they overlap on two cores or follow each other on one."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.wire import Talk, coils, frames, read_coils

from sensor.capture import windows
from sensor.capture.ahead import ahead
from sensor.capture.frames import FrameBatch
from sensor.capture.source import open_capture
from sensor.decode import kernel, recycle
from sensor.decode.decoder import Decoder
from sensor.decode.state import MESSAGES
from sensor.decode.stream_tables import ROOM_MESSAGES
from tools import traffic
from tools.traces import write

PACKETS = 60_000


def digest(path: Path, *, early: bool = False) -> tuple[str, int, dict[str, int]]:
    """(hash of all columns and of the bytes of every fiftieth PDU, number of events, counters). early: read ahead."""
    hashed, events = hashlib.sha256(), 0
    decoder = Decoder(seed=1)
    capture: Iterable[FrameBatch] = open_capture(path.as_posix())
    for batch in decoder.decode(ahead(capture) if early else capture):
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


@pytest.mark.parametrize("name", ["modbus", "dnp3", "flows"])
def test_events_are_the_same_where_the_next_batch_is_begun_early(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where rows are freed between them."""
    monkeypatch.setattr(windows, "WINDOW_BYTES", 1 << 19)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    made = write(traffic.traces()[name], PACKETS, tmp_path / "trace.pcap")
    plain = digest(made.path)
    assert digest(made.path, early=True) == plain
    assert made.path.stat().st_size > 6 * windows.WINDOW_BYTES
    monkeypatch.setattr(recycle, "due", lambda used, rows: True)
    monkeypatch.setattr(recycle, "RETRY_NS", 1)
    assert digest(made.path, early=True) == plain


def test_a_batch_that_was_read_is_begun_while_the_one_before_is_looked_at_and_announced_in_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    talk = Talk()
    given = [frames([talk.asks(read_coils(n)), talk.answers(coils(n))], first=1 + 2 * n) for n in range(5)]
    decoder, told, walked = Decoder(seed=1), [], []

    def walk(*arguments: Any) -> Any:
        walked.append(int(arguments[6]))
        return kernel.walk(*arguments)

    monkeypatch.setattr("sensor.decode.decoder.kernel", SimpleNamespace(walk=walk, flush=kernel.flush))

    class Patient(ahead):
        """Always ready, as on a machine that is quick."""

        @property
        def ready(self) -> bool:
            return self._following.result() is not None

    events = decoder.decode(Patient(given), lambda batch: told.append(batch.first))
    for number in range(5):
        batch, deadline = next(events), time.monotonic() + 10
        assert (batch.first, batch.size) == (2 * number, 2)
        assert told == [1 + 2 * it for it in range(number + 1)]
        assert batch.pdu(0) == read_coils(number)
        while number == 1 and len(walked) < 3 and time.monotonic() < deadline:
            time.sleep(0.001)
        assert number != 1 or 5 in walked  # the third, while the second is looked at
    assert list(events) == []


def test_rows_are_freed_only_when_no_message_is_on_its_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the table is looked through again and again."""
    made = write(traffic.traces()["flows"], PACKETS, tmp_path / "trace.pcap")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    plain = digest(made.path)
    monkeypatch.setattr(recycle, "due", lambda used, rows: True)
    monkeypatch.setattr(recycle, "RETRY_NS", 1)
    assert digest(made.path) == plain
