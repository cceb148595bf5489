"""Real sensors that are killed, frozen and stopped: the console notices the first two, and when one is back."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.houses import House
from support.programs import ROOT, until
from support.web import Browser

STOP = ROOT / "pcaps" / "s7comm" / "stop.pcap"
TO_COMPILE_S = 900.0  # what the first sensor of a version may need on a busy machine
NAMES = ("killed", "frozen", "stopped")


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[House]:
    built = House(tmp_path / "plant", "North works", "enterprise")
    yield built
    built.end()


def wrong(person: Browser, number: int) -> str:
    """What the page of a sensor says was wrong with it."""
    return person.open(f"/sensors/{number}").part("What was wrong").text


def test_a_killed_and_a_frozen_sensor_are_noticed_and_one_that_says_goodbye_is_not(plant: House) -> None:
    running = {}
    for name in NAMES:
        key = plant.call("sensor", name, "--site", "North", "--segment", name)
        running[name] = plant.start_sensor(name, key, STOP)
    engineer = plant.person("admin")
    for name in NAMES:
        number = NAMES.index(name) + 1
        until(lambda number=number: "sensor.instance" in engineer.open(f"/sensors/{number}").text, name, TO_COMPILE_S)  # type: ignore[misc]

    running["killed"].process.kill()
    running["killed"].process.wait()
    plant.programs.remove(running["killed"])
    running["frozen"].process.send_signal(signal.SIGSTOP)
    assert running["stopped"].end() == 0

    try:
        for name in ("killed", "frozen"):
            number = NAMES.index(name) + 1
            until(lambda number=number: "Silent" in wrong(engineer, number), f"{name} is found silent")  # type: ignore[misc]
            assert "still" in wrong(engineer, number)
        assert "Stopped as planned" in engineer.open("/sensors/3").text
        assert "Silent" not in wrong(engineer, 3)
        assert "Sensor is silent" in engineer.open("/incidents/").text
    finally:
        running["frozen"].process.send_signal(signal.SIGCONT)
    until(lambda: "still" not in wrong(engineer, 2), "the frozen one is back")
    assert "still" in wrong(engineer, 1)
