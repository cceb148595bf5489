"""A sensor on a mirror port, as real programs: frames come in, findings stand in the console, nothing goes out."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.houses import House
from support.programs import ROOT, until

from sensor.capture.source import open_capture
from tools.wires import Wire, why_not

STOP = ROOT / "pcaps" / "s7comm" / "stop.pcap"
TO_COMPILE_S = 900.0  # what the first sensor of a version may need on a busy machine
REASON = why_not()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)


def frames_in(*paths: Path) -> int:
    return sum(batch.size for path in paths for batch in open_capture(path))


def test_an_attack_on_the_wire_is_found_while_the_sensor_listens_and_stays_unseen(
    plant: House, wire: Wire, tmp_path: Path
) -> None:
    key = plant.call("sensor", "press-line", "--site", "North", "--segment", "Press line")
    engineer, ring = plant.person("admin"), tmp_path / "ring"
    sensor = plant.listen("press-line", key, "--interface", "mirror", "--fanout", "2", "--ring", ring)
    until(lambda: "listening on mirror" in sensor.said or not sensor.runs, "the sensor listens", TO_COMPILE_S)
    assert sensor.runs, sensor.said

    size = frames_in(STOP)
    assert wire.send("--capture", str(STOP), "--count", str(size), "--rate", "500") == size
    until(lambda: "PLC stop" in engineer.open("/findings/").text, "the attack stands in the console")
    until(lambda: f"mirror.frames {size} " in engineer.open("/sensors/1").text, "the heartbeat counts the frames")
    assert "mirror.dropped 0 " in engineer.page.text
    assert "mirror.state up " in engineer.page.text
    assert frames_in(*ring.glob("*.pcap")) == size
    until(lambda: "10.20.3.31" in engineer.open("/assets/?q=role:controller").text, "the sensor reports the device")
    until(lambda: "plc_stop" in engineer.open("/assets/behaviours?q=action:stop").text, "and who stopped it")

    wire.send("--capture", str(STOP), "--count", str(size), "--rate", "5000")
    assert sensor.end() == 0  # what had come in by then is looked at, and kept
    assert frames_in(*ring.glob("*.pcap")) == 2 * size
    assert wire.link("tap", there=True)["stats64"]["rx"]["packets"] == 0
