"""Learning on a live link: for the hours asked, into a file, and nothing dangerous in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from support.findings import BEGINS_NS, Plant, the
from support.wire import SECOND

from detectors.baseline.live_learning import LiveLearning
from detectors.baseline.store import read
from detectors.finding import Finding
from detectors.pipeline import Options, Pipeline
from pcaps.messages import modbus
from sensor.capture.frames import FrameBatch

HMI, PLC = "10.1.0.5", "10.1.0.20"


def plant() -> Plant:
    """Two hours of polling; the port is restarted after half an hour; another register after an hour and a half."""
    made = Plant()
    for n in range(0, 7200, 60):
        made.now_s = float(n)
        read_request = modbus.adu(n, 1, modbus.read(3, 50 if n == 5400 else 0, 2))
        made.exchange(HMI, PLC, read_request, modbus.adu(n, 1, modbus.registers(3, [1, 2])))
        if n == 1800:
            restart = modbus.adu(7, 1, modbus.diagnostics(1))
            made.exchange(HMI, PLC, restart, restart)
    return made


def run(learning: LiveLearning, minutes: range) -> list[Finding]:
    (whole,) = plant().batches()
    batches = []
    for minute in minutes:
        clock = BEGINS_NS + (minute + 1) * 60 * SECOND
        rows = np.flatnonzero((whole.ts_ns >= clock - 60 * SECOND) & (whole.ts_ns < clock))
        part = slice(rows[0], rows[-1] + 1)
        columns = [getattr(whole, name)[part] for name in ("ts_ns", "offset", "captured", "wire", "link")]
        batches.append(FrameBatch(whole.data, *columns, first=int(rows[0]) + 1, clock_ns=clock))
    return list(Pipeline(Options(learning=learning)).run(batches))


def test_an_hour_is_learned_and_what_was_dangerous_is_marked(tmp_path: Path) -> None:
    said: list[str] = []
    learning = LiveLearning.into(tmp_path / "b.yaml", 1, said.append)
    found = the(run(learning, range(120)), "operation.modbus.restart-communications")
    assert found.fields["event.learning"] is True
    assert found.explanation.en.startswith("Seen while learning")
    assert not learning.active
    assert len(said) == 1
    lines = {it.name: it for it in read(tmp_path / "b.yaml")[0].exchanges.values()}
    assert lines["read_holding_registers"].objects.words() == ["0-1"]
    assert lines["read_holding_registers"].count in (60, 61)
    assert any(it.kind == "critical" for it in lines.values())


def test_decoders_that_begin_anew_and_sensors_that_start_again_go_on_learning(tmp_path: Path) -> None:
    path = tmp_path / "b.yaml"
    learning = LiveLearning.into(path, 50, print)
    run(learning, range(20))
    run(learning, range(20, 40))
    assert [it.count for it in read(path)[0].exchanges.values() if it.name.startswith("read")] == [40]
    run(LiveLearning.into(path, 50, print), range(40, 60))
    assert [it.count for it in read(path)[0].exchanges.values() if it.name.startswith("read")] == [60]
