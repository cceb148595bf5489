"""A sensor whose decoder is brought down by what is on the wire, as real programs: nothing but the batch is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.faults import MARK
from support.houses import House
from support.programs import ROOT, until

from sensor.capture.source import open_capture
from sensor.capture.write import Frame, frame_of, small_pcap
from tools.wires import Wire, why_not

STOP = ROOT / "pcaps" / "s7comm" / "stop.pcap"
LEVELS = "overrides:\n  - {rule: operation.s7comm.stop, severity: low, reason: a rig for training}\n"
TO_COMPILE_S = 900.0  # what the first sensor of a version may need on a busy machine
REASON = why_not()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)


class Sensor:
    """A sensor program in which frames set off faults."""

    def __init__(self, plant: House, folder: Path, key: str) -> None:
        self.log = folder / "sensor.log"
        env = plant.env | {"FENGHUO_SENSOR_KEY": key, "PYTHONPATH": f"{ROOT / 'tests'}{os.pathsep}{ROOT}"}
        command = [sys.executable, "-m", "support.trippable_sensor", plant.url, str(folder / "spool"), "mirror"]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(command, env=env, stdout=out, stderr=out, cwd=ROOT)

    @property
    def said(self) -> str:
        return self.log.read_text("utf-8", errors="replace")

    def below(self, depth: int) -> list[psutil.Process]:
        """The fork server (0), or the workers (1)."""
        found = psutil.Process(self.process.pid).children()
        for _ in range(depth):
            found = [child for it in found for child in children_of(it)]
        return found


def children_of(process: psutil.Process) -> list[psutil.Process]:
    """Its children; none if it has ended since somebody saw it, as a process that was just killed has."""
    try:
        return process.children()
    except psutil.NoSuchProcess:
        return []


@pytest.fixture
def sensor(plant: House, tmp_path: Path) -> Iterator[Sensor]:
    started = Sensor(plant, tmp_path, plant.call("sensor", "press-line", "--site", "North", "--segment", "Press line"))
    yield started
    if started.process.poll() is None:
        started.process.kill()
    started.process.wait()


def frames_of(path: Path) -> list[Frame]:
    return [frame_of(batch, batch.first + row) for batch in open_capture(path) for row in range(batch.size)]


def poisoned(folder: Path, word: bytes) -> Path:
    """A capture that begins with a frame that sets off a fault."""
    path = folder / f"{word.decode()}.pcap"
    frame = b"\x02" * 12 + b"\x88\xb5" + MARK + word
    path.write_bytes(small_pcap(1, [(10**18, frame.ljust(100, b"\0"), 100), *frames_of(STOP)]))
    return path


def test_faults_cost_their_batch_while_findings_counters_and_configuration_go_on(
    plant: House, wire: Wire, sensor: Sensor, tmp_path: Path
) -> None:
    engineer = plant.person("admin")
    until(lambda: "listening on mirror" in sensor.said, "the sensor listens", TO_COMPILE_S)
    sent = 0

    def counter(name: str) -> int:
        page = engineer.open("/sensors/1")
        shown = dict(zip((it.text for it in page.all("dt")), (it.text for it in page.all("dd")), strict=True))
        return int(shown[name].split()[0]) if name in shown else -1

    def goes_on(why: str, path: Path = STOP) -> None:
        """Each frame that came is looked at, or set aside."""
        nonlocal sent
        sent += wire.send("--capture", str(path), "--count", str(len(frames_of(path))), "--rate", "200")
        until(
            lambda: counter("mirror.frames") == sent and counter("frames") + counter("quarantine.frames") == sent, why
        )

    goes_on("the first frames are looked at")
    until(lambda: "PLC stop" in engineer.open("/findings/").text, "the attack stands in the console")

    for number, word in enumerate((b"loop", b"segv", b"allocate"), 1):
        goes_on(f"after {word!r} it goes on", poisoned(tmp_path, word))
        assert counter("worker.restarts") == number
    assert "decoder failed" in engineer.open("/findings/?q=parser-fault").text
    assert [counter(f"parser_faults.{kind}") for kind in ("hang", "crash", "memory", "exception")] == [1, 1, 1, 0]
    kept = sum(
        batch.size for path in (tmp_path / "spool" / "quarantine").glob("*.pcap") for batch in open_capture(path)
    )
    assert kept == counter("quarantine.frames") >= 3

    (server,) = sensor.below(0)
    server.kill()
    until(lambda: sensor.below(1) and server not in sensor.below(0), "another fork server has a worker")
    goes_on("after the loss of the fork server it goes on")
    assert sensor.process.poll() is None

    engineer.open("/configuration/")
    engineer.submit("/configuration/files", {"kind": "overrides", "name": "rig.yaml", "text": LEVELS, "note": "rig"})
    until(lambda: "in force" in engineer.open("/configuration/").part("Which sensor").text, "the levels are in force")
    goes_on("with another configuration it goes on")
    until(lambda: counter("findings.low") > 0, "the stop of a rig is told as low")

    sensor.process.terminate()
    assert sensor.process.wait(60) == 0
    assert "Traceback" not in sensor.said
    assert "wait in" not in sensor.said  # all was sent
